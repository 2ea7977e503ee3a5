//! Step 9, block: VMDK images, for reading: a descriptor, and extents beside it or in the same file.
//!
//! The crate imago knows flat extents, as qemu-img writes them. Here is what VMware's products write: monolithic, split,
//! stream-optimised (OVA) and VMFS disks.

mod descriptor;
mod sparse;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use imago::io_buffers::IoVectorMut;
use imago::{Storage as _, StorageExt};

use super::error::FormatError;
use super::hint;
use super::open::{FormatOptions, ImageFile};
use descriptor::{Access, Descriptor, Extent, Kind, ParseError};
use sparse::{ESX, HOSTED, Header, Sparse};

/// All counts of VMDK are in blocks of this many bytes.
const BLOCK: u64 = 512;
/// The most bytes of a descriptor.
const MAX_DESCRIPTOR: u64 = 2 << 20;
/// Extents that one image may have.
const MAX_EXTENTS: usize = 1024;

/// The disk in an image.
#[derive(Debug)]
pub(super) struct Disk {
    /// In order, without gaps.
    parts: Vec<Part>,
    size: u64,
}

/// A part of the disk.
#[derive(Debug)]
struct Part {
    /// Its first byte on the disk.
    start: u64,
    length: u64,
    data: Contents,
}

/// Where a part's bytes are.
#[derive(Debug)]
enum Contents {
    Flat {
        file: imago::file::File,
        offset: u64,
    },
    Sparse(Box<Sparse>),
    Zero,
    /// The descriptor forbids to read it.
    Forbidden,
}

impl Disk {
    /// Opens the image, and its extents beside it.
    pub(super) fn open(file: ImageFile, options: FormatOptions) -> Result<Self, FormatError> {
        let beside = Beside {
            path: file.path().to_owned(),
            directory: file.directory().map(Path::to_owned),
            options,
        };
        let file = file.into_file(options)?;
        let length = file.size()?;
        let mut magic = [0; 4];
        file.read(magic.as_mut_slice(), 0)?;
        if magic == ESX {
            return Err(lone_extent());
        }
        if magic != HOSTED {
            if length > MAX_DESCRIPTOR {
                return Err(FormatError::NotThisFormat("vmdk"));
            }
            let descriptor = beside.descriptor(&file, 0, usize::try_from(length).unwrap_or(0))?;
            return beside.disk(&descriptor);
        }
        let header = Header::read(&file)?;
        let (at, length) = header.descriptor.ok_or_else(lone_extent)?;
        let descriptor = beside.descriptor(&file, at, length)?;
        if header.capacity == 0 || descriptor.extents.len() > 1 {
            return beside.disk(&descriptor);
        }
        // The one extent is this file, whatever it was called when the descriptor was written.
        let sparse = Sparse::open(file, &header, header.capacity)?;
        let data = Contents::Sparse(Box::new(sparse));
        Self::new([(header.capacity, data)])
    }

    fn new(parts: impl IntoIterator<Item = (u64, Contents)>) -> Result<Self, FormatError> {
        let mut disk = Self {
            parts: Vec::new(),
            size: 0,
        };
        for (sectors, data) in parts {
            let length = sectors.checked_mul(BLOCK);
            let end = length.and_then(|length| disk.size.checked_add(length));
            let (Some(length), Some(end)) = (length, end) else {
                let what = format!("an extent of {sectors} blocks");
                return Err(FormatError::Corrupt(what));
            };
            if length > 0 {
                let start = disk.size;
                disk.parts.push(Part {
                    start,
                    length,
                    data,
                });
            }
            disk.size = end;
        }
        Ok(disk)
    }

    /// Its bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffers from `offset` on.
    pub(super) fn read(&self, mut rest: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        let next = self.parts.partition_point(|part| part.start <= offset);
        let mut parts = self.parts.iter().skip(next.saturating_sub(1));
        while !rest.is_empty() {
            let Some(part) = parts.next() else {
                rest.fill(0);
                return Ok(());
            };
            let within = offset.saturating_sub(part.start);
            let count = part.length.saturating_sub(within).min(rest.len());
            let (mut piece, tail) = rest.split_at(count);
            match &part.data {
                _ if count == 0 => {}
                Contents::Flat { file, offset } => file.readv(piece, offset + within)?,
                Contents::Sparse(sparse) => sparse.read(piece, within)?,
                Contents::Zero => piece.fill(0),
                Contents::Forbidden => return Err(ErrorKind::PermissionDenied.into()),
            }
            rest = tail;
            offset += count;
        }
        Ok(())
    }
}

/// What lets an image reach the files beside it.
struct Beside {
    /// Of the image.
    path: PathBuf,
    directory: Option<PathBuf>,
    options: FormatOptions,
}

