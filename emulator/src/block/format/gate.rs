//! Step 9, block: what an image may open by its own word: a VMDK descriptor's extents, read-only, locked, beside it.

use std::io;
use std::path::PathBuf;

use imago::format::builder::FormatDriverBuilder;
use imago::format::gate::ImplicitOpenGate;
use imago::{FormatAccess, StorageOpenOptions};

use super::open::{FormatOptions, ImageFile};

type Storage = imago::file::File;

/// Extents that one image may have.
const MAX_EXTENTS: usize = 1024;

/// Opens extents.
#[derive(Debug)]
pub(super) struct Extents {
    options: FormatOptions,
    /// The directory of the descriptor: all that the image may reach.
    directory: PathBuf,
    left: usize,
}

impl Extents {
    pub(super) fn new(options: FormatOptions, directory: PathBuf) -> Self {
        Self {
            options,
            directory,
            left: MAX_EXTENTS,
        }
    }
}

impl ImplicitOpenGate<Storage> for Extents {
    fn open_format<F: FormatDriverBuilder<Storage>>(
        &mut self,
        _builder: F,
    ) -> io::Result<FormatAccess<Storage>> {
        Err(io::Error::other("an extent in another format"))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let path = options
            .get_filename()
            .ok_or_else(|| io::Error::other("an extent without a name"))?;
        if path.parent() != Some(&self.directory) {
            return Err(io::Error::other("an extent in another directory"));
        }
        self.left =
            (self.left.checked_sub(1)).ok_or_else(|| io::Error::other("too many extents"))?;
        let file = ImageFile::open(path, self.options).map_err(io::Error::other)?;
        file.into_storage(self.options).map_err(io::Error::other)
    }
}
