//! What a user is told of an image that cannot be used, and what helps.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::config::Problem;
use outrigger_block::{self as block, FormatError, NbdError, OpenError};

pub(super) fn not_opened(filename: &Path, read_only: bool, error: &io::Error) -> Problem {
    let name = filename.display();
    let (why, mend) = match error.kind() {
        ErrorKind::NotFound => ("there is no such file", "check filename"),
        ErrorKind::IsADirectory => ("it is a directory", "name a file or block device"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if !read_only => (
            "no permission to read and write it",
            "change its permissions, or add read-only=on",
        ),
        ErrorKind::PermissionDenied => ("no permission to read it", "change its permissions"),
        ErrorKind::InvalidInput => ("its file system has no O_DIRECT", "leave out cache.direct"),
        _ => return Problem::refused(format!("cannot open '{name}': {error}"), "check filename"),
    };
    Problem::refused(format!("cannot open '{name}': {why}"), mend)
}

pub(super) fn not_a_disk(filename: &Path, error: OpenError) -> Problem {
    let name = filename.display();
    let mend = match error {
        OpenError::NotADisk => "name a file or block device",
        OpenError::Empty => "give it a size, such as with truncate -s 64M",
        OpenError::PartialBlock { .. } => &block::pad_command(filename),
        OpenError::Direct(_) => "leave out cache.direct",
        OpenError::IoUring(_) => "leave out aio",
        _ => "check filename",
    };
    Problem::refused(format!("cannot use '{name}': {error}"), mend)
}

/// Also for the lock of a raw image.
pub(super) fn not_a_format(filename: &Path, read_only: bool, error: &FormatError) -> Problem {
    if let FormatError::Io(error) = error {
        return not_opened(filename, read_only, error);
    }
    let what = format!("cannot use '{}': {error}", filename.display());
    Problem::refused(what, mend(filename, error))
}

/// What helps against an image that cannot be used.
fn mend(filename: &Path, error: &FormatError) -> String {
    let mend = match error {
        FormatError::NotADisk => "name a file or block device",
        FormatError::Locked(block::LockError::Held(_)) => {
            "stop the other one, or add locking=off to the file if that is safe"
        }
        FormatError::Locked(_) => "leave out locking=on",
        FormatError::NotThisFormat(_) => "choose another driver",
        FormatError::Unsupported { mend, .. } => mend,
        FormatError::BackingName { mend, .. } => mend,
        FormatError::PartialBlock(bytes) => return block::resize_command(filename, *bytes),
        FormatError::Empty => "make another image",
        FormatError::Loop | FormatError::TooDeep => "look at it with qemu-img info",
        FormatError::DataFileName(_) => "name it by data-file.filename",
        FormatError::NoDataFile => "leave out data-file",
        FormatError::Extent { source, .. } | FormatError::DataFile { source, .. } => {
            return match &**source {
                FormatError::Io(_) => "let it be beside the image".to_owned(),
                source => mend(filename, source),
            };
        }
        // What is below goes into the copy.
        FormatError::Backing { source, .. } if is_convertible(source) => {
            return block::convert_command("qcow2", filename);
        }
        FormatError::Backing { .. } => "look at qemu-img info --backing-chain",
        _ => "look at it with qemu-img check",
    };
    mend.to_owned()
}

/// Whether `qemu-img` can read what is not read here.
fn is_convertible(error: &FormatError) -> bool {
    match error {
        FormatError::Backing { source, .. } => is_convertible(source),
        FormatError::Unsupported { mend, .. } => mend.starts_with("convert it"),
        _ => false,
    }
}

pub(super) fn not_an_export(path: &Path, error: &NbdError) -> Problem {
    let mend = match error {
        NbdError::NoExport(_) => "see qemu-nbd --list for what it has",
        NbdError::ReadOnly => "add read-only=on",
        NbdError::Tls => "serve the export on the UNIX socket without TLS",
        NbdError::Oldstyle => "serve the disk with qemu-nbd or nbdkit",
        NbdError::Size(_) | NbdError::BlockSize(_) => "export another disk",
        _ => "see whether the server runs",
    };
    Problem::refused(
        format!("cannot use the server at '{}': {error}", path.display()),
        mend,
    )
}
