//! Step 4, ring: sealed memories, made by one side and checked by the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use memfd::{FileSeal, Memfd, MemfdOptions};
use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};

use crate::error::SetupError;
use crate::layout::{HEADER_BYTES, Shape};
use crate::memory::{Mapping, OwnLines, PeerLines};

/// Seals that every memory has.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A memory, on either side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) mapping: Arc<Mapping>,
}

/// A memory that this side has made.
#[derive(Debug)]
pub(crate) struct Made {
    fd: OwnedFd,
    shared: Shared,
}

impl Made {
    /// A new memory of zeroes behind its header, mapped to write, then sealed. What only this side
    /// may write is sealed against other writers.
    pub(crate) fn create(shape: Shape) -> Result<Self, SetupError> {
        let memfd = MemfdOptions::new()
            .allow_sealing(true)
            .create(shape.name)
            .map_err(memfd_error)?;
        // Sized by a write: where a server makes one, its sandbox may let no file be truncated.
        let last = shape.size.saturating_sub(1);
        rustix::io::pwrite(memfd.as_file(), &[0], last)?;
        rustix::io::pwrite(memfd.as_file(), &shape.header, 0)?;
        let mapping = Mapping::new(memfd.as_file().as_fd(), shape.size, true)?;
        let mut seals = vec![FileSeal::SealShrink, FileSeal::SealGrow];
        if !shape.both_write {
            // After the mapping was made: it stays writable, and no other will be.
            seals.push(FileSeal::SealFutureWrite);
        }
        seals.push(FileSeal::SealSeal);
        memfd.add_seals(&seals).map_err(memfd_error)?;
        Ok(Self {
            fd: memfd.into_file().into(),
            shared: Shared { mapping },
        })
    }

    /// For the other side.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::ops::Deref for Made {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// A memory that the peer made. Everything about it is checked before it is mapped, and cannot
    /// change afterwards.
    pub(crate) fn adopt(fd: OwnedFd, shape: Shape) -> Result<Self, SetupError> {
        const TMPFS: i64 = 0x0102_1994;
        let name = shape.name;
        let memfd = Memfd::try_from_fd(fd).map_err(|_| SetupError::NotMemfd(name))?;
        // Huge pages are sealable too, but can run out at the first touch, which is a SIGBUS.
        let filesystem = fstatfs(memfd.as_file())?;
        if filesystem.f_type != TMPFS {
            return Err(SetupError::NotMemfd(name));
        }
        let seals = fcntl_get_seals(memfd.as_file())?;
        let writers = seals & (SealFlags::WRITE | SealFlags::FUTURE_WRITE);
        let expected_writers = match shape.both_write {
            true => SealFlags::empty(),
            false => SealFlags::FUTURE_WRITE,
        };
        if !seals.contains(SIZE_SEALS) || writers != expected_writers {
            return Err(SetupError::Seals(name));
        }
        let expected = shape.size;
        let found = fstat(memfd.as_file())?.st_size;
        if u64::try_from(found) != Ok(expected) {
            let found = u64::try_from(found).unwrap_or(0);
            return Err(SetupError::Size {
                memory: name,
                expected,
                found,
            });
        }
        let mut bytes = [0; HEADER_BYTES];
        let length = rustix::io::pread(memfd.as_file(), &mut bytes, 0)?;
        if length != HEADER_BYTES || bytes != shape.header {
            return Err(SetupError::Header(name));
        }
        let mapping = Mapping::new(memfd.as_file().as_fd(), expected, shape.both_write)?;
        // The descriptor is not needed any more.
        Ok(Self { mapping })
    }

    /// Lines that this side writes; see [`Mapping::own`].
    pub(crate) fn own(&self, offset: u64, lines: u64) -> Result<OwnLines, SetupError> {
        self.mapping.own(offset, lines).ok_or_else(outside)
    }

    /// Lines that the other side writes; see [`Mapping::peer`].
    pub(crate) fn peer(&self, offset: u64, lines: u64) -> Result<PeerLines, SetupError> {
        self.mapping.peer(offset, lines).ok_or_else(outside)
    }
}

fn outside() -> SetupError {
    SetupError::Io(std::io::ErrorKind::InvalidInput.into())
}

fn memfd_error(error: memfd::Error) -> SetupError {
    match error {
        memfd::Error::Create(error)
        | memfd::Error::AddSeals(error)
        | memfd::Error::GetSeals(error) => error.into(),
    }
}
