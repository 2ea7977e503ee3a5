//! Images: opened while paths can be reached, started when they cannot.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::block::{self, Backend, Engine, FileOptions, OpenError};
use crate::config::blockdev::{Aio, Blockdev, Source};
use crate::config::{OptionError, Place, Problem};

/// An opened image, with the option that asked for it.
#[derive(Debug)]
pub(super) struct Image {
    place: Place,
    opened: Opened,
}

#[derive(Debug)]
enum Opened {
    File(block::Opened),
    Memory { bytes: Vec<u8>, read_only: bool },
}

/// Opens a node's image.
pub(super) fn open(node: &Blockdev) -> Result<Image, OptionError> {
    let place = node.place.clone();
    let opened = match &node.source {
        Source::Memory { size } => Opened::Memory {
            bytes: zeroes(*size).map_err(|problem| place.error(problem))?,
            read_only: node.read_only,
        },
        Source::File {
            filename,
            direct,
            aio,
        } => {
            let options = FileOptions {
                read_only: node.read_only,
                direct: *direct,
                engine: match aio {
                    None => Engine::Auto,
                    Some(Aio::IoUring) => Engine::IoUring,
                    Some(Aio::Threads) => Engine::Threads,
                },
            };
            let file = File::options()
                .read(true)
                .write(!node.read_only)
                .open(filename);
            let file =
                file.map_err(|error| place.error(not_opened(filename, node.read_only, &error)))?;
            let opened = block::open(file, options);
            Opened::File(opened.map_err(|error| place.error(not_a_disk(filename, error)))?)
        }
    };
    Ok(Image { place, opened })
}

impl Image {
    /// Starts its engine.
    pub(super) fn start(self) -> Result<Backend, OptionError> {
        match self.opened {
            Opened::Memory { bytes, read_only } => Ok(Backend::memory(bytes, read_only)),
            Opened::File(opened) => Backend::start(opened).map_err(|error| {
                self.place
                    .error(Problem::refused(error.to_string(), "try the other aio"))
            }),
        }
    }
}

/// So many zeroes, if they can be had.
fn zeroes(size: u64) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::refused(
            format!("no memory for {size} bytes"),
            "choose a smaller size",
        )
    };
    let length = usize::try_from(size).map_err(|_| too_large())?;
    // Asked for first, because an allocation that cannot be had would end the process.
    Vec::<u8>::new()
        .try_reserve_exact(length)
        .map_err(|_| too_large())?;
    Ok(vec![0; length])
}

fn not_opened(filename: &Path, read_only: bool, error: &io::Error) -> Problem {
    let name = filename.display();
    let (why, mend) = match error.kind() {
        ErrorKind::NotFound => ("there is no such file", "check filename"),
        ErrorKind::IsADirectory => ("it is a directory", "name a file or block device"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if !read_only => (
            "no permission to read and write it",
            "change its permissions, or add read-only=on",
        ),
        ErrorKind::PermissionDenied => ("no permission to read it", "change its permissions"),
        _ => return Problem::refused(format!("cannot open '{name}': {error}"), "check filename"),
    };
    Problem::refused(format!("cannot open '{name}': {why}"), mend)
}

fn not_a_disk(filename: &Path, error: OpenError) -> Problem {
    let name = filename.display();
    let mend = match error {
        OpenError::NotADisk => "name a file or block device",
        OpenError::Empty => "give it a size, such as with truncate -s 64M",
        OpenError::PartialBlock { .. } => "pad it, such as with truncate -s %512",
        OpenError::Direct(_) => "leave out cache.direct",
        OpenError::IoUring(_) => "leave out aio",
        _ => "check filename",
    };
    Problem::refused(format!("cannot use '{name}': {error}"), mend)
}
