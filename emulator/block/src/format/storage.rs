//! Step 9, block: what imago reads and writes: a file, or the disk in a VMDK image, which is only read.

mod sys;

use std::fmt;

use imago::storage::drivers::CommonStorageHelper;

use super::vmdk::Disk;

/// Where the bytes of an image are.
#[derive(Debug)]
pub(super) enum Storage {
    /// In a file.
    File(imago::file::File),
    /// In the extents of a VMDK image.
    Vmdk(Box<VmdkStorage>),
}

/// The disk in a VMDK image, as imago wants it.
#[derive(Debug)]
pub(super) struct VmdkStorage {
    disk: Disk,
    helper: CommonStorageHelper,
}

impl From<Disk> for Storage {
    fn from(disk: Disk) -> Self {
        Self::Vmdk(Box::new(VmdkStorage {
            disk,
            helper: CommonStorageHelper::default(),
        }))
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Vmdk(_) => f.write_str("vmdk"),
        }
    }
}