impl Beside {
    fn convert(&self, what: impl Into<String>) -> FormatError {
        hint::convert(what, "vmdk", &self.path)
    }

    /// Reads the descriptor and refuses what no extent can be read for.
    fn descriptor(
        &self,
        file: &imago::file::File,
        at: u64,
        length: usize,
    ) -> Result<Descriptor, FormatError> {
        let mut text = vec![0; length];
        file.read(text.as_mut_slice(), at)?;
        let descriptor = Descriptor::parse(&text).map_err(|error| match error {
            ParseError::NotADescriptor => FormatError::NotThisFormat("vmdk"),
            ParseError::Line(line) => FormatError::Corrupt(format!("the line '{line}'")),
        })?;
        if descriptor.is_encrypted {
            return Err(FormatError::Unsupported {
                what: "it is encrypted".to_owned(),
                mend: "remove the encryption where the image was made".to_owned(),
            });
        }
        match descriptor.parent.as_deref() {
            None => Ok(descriptor),
            Some("") => Err(FormatError::Corrupt(
                "it does not name its parent".to_owned(),
            )),
            Some(name) => {
                Err(self.convert(format!("it holds the differences to the image '{name}'")))
            }
        }
    }

    /// Opens all extents.
    fn disk(&self, descriptor: &Descriptor) -> Result<Disk, FormatError> {
        if descriptor.extents.is_empty() {
            return Err(FormatError::Corrupt("it has no extents".to_owned()));
        }
        if descriptor.extents.len() > MAX_EXTENTS {
            return Err(self.convert(format!("it has more than {MAX_EXTENTS} extents")));
        }
        let parts = (descriptor.extents.iter())
            .map(|extent| Ok((extent.sectors, self.contents(extent)?)))
            .collect::<Result<Vec<_>, FormatError>>()?;
        Disk::new(parts)
    }

    fn contents(&self, extent: &Extent) -> Result<Contents, FormatError> {
        if extent.access == Access::No {
            return Ok(Contents::Forbidden);
        }
        match &extent.kind {
            Kind::Zero => Ok(Contents::Zero),
            Kind::Other(kind) => Err(self.convert(format!("it has an extent of type {kind}"))),
            Kind::Flat => {
                let (name, file) = self.extent(&extent.name)?;
                let offset = extent.offset.checked_mul(BLOCK);
                let end = (extent.sectors.checked_mul(BLOCK))
                    .and_then(|length| offset?.checked_add(length));
                match (offset, end) {
                    (Some(offset), Some(end)) if end <= file.size()? => {
                        Ok(Contents::Flat { file, offset })
                    }
                    _ => Err(FormatError::Truncated(format!("a part of '{name}'"))),
                }
            }
            Kind::Sparse => {
                let (name, file) = self.extent(&extent.name)?;
                let mut magic = [0; 4];
                file.read(magic.as_mut_slice(), 0)?;
                if magic != HOSTED && magic != ESX {
                    return Err(FormatError::Corrupt(format!(
                        "'{name}' is not a sparse extent"
                    )));
                }
                let header = Header::read(&file)?;
                let sparse = Sparse::open(file, &header, extent.sectors)?;
                Ok(Contents::Sparse(Box::new(sparse)))
            }
        }
    }

    /// Opens a file that the image names: one beside it, and no other.
    fn extent(&self, name: &[u8]) -> Result<(String, imago::file::File), FormatError> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let extent = |source| FormatError::Extent {
            name: shown.clone(),
            source: Box::new(source),
        };
        let Some(directory) = &self.directory else {
            return Err(self.convert(format!(
                "its extent '{shown}' cannot be found, because the image's own path is not known"
            )));
        };
        let mut parts = Path::new(OsStr::from_bytes(name)).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        ) {
            return Err(self.convert(format!("its extent '{shown}' is not beside it")));
        }
        let path = directory.join(file_name(directory, name));
        let opened = ImageFile::open(&path, self.options);
        let file = opened.and_then(|file| file.into_file(self.options));
        Ok((shown.clone(), file.map_err(extent)?))
    }
}

/// The file name that these bytes mean: as they are, or, where there is no such file and they are not UTF-8, as text of
/// Western Windows, which VMware's products write there.
fn file_name(directory: &Path, name: &[u8]) -> OsString {
    let as_they_are = OsStr::from_bytes(name);
    if std::str::from_utf8(name).is_ok() || directory.join(as_they_are).exists() {
        return as_they_are.to_owned();
    }
    name.iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .into()
}

/// A file with a part of a disk only.
fn lone_extent() -> FormatError {
    FormatError::Unsupported {
        what: "it is an extent of a VMDK image, without a descriptor".to_owned(),
        mend: "name the descriptor file that lists it".to_owned(),
    }
}
