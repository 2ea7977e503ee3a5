//! Guest RAM in a memfd, so that the emulator's DMA goes straight into it.
//!
//! [`Proxy::add_ram`](crate::Proxy::add_ram) takes RAM as guest address, size, descriptor and
//! offset; [`memfd()`] makes a descriptor for a VMM that has none. With the feature `vm-memory`, a
//! VMM that keeps its RAM in rust-vmm's `GuestMemoryMmap`, each region backed by a shared file with
//! a `FileOffset`, hands that over as it is
//! ([`Proxy::attach_memory`](crate::Proxy::attach_memory)), and `allocate` makes such memory.

use std::os::fd::{AsFd, OwnedFd};

use memfd::{FileSeal, MemfdOptions};
use rustix::fs::{SealFlags, fcntl_get_seals};

#[cfg(feature = "vm-memory")]
mod mmap;

#[cfg(feature = "vm-memory")]
pub use mmap::allocate;
#[cfg(feature = "vm-memory")]
pub(crate) use mmap::shared_regions;

/// The smallest unit of guest RAM that can be handed over.
pub const PAGE: u64 = 4096;

/// Why memory cannot be guest RAM that an emulator shares.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// It is not in a file that another process could map.
    #[error("guest RAM at {address:#x} is not backed by a file: use a memfd with a file offset")]
    NoFile {
        /// The region's guest-physical address.
        address: u64,
    },
    /// Addresses, sizes and file offsets are multiples of [`PAGE`], and the region ends within 64
    /// bits.
    #[error(
        "guest RAM at {address:#x} with {size:#x} bytes at file offset {offset:#x}: not a range of whole pages"
    )]
    Unaligned {
        /// The region's guest-physical address.
        address: u64,
        /// Its size.
        size: u64,
        /// Its offset in the file.
        offset: u64,
    },
    /// Its file can be cut short, and that was not to be.
    #[error(
        "guest RAM at {address:#x} is not sealed against shrinking: use a memfd with F_SEAL_SHRINK, or change unsealed_memory"
    )]
    Unsealed {
        /// The region's guest-physical address.
        address: u64,
    },
    /// It overlaps RAM that was handed over before.
    #[error(
        "guest RAM at {address:#x} with {size:#x} bytes overlaps RAM that the device has already"
    )]
    Overlap {
        /// The region's guest-physical address.
        address: u64,
        /// Its size.
        size: u64,
    },
    /// No RAM of exactly this range was handed over.
    #[error("guest RAM at {address:#x} with {size:#x} bytes is no region that the device has")]
    NotAttached {
        /// The guest-physical address.
        address: u64,
        /// The size.
        size: u64,
    },
    /// The memfd could not be made.
    #[error("cannot make a memfd of {size:#x} bytes for guest RAM: {source}")]
    Memfd {
        /// Bytes.
        size: u64,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The regions overlap or cannot be mapped.
    #[error("cannot map guest RAM: {0}")]
    Map(String),
}

/// A memfd of `size` bytes, all zero, whose size is sealed: guest RAM that the VMM maps shared, and
/// that [`Proxy::add_ram`](crate::Proxy::add_ram) hands over.
///
/// # Errors
/// The kernel refuses.
pub fn memfd(size: u64) -> Result<OwnedFd, MemoryError> {
    let refused = |error: memfd::Error| {
        let source = match error {
            memfd::Error::Create(source)
            | memfd::Error::AddSeals(source)
            | memfd::Error::GetSeals(source) => source,
        };
        MemoryError::Memfd { size, source }
    };
    let memfd = MemfdOptions::default()
        .allow_sealing(true)
        .close_on_exec(true)
        .create("outrigger-guest-ram")
        .map_err(refused)?;
    memfd
        .as_file()
        .set_len(size)
        .map_err(|source| MemoryError::Memfd { size, source })?;
    // The size cannot change any more: no access to a mapping of it can end in SIGBUS.
    memfd
        .add_seals(&[FileSeal::SealShrink, FileSeal::SealGrow, FileSeal::SealSeal])
        .map_err(refused)?;
    Ok(memfd.into_file().into())
}

/// A range of guest RAM in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) offset: u64,
}

impl Region {
    pub(crate) fn check(&self) -> Result<(), MemoryError> {
        let Self {
            address,
            size,
            offset,
        } = *self;
        let whole = |value: u64| value.is_multiple_of(PAGE);
        let ends = |start: u64| start.checked_add(size).is_some();
        if size != 0
            && whole(address)
            && whole(size)
            && whole(offset)
            && ends(address)
            && ends(offset)
        {
            Ok(())
        } else {
            Err(MemoryError::Unaligned {
                address,
                size,
                offset,
            })
        }
    }
}

/// Whether nobody can cut this file short. Only memory can be sealed like that.
pub(crate) fn is_sealed(file: impl AsFd) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}
