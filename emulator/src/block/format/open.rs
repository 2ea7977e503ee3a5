//! Step 9, block: opening an image in a format, and what it stands on. Before the sandbox closes.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::vmdk::Vmdk;
use imago::{DenyImplicitOpenGate, FormatAccess, StorageOpenOptions};
use rustix::fs::FileType;

use super::gate::Extents;
use super::{Access, header};
use crate::block::Geometry;
use crate::block::lock::{LockError, Locking, lock};

/// What helps against an image of a kind that is not known here, and is to QEMU's tools.
pub(super) const CONVERT: &str = "convert it with qemu-img convert";

/// Images in a chain, the disk's own included.
const MAX_CHAIN: usize = 64;

/// The most bytes of a VMDK descriptor.
const MAX_DESCRIPTOR: u64 = 2 << 20;

/// How to use an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatOptions {
    /// Refuse writes.
    pub read_only: bool,
    /// O_DIRECT: past the page cache.
    pub direct: bool,
    /// Pass discards on.
    pub discard: bool,
    /// Whether to lock the files.
    pub locking: Locking,
}

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
        mend: &'static str,
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
    /// Something is wrong with a backing file.
    #[error("backing file '{path}': {source}")]
    Backing {
        /// Which one.
        path: String,
        /// What is wrong.
        source: Box<FormatError>,
    },
}

/// An image's file, open and locked.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    path: PathBuf,
}

impl ImageFile {
    /// Opens and locks it.
    ///
    /// # Errors
    /// If it is not there, not a disk's, or in use.
    pub fn open(path: &Path, options: FormatOptions) -> Result<Self, FormatError> {
        let flags = if options.direct { libc::O_DIRECT } else { 0 };
        let file = File::options()
            .read(true)
            .write(!options.read_only)
            // A FIFO must not make this wait.
            .custom_flags(flags | libc::O_NONBLOCK)
            .open(path)?;
        let kind = FileType::from_raw_mode(file.metadata()?.mode());
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(FormatError::NotADisk);
        }
        lock(&file, !options.read_only, options.locking)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Which file it is, whatever the path.
    fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    pub(super) fn into_storage(
        self,
        options: FormatOptions,
    ) -> Result<imago::file::File, FormatError> {
        let storage = StorageOpenOptions::new()
            .filename(self.path)
            .direct(options.direct)
            .write(!options.read_only);
        Ok(imago::file::File::from_open_file(self.file, storage)?)
    }
}

/// What shows where an image has no data of its own.
#[derive(Debug)]
pub enum Backing {
    /// What the image names.
    AsNamed,
    /// Zeroes.
    None,
    /// This.
    Image(OpenedFormat),
}

/// An image that can be a disk; nothing runs yet.
#[derive(Debug)]
pub struct OpenedFormat {
    pub(super) access: Access,
    pub(super) geometry: Geometry,
}

/// A raw image, to stand under another.
///
/// # Errors
/// [`FormatError`], to be shown to the user with the file's name.
pub fn raw(file: ImageFile, options: FormatOptions) -> Result<OpenedFormat, FormatError> {
    let storage = file.into_storage(options)?;
    let access = FormatAccess::new(Raw::open_image(storage, !options.read_only)?);
    Ok(OpenedFormat {
        geometry: geometry(&access, options, false),
        access,
    })
}

/// A VMDK descriptor with flat extents; only for reading.
///
/// # Errors
/// [`FormatError`], to be shown to the user with the file's name.
pub fn vmdk(file: ImageFile, options: FormatOptions) -> Result<OpenedFormat, FormatError> {
    let directory = file.path.parent().map(Path::to_owned).unwrap_or_default();
    let gate = Extents::new(options, directory);
    let mut start = [0; 4];
    let length = File::open(&file.path)?.read(&mut start)?;
    if start == *b"KDMV" || start == *b"COWD" {
        return Err(convert("it is a sparse VMDK image"));
    }
    if length < start.len() || file.file.metadata()?.len() > MAX_DESCRIPTOR {
        return Err(FormatError::NotThisFormat("vmdk"));
    }
    let storage = file.into_storage(options)?;
    let image = parsed(|| {
        let mut image = Vmdk::<_, Access>::open_image(storage, false)?;
        image.open_implicit_dependencies_gated(gate)?;
        Ok(image)
    })?;
    let access = FormatAccess::new(image);
    let geometry = geometry(&access, options, false);
    check_size(geometry.bytes)?;
    Ok(OpenedFormat { access, geometry })
}

/// A qcow2 image, versions 2 and 3.
///
/// # Errors
/// [`FormatError`], to be shown to the user with the file's name.
pub fn qcow2(
    file: ImageFile,
    backing: Backing,
    options: FormatOptions,
) -> Result<OpenedFormat, FormatError> {
    chained(file, backing, options, &mut Vec::new())
}

