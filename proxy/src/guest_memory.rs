//! Guest RAM in a memfd, so that the emulator's DMA goes straight into it.
//!
//! A VMM that already keeps its RAM in rust-vmm's `GuestMemoryMmap`, each region backed by a shared file with a
//! [`FileOffset`], hands that over as it is. [`allocate`] makes such memory for one that does not.

use std::fs::File;
use std::sync::Arc;

use memfd::{FileSeal, MemfdOptions};
use rustix::fs::{SealFlags, fcntl_get_seals};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionCollectionError,
};

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
    /// Addresses, sizes and file offsets are multiples of [`PAGE`], and the region ends within 64 bits.
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

impl From<GuestRegionCollectionError> for MemoryError {
    fn from(error: GuestRegionCollectionError) -> Self {
        Self::Map(error.to_string())
    }
}

/// Guest RAM with these regions (guest-physical address and bytes, ascending), all in one memfd whose size is sealed.
///
/// # Errors
/// A region is not made of whole pages, regions overlap, or the kernel refuses.
pub fn allocate(regions: &[(u64, u64)]) -> Result<GuestMemoryMmap, MemoryError> {
    let mut total = 0_u64;
    let mut offsets = Vec::with_capacity(regions.len());
    for &(address, size) in regions {
        let region = Region {
            address,
            size,
            offset: total,
        };
        region.check()?;
        offsets.push(region);
        total = total.checked_add(size).ok_or(MemoryError::Unaligned {
            address,
            size,
            offset: total,
        })?;
    }
    let file = Arc::new(sealed_memfd(total)?);
    let mut ranges = Vec::with_capacity(offsets.len());
    for region in offsets {
        let size =
            usize::try_from(region.size).map_err(|error| MemoryError::Map(error.to_string()))?;
        ranges.push((
            GuestAddress(region.address),
            size,
            Some(FileOffset::from_arc(Arc::clone(&file), region.offset)),
        ));
    }
    GuestMemoryMmap::from_ranges_with_files(ranges)
        .map_err(|error| MemoryError::Map(error.to_string()))
}

fn sealed_memfd(size: u64) -> Result<File, MemoryError> {
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
    Ok(memfd.into_file())
}

/// A range of guest RAM in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) offset: u64,
}

impl Region {
    fn check(&self) -> Result<(), MemoryError> {
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

/// The regions of a VMM's guest memory with their files. Every region is checked before the first is used.
pub(crate) fn shared_regions<M: GuestMemoryBackend>(
    memory: &M,
) -> Result<Vec<(Region, &File)>, MemoryError> {
    memory
        .iter()
        .map(|region| {
            let address = region.start_addr().0;
            let file = region
                .file_offset()
                .ok_or(MemoryError::NoFile { address })?;
            let range = Region {
                address,
                size: region.len(),
                offset: file.start(),
            };
            range.check()?;
            Ok((range, file.file()))
        })
        .collect()
}

/// Whether nobody can cut this file short. Only memory can be sealed like that.
pub(crate) fn is_sealed(file: &File) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use vm_memory::Bytes;

    #[test]
    fn regions_share_one_sealed_file() {
        let memory = allocate(&[(0, 0x3000), (0x10_0000, 0x1000)]).unwrap();
        memory
            .write_obj(0x1234_5678_u32, GuestAddress(0x10_0010))
            .unwrap();
        let regions = shared_regions(&memory).unwrap();
        assert_eq!(
            regions[0].0,
            Region {
                address: 0,
                size: 0x3000,
                offset: 0
            }
        );
        assert_eq!(
            regions[1].0,
            Region {
                address: 0x10_0000,
                size: 0x1000,
                offset: 0x3000
            }
        );
        let mut bytes = [0; 4];
        regions[1].1.read_exact_at(&mut bytes, 0x3010).unwrap();
        assert_eq!(u32::from_le_bytes(bytes), 0x1234_5678);
        assert!(regions[0].1.set_len(0x1000).is_err());
        assert!(regions[0].1.set_len(0x10000).is_err());
    }

    #[test]
    fn odd_regions_are_refused() {
        for regions in [
            &[(0, 0)][..],
            &[(0x800, 0x1000)],
            &[(0, 0x1800)],
            &[(u64::MAX - 0xfff, 0x2000)],
        ] {
            assert!(
                matches!(allocate(regions), Err(MemoryError::Unaligned { .. })),
                "{regions:x?}"
            );
        }
        assert!(matches!(
            allocate(&[(0, 0x2000), (0x1000, 0x1000)]),
            Err(MemoryError::Map(_))
        ));
    }

    #[test]
    fn anonymous_memory_is_refused() {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        assert!(matches!(
            shared_regions(&memory),
            Err(MemoryError::NoFile { address: 0 })
        ));
    }
}
