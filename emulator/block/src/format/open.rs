//! Step 9, block: opening an image in a format, and what it stands on. Before the sandbox closes.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{DenyImplicitOpenGate, FormatAccess, StorageOpenOptions};
use rustix::fs::FileType;

use super::error::{FormatError, MAX_CHAIN};
use super::storage::Storage;
use super::vmdk::Disk;
use super::{Access, header, hint};
use crate::lock::{Locking, lock};
use crate::{Geometry, descriptor};

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

/// An image's file, open and locked.
#[derive(Debug)]
pub struct ImageFile {
    file: File,
    path: PathBuf,
    /// Where the files are that the image names. `None`: it is known by a descriptor alone.
    directory: Option<PathBuf>,
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
        Self::new(file, path, options)
    }

    /// Locks the file that was opened by this name for these options.
    ///
    /// # Errors
    /// If it is not a disk's, or in use.
    pub fn new(file: File, path: &Path, options: FormatOptions) -> Result<Self, FormatError> {
        let kind = FileType::from_raw_mode(file.metadata()?.mode());
        if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
            return Err(FormatError::NotADisk);
        }
        lock(&file, !options.read_only, options.locking)?;
        // What an image names beside it is beside its file, and not in the directory of descriptors.
        let path = match descriptor::named_by(path) {
            None => Some(path.to_owned()),
            Some(_) => descriptor::path_of(&file),
        };
        let directory = path.as_deref().and_then(Path::parent).map(Path::to_owned);
        Ok(Self {
            file,
            path: path.unwrap_or_default(),
            directory,
        })
    }

    /// Which file it is, whatever the path.
    fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Its name; empty if it has none.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the files are that the image names.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    pub(super) fn into_file(
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
    let storage = Storage::File(file.into_file(options)?);
    let access = FormatAccess::new(Raw::open_image(storage, !options.read_only)?);
    Ok(OpenedFormat {
        geometry: geometry(&access, options, false),
        access,
    })
}

/// A VMDK image; only for reading.
///
/// # Errors
/// [`FormatError`], to be shown to the user with the file's name.
pub fn vmdk(file: ImageFile, options: FormatOptions) -> Result<OpenedFormat, FormatError> {
    let disk = Disk::open(file, options)?;
    check_size(disk.size())?;
    let access = FormatAccess::new(Raw::open_image(Storage::from(disk), false)?);
    Ok(OpenedFormat {
        geometry: geometry(&access, options, false),
        access,
    })
}

/// A qcow2 image, versions 2 and 3.
///
/// # Errors
/// [`FormatError`], to be shown to the user with the file's name.
pub fn qcow2(
    file: ImageFile,
    backing: Backing,
    data_file: Option<ImageFile>,
    options: FormatOptions,
) -> Result<OpenedFormat, FormatError> {
    chained(file, backing, data_file, options, &mut Vec::new())
}

/// The same; `above` are the images that stand on this one.
fn chained(
    file: ImageFile,
    backing: Backing,
    data_file: Option<ImageFile>,
    options: FormatOptions,
    above: &mut Vec<(u64, u64)>,
) -> Result<OpenedFormat, FormatError> {
    above.push(file.identity()?);
    let header = match options.direct {
        // The look at the tables is not aligned.
        true => {
            let again = File::open(descriptor::link_to(&file.file))?;
            header::inspect(&again, &file.path, !options.read_only)?
        }
        false => header::inspect(&file.file, &file.path, !options.read_only)?,
    };
    // What another image stands on may be of any size.
    if above.len() == 1 {
        check_size(header.size)?;
    }
    let (path, directory) = (file.path.clone(), file.directory.clone());
    let storage = Storage::File(file.into_file(options)?);
    let mut image = parsed(&path, || {
        Qcow2::<_, Access>::open_image(storage, !options.read_only)
    })?;
    let data_file = match (image.requires_external_data_file(), data_file) {
        (false, None) => None,
        (false, Some(_)) => return Err(FormatError::NoDataFile),
        (true, Some(file)) => Some(file),
        (true, None) => {
            let name = image.implicit_external_data_file();
            Some(data_beside(name, directory.as_deref(), options)?)
        }
    };
    let data_file = data_file.map(|file| file.into_file(options)).transpose()?;
    image.set_data_file(data_file.map(Storage::File));
    let backing = match backing {
        Backing::None => None,
        Backing::Image(opened) => Some(opened.access),
        Backing::AsNamed => match image.implicit_backing_file() {
            None => None,
            Some(name) => {
                let format = (header.backing_format.as_ref()).or(image.implicit_backing_format());
                let format = format.map(String::as_str);
                Some(below(name, format, directory.as_deref(), options, above)?)
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

/// Opens the data file that an image names: one beside it, because it is written.
fn data_beside(
    name: Option<&String>,
    directory: Option<&Path>,
    options: FormatOptions,
) -> Result<ImageFile, FormatError> {
    let bad = |what: String| FormatError::DataFileName(what);
    let name = name.ok_or_else(|| bad("which it does not name".to_owned()))?;
    let directory =
        directory.ok_or_else(|| bad(format!("'{name}', and its own path is not known")))?;
    let path = directory.join(name);
    let is_beside = || {
        let theirs = path.parent()?.canonicalize().ok()?;
        path.file_name()?;
        Some(theirs == Path::new(".").join(directory).canonicalize().ok()?)
    };
    if is_beside() != Some(true) || descriptor::named_by(&path).is_some() {
        return Err(bad(format!("'{name}', which is not beside it")));
    }
    ImageFile::open(&path, options).map_err(|source| FormatError::DataFile {
        name: name.clone(),
        source: Box::new(source),
    })
}

/// Opens the backing file that an image names.
fn below(
    name: &str,
    format: Option<&str>,
    directory: Option<&Path>,
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
    let path = match directory {
        Some(directory) => directory.join(name_only),
        None if Path::new(name_only).is_absolute() => PathBuf::from(name_only),
        None => {
            let why = "is relative, and the image's own path is not known";
            return Err(bad(why, "name a node by backing"));
        }
    };
    if descriptor::named_by(&path).is_some() {
        return Err(bad("means a descriptor", "name a node by backing"));
    }
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
            "raw" | "file" | "host_device" => raw(file, options),
            "vmdk" => vmdk(file, options),
            "qcow2" => chained(file, Backing::AsNamed, None, options, above),
            _ => Err(hint::convert(
                format!("its format, {format}, is not known here"),
                format,
                &path,
            )),
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
fn parsed<T>(path: &Path, open: impl FnOnce() -> io::Result<T>) -> Result<T, FormatError> {
    let outcome = catch_unwind(AssertUnwindSafe(open));
    let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("its metadata make no sense")));
    outcome.map_err(|error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::Other => FormatError::Corrupt(error.to_string()),
        ErrorKind::Unsupported => hint::convert(error.to_string(), "qcow2", path),
        _ => FormatError::Io(error),
    })
}