/// The same; `above` are the images that stand on this one.
fn chained(
    file: ImageFile,
    backing: Backing,
    options: FormatOptions,
    above: &mut Vec<(u64, u64)>,
) -> Result<OpenedFormat, FormatError> {
    above.push(file.identity()?);
    let header = match options.direct {
        // The look at the tables is not aligned.
        true => header::inspect(&File::open(&file.path)?)?,
        false => header::inspect(&file.file)?,
    };
    check_size(header.size)?;
    let directory = file.path.parent().map(Path::to_owned).unwrap_or_default();
    let storage = file.into_storage(options)?;
    let mut image = parsed(|| Qcow2::<_, Access>::open_image(storage, !options.read_only))?;
    let backing = match backing {
        Backing::None => None,
        Backing::Image(opened) => Some(opened.access),
        Backing::AsNamed => match image.implicit_backing_file() {
            None => None,
            Some(name) => {
                let format = image.implicit_backing_format().map(String::as_str);
                Some(below(name, format, &directory, options, above)?)
            }
        },
    };
    image.set_backing(backing);
    // What is still implicit, which is nothing, stays closed.
    image.open_implicit_dependencies_gated(DenyImplicitOpenGate::default())?;
    let access = FormatAccess::new(image);
    Ok(OpenedFormat {
        geometry: geometry(&access, options, header.zero_clusters),
        access,
    })
}

/// Opens the backing file that an image names.
fn below(
    name: &str,
    format: Option<&str>,
    directory: &Path,
    options: FormatOptions,
    above: &mut Vec<(u64, u64)>,
) -> Result<Access, FormatError> {
    let bad = |why, mend| FormatError::BackingName {
        name: name.to_owned(),
        why,
        mend,
    };
    if above.len() >= MAX_CHAIN {
        return Err(FormatError::TooDeep);
    }
    let name_only = name.strip_prefix("file:").unwrap_or(name);
    // `protocol:…` before any slash, as QEMU takes it.
    if (name_only.split('/').next()).is_some_and(|first| first.contains(':')) {
        return Err(bad("is not a file", "name a node by backing"));
    }
    // A guest that had the backing image as a raw disk could have written another format's header there.
    let format = format.ok_or_else(|| {
        let mend = "name it with qemu-img rebase -u -F, or by backing.driver";
        bad("has no format", mend)
    })?;
    let path = directory.join(name_only);
    let options = FormatOptions {
        read_only: true,
        ..options
    };
    let mut open = || {
        // Before it is locked: the disk's own image is locked already.
        let metadata = std::fs::metadata(&path)?;
        if above.contains(&(metadata.dev(), metadata.ino())) {
            return Err(FormatError::Loop);
        }
        let file = ImageFile::open(&path, options)?;
        match format {
            "raw" | "file" => raw(file, options),
            "qcow2" => chained(file, Backing::AsNamed, options, above),
            _ => Err(convert(format!("the format '{format}' is not known"))),
        }
    };
    match open() {
        Ok(opened) => Ok(opened.access),
        Err(error @ (FormatError::Backing { .. } | FormatError::Loop | FormatError::TooDeep)) => {
            Err(error)
        }
        Err(source) => Err(FormatError::Backing {
            path: path.display().to_string(),
            source: Box::new(source),
        }),
    }
}

/// It is of a kind that is not known here.
pub(super) fn convert(what: impl Into<String>) -> FormatError {
    FormatError::Unsupported {
        what: what.into(),
        mend: CONVERT,
    }
}

fn check_size(bytes: u64) -> Result<(), FormatError> {
    match bytes {
        0 => Err(FormatError::Empty),
        _ if !bytes.is_multiple_of(512) => Err(FormatError::PartialBlock(bytes)),
        _ if bytes > i64::MAX.unsigned_abs() => {
            Err(FormatError::Corrupt(format!("a size of {bytes} bytes")))
        }
        _ => Ok(()),
    }
}

fn geometry(access: &Access, options: FormatOptions, can_discard: bool) -> Geometry {
    Geometry {
        bytes: access.size(),
        read_only: options.read_only,
        discard: can_discard && options.discard && !options.read_only,
    }
}

/// Has the format's code read what is in the file. Whatever it finds there is an error at most.
fn parsed<T>(open: impl FnOnce() -> io::Result<T>) -> Result<T, FormatError> {
    let outcome = catch_unwind(AssertUnwindSafe(open));
    let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("its metadata make no sense")));
    outcome.map_err(|error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::Other => FormatError::Corrupt(error.to_string()),
        ErrorKind::Unsupported => convert(error.to_string()),
        _ => FormatError::Io(error),
    })
}
