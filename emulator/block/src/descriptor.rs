//! Step 9, block: names of files that mean a descriptor of this process, such as `/dev/fd/3`, and what is behind one.
//!
//! The kernel opens the file behind a descriptor again where the process may open it by its path. A second open file has
//! locks, a position and flags of its own. Where the kernel refuses, because the file belongs to another user for
//! example, the descriptor itself is used, as whoever passed it intends.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Symbolic links that one name leads through at most.
const MAX_LINKS: usize = 40;

/// The descriptor of this process that a file name means, through any number of symbolic links.
#[must_use]
pub fn named_by(name: &Path) -> Option<RawFd> {
    let mut name = name.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(number) = number_in(&name) {
            return Some(number);
        }
        let target = fs::read_link(&name).ok()?;
        name = directory_of(&name).join(target);
    }
    None
}

/// The directory that a file name is in; the working directory for a name without one.
fn directory_of(name: &Path) -> &Path {
    match name.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// The number at the end of a name in a directory of this process's descriptors.
fn number_in(name: &Path) -> Option<RawFd> {
    let text = name.file_name()?.to_str()?;
    let number: RawFd = text.parse().ok()?;
    // `/dev/fd` has neither `+3` nor `03`.
    if number < 0 || number.to_string() != text {
        return None;
    }
    let directory = directory_of(name);
    let is_ours = is_directory_of_descriptors(directory)
        || fs::canonicalize(directory).is_ok_and(|it| is_directory_of_descriptors(&it));
    is_ours.then_some(number)
}

fn is_directory_of_descriptors(directory: &Path) -> bool {
    let parts: Option<Vec<_>> = (directory.components())
        .map(|part| match part {
            Component::RootDir => Some("/"),
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    let this = std::process::id().to_string();
    match parts.as_deref() {
        Some(["/", "dev", "fd"] | ["/", "proc", "self" | "thread-self", "fd"]) => true,
        // The process has one thread as long as names are read, so another thread's number is another process's.
        Some(["/", "proc", process, "fd"] | ["/", "proc", process, "task", _, "fd"]) => {
            *process == this
        }
        _ => false,
    }
}

/// How to use what a descriptor leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorUse {
    /// For reading only.
    pub read_only: bool,
    /// O_DIRECT: past the page cache.
    pub direct: bool,
}

/// Why a descriptor cannot be an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It is something else.
    #[error("it is {0}")]
    NotADisk(&'static str),
    /// It is not open for reading.
    #[error("it is open for writing only")]
    WriteOnly,
    /// It is not open for writing.
    #[error("it is open for reading only")]
    ReadOnly,
    /// O_DIRECT needs a second open file.
    #[error("it cannot be opened again with O_DIRECT: {0}")]
    Direct(io::Error),
    /// What the kernel says.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for DescriptorError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Opens what is behind a descriptor, or duplicates it where it cannot be opened again.
///
/// # Errors
/// If it is not a disk's, or not open for this use.
pub fn open_behind(fd: BorrowedFd<'_>, usage: DescriptorUse) -> Result<File, DescriptorError> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    let duplicate = File::from(rustix::io::fcntl_dupfd_cloexec(fd, 3)?);
    let metadata = duplicate.metadata()?;
    let kind = metadata.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(DescriptorError::NotADisk(what_it_is(kind)));
    }
    // A descriptor that only names the file (O_PATH) says nothing of how it may be used.
    let names_only = flags.contains(OFlags::PATH);
    match flags & OFlags::RWMODE {
        _ if names_only => {}
        mode if mode == OFlags::WRONLY => return Err(DescriptorError::WriteOnly),
        mode if mode == OFlags::RDONLY && !usage.read_only => {
            return Err(DescriptorError::ReadOnly);
        }
        _ => {}
    }
    match open_again(&duplicate, &metadata, usage) {
        Ok(file) => Ok(file),
        Err(error) if names_only => Err(error.into()),
        Err(error) if usage.direct && !flags.contains(OFlags::DIRECT) => {
            Err(DescriptorError::Direct(error))
        }
        Err(error) => {
            tracing::info!(
                "descriptor {} cannot be opened again ({error}), so it is used itself: its locks stay as long as another \
                 process has it open",
                fd.as_raw_fd()
            );
            let mut wanted = flags - OFlags::NONBLOCK - OFlags::APPEND;
            wanted.set(OFlags::DIRECT, usage.direct);
            if wanted != flags {
                rustix::fs::fcntl_setfl(&duplicate, wanted)?;
            }
            Ok(duplicate)
        }
    }
}

/// A second open file of the same inode.
fn open_again(file: &File, metadata: &fs::Metadata, usage: DescriptorUse) -> io::Result<File> {
    let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    flags |= match usage.read_only {
        true => OFlags::RDONLY,
        false => OFlags::RDWR,
    };
    flags.set(OFlags::DIRECT, usage.direct);
    let again = File::from(rustix::fs::open(link_to(file), flags, Mode::empty())?);
    // Whatever is mounted at /proc.
    if identity(&again.metadata()?) == identity(metadata) {
        Ok(again)
    } else {
        Err(io::Error::from(ErrorKind::NotFound))
    }
}

/// The path of an open file, if it still leads there.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    let path = fs::read_link(link_to(file)).ok()?;
    let there = fs::metadata(&path).ok()?;
    (identity(&there) == identity(&file.metadata().ok()?)).then_some(path)
}

/// Where the kernel has a link to an open file.
pub(super) fn link_to(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn what_it_is(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() {
        "a character device"
    } else {
        "neither a regular file nor a block device"
    }
}

#[cfg(test)]
mod tests;
