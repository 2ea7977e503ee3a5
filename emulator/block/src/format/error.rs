//! Step 9, block: why an image in a format cannot be a disk.

use std::io;

use crate::lock::LockError;

/// Images in a chain, the disk's own included.
pub(super) const MAX_CHAIN: usize = 64;

/// Why an image cannot be a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file cannot be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Neither a regular file nor a block device.
    #[error("not a regular file or block device")]
    NotADisk,
    /// The file is locked.
    #[error("{0}")]
    Locked(#[from] LockError),
    /// It is something else.
    #[error("it is not a {0} image")]
    NotThisFormat(&'static str),
    /// It has something that is not known here.
    #[error("{what}")]
    Unsupported {
        /// What.
        what: String,
        /// What helps.
        mend: String,
    },
    /// It contradicts itself.
    #[error("the image is corrupt: {0}")]
    Corrupt(String),
    /// The file ends too early.
    #[error("the image is truncated: {0} would be beyond the file's end")]
    Truncated(String),
    /// The disk has no byte.
    #[error("the disk in the image is empty")]
    Empty,
    /// The disk is not a multiple of a block.
    #[error("the disk in the image, {0} bytes, is not a multiple of 512")]
    PartialBlock(u64),
    /// The image names a backing file in a way that is not followed.
    #[error("the backing file '{name}' {why}")]
    BackingName {
        /// As the image has it.
        name: String,
        /// What is wrong with it.
        why: &'static str,
        /// What helps.
        mend: &'static str,
    },
    /// The backing file is the image itself, or stands on it.
    #[error("the backing files form a loop")]
    Loop,
    /// Too many backing files.
    #[error("more than {MAX_CHAIN} backing files")]
    TooDeep,
    /// Something is wrong with a file that a VMDK image names.
    #[error("its extent '{name}': {source}")]
    Extent {
        /// Which one.
        name: String,
        /// What is wrong.
        source: Box<FormatError>,
    },
    /// Something is wrong with the file that a qcow2 image has its data in.
    #[error("its data file '{name}': {source}")]
    DataFile {
        /// Which one.
        name: String,
        /// What is wrong.
        source: Box<FormatError>,
    },
    /// The image names a data file in a way that is not followed.
    #[error("its data are in another file, {0}")]
    DataFileName(String),
    /// A data file is given to an image that has none.
    #[error("its data are in the image itself")]
    NoDataFile,
    /// Something is wrong with a backing file.
    #[error("backing file '{path}': {source}")]
    Backing {
        /// Which one.
        path: String,
        /// What is wrong.
        source: Box<FormatError>,
    },
}
