//! Images: opened while paths can be reached, started when they cannot.

mod problem;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::inherited::Inherited;
use crate::config::blockdev::{Aio, Backing, Blockdev, Child, Locking, Server, Source};
use crate::config::{OptionError, Place, Problem};
use outrigger_block::{
    self as block, Backend, DescriptorUse, Engine, FileOptions, FormatOptions, NbdOptions,
};
use problem::{not_a_disk, not_a_format, not_an_export, not_opened};

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
pub(super) fn open(node: &Blockdev, inherited: &Inherited) -> Result<Image, OptionError> {
    let above = Above {
        read_only: false,
        discard: true,
    };
    let opened = open_node(node, above, inherited)?;
    let place = node.place.clone();
    Ok(Image { place, opened })
}

fn open_node(node: &Blockdev, above: Above, inherited: &Inherited) -> Result<Opened, OptionError> {
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
            let opened = open_raw(filename, options, *locking, inherited)
                .map_err(|problem| place.error(problem))?;
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
        Source::Raw { file } => open_node(inner(place, file)?, above, inherited),
        Source::Qcow2 { .. } | Source::Vmdk { .. } => {
            open_format(node, above, inherited).map(Opened::Format)
        }
    }
}

/// A file, by its path or behind a descriptor.
fn open_file(
    filename: &Path,
    read_only: bool,
    direct: bool,
    locking: Locking,
    inherited: &Inherited,
) -> Result<File, Problem> {
    let usage = DescriptorUse { read_only, direct };
    if let Some(outcome) = inherited.open(filename, usage, locking) {
        return outcome;
    }
    let direct = if direct { libc::O_DIRECT } else { 0 };
    File::options()
        .read(true)
        .write(!read_only)
        // A FIFO must not make this wait.
        .custom_flags(direct | libc::O_NONBLOCK)
        .open(filename)
        .map_err(|error| not_opened(filename, read_only, &error))
}

/// A raw image.
fn open_raw(
    filename: &Path,
    options: FileOptions,
    locking: Locking,
    inherited: &Inherited,
) -> Result<block::Opened, Problem> {
    // The second open file, of O_DIRECT, comes later.
    let file = open_file(filename, options.read_only, false, locking, inherited)?;
    block::lock(&file, !options.read_only, locking)
        .map_err(|error| not_a_format(filename, options.read_only, &error.into()))?;
    block::open(file, options).map_err(|error| not_a_disk(filename, error))
}

/// An image in a format, on a file; or a raw file, where it is to stand under such an image.
fn open_format(
    node: &Blockdev,
    above: Above,
    inherited: &Inherited,
) -> Result<block::OpenedFormat, OptionError> {
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
                block::Backing::Image(open_format(inner(place, child)?, above, inherited)?)
            }
        },
        _ => block::Backing::None,
    };
    let opened = open_file(
        filename,
        options.read_only,
        options.direct,
        options.locking,
        inherited,
    )
    .map_err(|problem| file.place.error(problem))?;
    let data_file = match &node.source {
        Source::Qcow2 {
            data_file: Some(child),
            ..
        } => Some(open_data_file(inner(place, child)?, options, inherited)?),
        _ => None,
    };
    let opened =
        block::ImageFile::new(opened, filename, options).and_then(|file| match &node.source {
            Source::Qcow2 { .. } => block::qcow2(file, backing, data_file, options),
            Source::Vmdk { .. } => block::vmdk(file, options),
            _ => block::raw(file, options),
        });
    opened.map_err(|error| {
        file.place
            .error(not_a_format(filename, options.read_only, &error))
    })
}

/// The file that a qcow2 image has its data in.
fn open_data_file(
    node: &Blockdev,
    options: FormatOptions,
    inherited: &Inherited,
) -> Result<block::ImageFile, OptionError> {
    let Source::File {
        filename, locking, ..
    } = &node.source
    else {
        return Err(node.place.error(Problem::refused(
            "the data of an image are in a file",
            "let data-file be a node with driver=file",
        )));
    };
    let options = FormatOptions {
        locking: *locking,
        ..options
    };
    let FormatOptions {
        read_only,
        direct,
        locking,
        ..
    } = options;
    let file = open_file(filename, read_only, direct, locking, inherited);
    let file = file.map_err(|problem| node.place.error(problem))?;
    block::ImageFile::new(file, filename, options)
        .map_err(|error| node.place.error(not_a_format(filename, read_only, &error)))
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
