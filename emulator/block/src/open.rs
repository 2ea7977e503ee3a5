//! Step 9, block: opening an image: what it is, how large, what it can do. Before the sandbox closes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags, StatxFlags};

use super::Geometry;
use super::file::Engine;
use super::job::Files;

/// Disks are made of blocks of this many bytes at least.
pub(super) const BLOCK: u64 = 512;

/// How to use an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// Refuse writes. Otherwise the file must be open for both.
    pub read_only: bool,
    /// O_DIRECT: past the page cache.
    pub direct: bool,
    /// What moves the bytes.
    pub engine: Engine,
}

/// Why an image cannot be a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither a regular file nor a block device.
    #[error("not a regular file or block device")]
    NotADisk,
    /// No byte in it.
    #[error("the image is empty")]
    Empty,
    /// Not a multiple of a block.
    #[error("the image's size, {bytes} bytes, is not a multiple of 512")]
    PartialBlock {
        /// Its size.
        bytes: u64,
    },
    /// Not open for what the options ask.
    #[error("the image is not open for {0}")]
    Access(&'static str),
    /// O_DIRECT does not work there.
    #[error("it cannot be opened with O_DIRECT: {0}")]
    Direct(io::Error),
    /// io_uring was asked for by name and is not allowed here.
    #[error("io_uring cannot be used: {0}")]
    IoUring(io::Error),
    /// Something else failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for OpenError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// What O_DIRECT asks, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alignment {
    /// Of addresses.
    pub(super) memory: u64,
    /// Of file offsets and lengths.
    pub(super) offset: u64,
}

/// An image that can be a disk, with all that must be opened for it; the engine is not running yet.
#[derive(Debug)]
pub struct Opened {
    pub(super) engine: Engine,
    pub(super) files: Files,
    pub(super) geometry: Geometry,
    /// Of O_DIRECT, where that is used.
    pub(super) alignment: Option<Alignment>,
    /// The file system keeps its files in memory.
    pub(super) in_memory: bool,
}

impl Opened {
    /// Discards do nothing.
    #[must_use]
    pub fn without_discard(mut self) -> Self {
        self.geometry.discard = false;
        self
    }
}

/// Finds out what the image is, and reopens it where O_DIRECT needs that. The file system must be within reach.
///
/// # Errors
/// [`OpenError`], to be shown to the user with the file's name.
pub fn open(mut file: File, options: FileOptions) -> Result<Opened, OpenError> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
        return Err(OpenError::NotADisk);
    }
    let flags = rustix::fs::fcntl_getfl(&file)?;
    match flags & OFlags::RWMODE {
        mode if mode == OFlags::RDWR => {}
        mode if mode == OFlags::RDONLY && options.read_only => {}
        mode if mode == OFlags::RDONLY => return Err(OpenError::Access("writing")),
        _ => return Err(OpenError::Access("reading")),
    }
    // O_NONBLOCK would make io_uring give up instead of waiting, O_APPEND would ignore offsets, and whether
    // O_DIRECT is on is for the options to say.
    let wanted = flags - OFlags::NONBLOCK - OFlags::APPEND - OFlags::DIRECT;
    if wanted != flags {
        rustix::fs::fcntl_setfl(&file, wanted)?;
    }

    let bytes = file.seek(SeekFrom::End(0))?;
    if bytes == 0 {
        return Err(OpenError::Empty);
    }
    if !bytes.is_multiple_of(BLOCK) {
        return Err(OpenError::PartialBlock { bytes });
    }

    let discard = !options.read_only && kind == FileType::RegularFile && can_punch(&file, bytes);
    let geometry = Geometry {
        bytes,
        read_only: options.read_only,
        discard,
    };
    let in_memory = kind == FileType::RegularFile && is_in_memory(&file)?;
    let (files, alignment) = if options.direct {
        let direct = reopen_direct(&file, wanted)?;
        let alignment = alignment(&direct)?;
        (
            Files {
                main: direct,
                cached: Some(file),
            },
            Some(alignment),
        )
    } else {
        (
            Files {
                main: file,
                cached: None,
            },
            None,
        )
    };
    Ok(Opened {
        engine: options.engine,
        files,
        geometry,
        alignment,
        in_memory,
    })
}

/// Whether holes can be punched, asked beyond the end, where it changes nothing.
fn can_punch(file: &File, bytes: u64) -> bool {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let beyond = bytes.next_multiple_of(1 << 20);
    rustix::fs::fallocate(file, flags, beyond, 4096).is_ok()
}

fn is_in_memory(file: &File) -> Result<bool, OpenError> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(kind == TMPFS_MAGIC || kind == RAMFS_MAGIC)
}

/// A second open file of the same image, so that both ways through the kernel are there.
fn reopen_direct(file: &File, flags: OFlags) -> Result<File, OpenError> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = (flags & OFlags::RWMODE) | OFlags::DIRECT | OFlags::CLOEXEC;
    let direct = rustix::fs::open(path, flags, Mode::empty());
    Ok(File::from(
        direct.map_err(|error| OpenError::Direct(error.into()))?,
    ))
}

fn alignment(file: &File) -> Result<Alignment, OpenError> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    if stat.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        // The kernel cannot tell (before 6.1): what every device is content with.
        return Ok(Alignment {
            memory: 4096,
            offset: 4096,
        });
    }
    if stat.stx_dio_offset_align == 0 || stat.stx_dio_mem_align == 0 {
        return Err(OpenError::Direct(io::ErrorKind::Unsupported.into()));
    }
    Ok(Alignment {
        memory: u64::from(stat.stx_dio_mem_align),
        offset: u64::from(stat.stx_dio_offset_align),
    })
}
