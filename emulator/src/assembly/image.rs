//! Images: opened while paths can be reached, started when they cannot.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::block::{
    self, Backend, Engine, FileOptions, FormatError, FormatOptions, NbdError, NbdOptions, OpenError,
};
use crate::config::blockdev::{Aio, Backing, Blockdev, Child, Locking, Server, Source};
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
    Format(block::OpenedFormat),
    Nbd(block::OpenedNbd),
    Memory {
        bytes: Vec<u8>,
        read_only: bool,
    },
    Null {
        bytes: u64,
        read_only: bool,
        read_zeroes: bool,
    },
}

/// What the nodes on top of one have it do.
#[derive(Clone, Copy)]
struct Above {
    read_only: bool,
    discard: bool,
}

/// Opens a node's image.
pub(super) fn open(node: &Blockdev) -> Result<Image, OptionError> {
    let above = Above {
        read_only: false,
        discard: true,
    };
    let opened = open_node(node, above)?;
    let place = node.place.clone();
    Ok(Image { place, opened })
}

fn open_node(node: &Blockdev, above: Above) -> Result<Opened, OptionError> {
    let place = &node.place;
    let above = Above {
        read_only: node.read_only || above.read_only,
        discard: node.discard && above.discard,
    };
    match &node.source {
        Source::Memory { size } => Ok(Opened::Memory {
            bytes: zeroes(*size).map_err(|problem| place.error(problem))?,
            read_only: above.read_only,
        }),
        Source::Null { size, read_zeroes } => Ok(Opened::Null {
            bytes: *size,
            read_only: above.read_only,
            read_zeroes: *read_zeroes,
        }),
        Source::File {
            filename,
            direct,
            aio,
            locking,
        } => {
            let options = FileOptions {
                read_only: above.read_only,
                direct: *direct,
                engine: match aio {
                    None => Engine::Auto,
                    Some(Aio::IoUring) => Engine::IoUring,
                    Some(Aio::Threads) => Engine::Threads,
                },
            };
            let opened =
                open_raw(filename, options, *locking).map_err(|problem| place.error(problem))?;
            Ok(Opened::File(match above.discard {
                true => opened,
                false => opened.without_discard(),
            }))
        }
        Source::Nbd(nbd) => {
            let Server::Unix(path) = &nbd.server;
            let options = NbdOptions {
                read_only: above.read_only,
                discard: above.discard,
            };
            let opened = block::connect(path, &nbd.export, options);
            Ok(Opened::Nbd(opened.map_err(|error| {
                place.error(not_an_export(path, &error))
            })?))
        }
        Source::Raw { file } => open_node(inner(place, file)?, above),
        Source::Qcow2 { .. } | Source::Vmdk { .. } => open_format(node, above).map(Opened::Format),
    }
}

/// A raw image.
fn open_raw(
    filename: &Path,
    options: FileOptions,
    locking: Locking,
) -> Result<block::Opened, Problem> {
    let file = File::options()
        .read(true)
        .write(!options.read_only)
        .open(filename)
        .map_err(|error| not_opened(filename, options.read_only, &error))?;
    block::lock(&file, !options.read_only, locking)
        .map_err(|error| not_a_format(filename, options.read_only, &error.into()))?;
    block::open(file, options).map_err(|error| not_a_disk(filename, error))
}

