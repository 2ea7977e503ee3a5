//! Step 9, block: the trait by which imago reads and writes. Its `pure_…` methods are unsafe because they skip imago's own
//! exclusion of overlapping writes; these here pass that duty on, or write nothing.
#![expect(unsafe_code, reason = "the trait has unsafe methods")]

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;

use super::Storage;

fn read_only<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl imago::Storage for Storage {
    fn mem_align(&self) -> usize {
        match self {
            Self::File(file) => file.mem_align(),
            Self::Vmdk(_) => 1,
        }
    }

    fn req_align(&self) -> usize {
        match self {
            Self::File(file) => file.req_align(),
            Self::Vmdk(_) => 1,
        }
    }

    fn zero_align(&self) -> usize {
        match self {
            Self::File(file) => file.zero_align(),
            Self::Vmdk(_) => 1,
        }
    }

    fn discard_align(&self) -> usize {
        match self {
            Self::File(file) => file.discard_align(),
            Self::Vmdk(_) => 1,
        }
    }

    fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.size(),
            Self::Vmdk(vmdk) => Ok(vmdk.disk.size()),
        }
    }

    fn resolve_relative_path<P: AsRef<Path>>(&self, relative: P) -> io::Result<PathBuf> {
        match self {
            Self::File(file) => file.resolve_relative_path(relative),
            Self::Vmdk(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn get_filename(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => file.get_filename(),
            Self::Vmdk(_) => None,
        }
    }

    unsafe fn pure_readv(&self, bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        match self {
            // SAFETY: the caller keeps to the trait's conditions, which are the same for the file.
            Self::File(file) => unsafe { file.pure_readv(bufv, offset) },
            Self::Vmdk(vmdk) => vmdk.disk.read(bufv, offset),
        }
    }

    unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        match self {
            // SAFETY: as in `pure_readv`.
            Self::File(file) => unsafe { file.pure_writev(bufv, offset) },
            Self::Vmdk(_) => read_only(),
        }
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        match self {
            // SAFETY: as in `pure_readv`.
            Self::File(file) => unsafe { file.pure_write_zeroes(offset, length) },
            Self::Vmdk(_) => read_only(),
        }
    }

    unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        match self {
            // SAFETY: as in `pure_readv`.
            Self::File(file) => unsafe { file.pure_write_allocated_zeroes(offset, length) },
            Self::Vmdk(_) => read_only(),
        }
    }

    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        match self {
            // SAFETY: as in `pure_readv`.
            Self::File(file) => unsafe { file.pure_discard(offset, length) },
            Self::Vmdk(_) => read_only(),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Vmdk(_) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync(),
            Self::Vmdk(_) => Ok(()),
        }
    }

    fn settle_writes(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.settle_writes(),
            Self::Vmdk(_) => Ok(()),
        }
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        match self {
            // SAFETY: as in `pure_readv`.
            Self::File(file) => unsafe { file.invalidate_cache() },
            Self::Vmdk(_) => Ok(()),
        }
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        match self {
            Self::File(file) => file.get_storage_helper(),
            Self::Vmdk(vmdk) => &vmdk.helper,
        }
    }

    fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        match self {
            Self::File(file) => file.resize(new_size, mode),
            Self::Vmdk(_) => read_only(),
        }
    }
}