/// An image in a format, on a file; or a raw file, where it is to stand under such an image.
fn open_format(node: &Blockdev, above: Above) -> Result<block::OpenedFormat, OptionError> {
    let place = &node.place;
    let file = match &node.source {
        Source::Qcow2 { file, .. } | Source::Vmdk { file } | Source::Raw { file } => {
            inner(place, file)?
        }
        _ => node,
    };
    let mut options = FormatOptions {
        read_only: above.read_only || file.read_only,
        direct: false,
        discard: above.discard && file.discard,
        locking: Locking::Auto,
    };
    let filename = match &file.source {
        Source::File {
            filename,
            direct,
            locking,
            aio: None | Some(Aio::Threads),
        } => {
            options.direct = *direct;
            options.locking = *locking;
            filename
        }
        Source::File { .. } => {
            return Err(place.error(Problem::refused(
                "io_uring is for raw images",
                "leave out aio",
            )));
        }
        _ => {
            return Err(place.error(Problem::refused(
                "an image in a format stands on a file",
                "let its file be a node with driver=file",
            )));
        }
    };
    let backing = match &node.source {
        Source::Qcow2 { backing, .. } => match backing {
            Backing::AsNamed => block::Backing::AsNamed,
            Backing::None => block::Backing::None,
            Backing::Child(child) => {
                let above = Above {
                    read_only: true,
                    discard: false,
                };
                block::Backing::Image(open_format(inner(place, child)?, above)?)
            }
        },
        _ => block::Backing::None,
    };
    let opened = block::ImageFile::open(filename, options).and_then(|file| match &node.source {
        Source::Qcow2 { .. } => block::qcow2(file, backing, options),
        Source::Vmdk { .. } => block::vmdk(file, options),
        _ => block::raw(file, options),
    });
    opened.map_err(|error| {
        file.place
            .error(not_a_format(filename, options.read_only, &error))
    })
}

/// The node that another one stands on.
fn inner<'a>(place: &Place, child: &'a Child) -> Result<&'a Blockdev, OptionError> {
    match child {
        Child::Node(node) => Ok(node),
        Child::Name(name) => Err(place.error(Problem::refused(
            format!("no node '{name}'"),
            "define it with --blockdev",
        ))),
    }
}

impl Image {
    /// Starts its engine.
    pub(super) fn start(self) -> Result<Backend, OptionError> {
        let refuse = |what: String, mend| self.place.error(Problem::refused(what, mend));
        match self.opened {
            Opened::Memory { bytes, read_only } => Ok(Backend::memory(bytes, read_only)),
            Opened::Null {
                bytes,
                read_only,
                read_zeroes,
            } => Ok(Backend::null(bytes, read_only, read_zeroes)),
            Opened::File(opened) => Backend::start(opened)
                .map_err(|error| refuse(error.to_string(), "try the other aio")),
            Opened::Format(opened) => Backend::format(opened)
                .map_err(|error| refuse(format!("no threads: {error}"), "see what limits them")),
            Opened::Nbd(opened) => Backend::nbd(opened)
                .map_err(|error| refuse(format!("no threads: {error}"), "see what limits them")),
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

/// Also for the lock of a raw image.
fn not_a_format(filename: &Path, read_only: bool, error: &FormatError) -> Problem {
    let name = filename.display();
    let mend = match error {
        FormatError::Io(error) if error.kind() != ErrorKind::InvalidInput => {
            return not_opened(filename, read_only, error);
        }
        FormatError::Io(_) => "leave out cache.direct",
        FormatError::NotADisk => "name a file or block device",
        FormatError::Locked(block::LockError::Held(_)) => {
            "stop the other one, or add locking=off to the file if that is safe"
        }
        FormatError::Locked(_) => "leave out locking=on",
        FormatError::NotThisFormat(_) => "choose another driver",
        FormatError::Unsupported { mend, .. } | FormatError::BackingName { mend, .. } => mend,
        FormatError::PartialBlock(_) | FormatError::Empty => "make another image",
        FormatError::Corrupt(_) | FormatError::Truncated(_) => "look at it with qemu-img check",
        FormatError::Loop | FormatError::TooDeep => "look at it with qemu-img info",
        FormatError::Backing { .. } => "look at qemu-img info --backing-chain",
    };
    Problem::refused(format!("cannot use '{name}': {error}"), mend)
}

fn not_an_export(path: &Path, error: &NbdError) -> Problem {
    let mend = match error {
        NbdError::NoExport(_) => "see qemu-nbd --list for what it has",
        NbdError::ReadOnly => "add read-only=on",
        NbdError::Size(_) | NbdError::BlockSize(_) => "export another disk",
        _ => "see whether the server runs",
    };
    Problem::refused(
        format!("cannot use the server at '{}': {error}", path.display()),
        mend,
    )
}
