//! Guest RAM as `vm-memory` has it.

use std::fs::File;
use std::sync::Arc;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::{MemoryError, Region, memfd};

/// Guest RAM with these regions (guest-physical address and bytes, ascending), all in one memfd
/// whose size is sealed.
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
    let file = Arc::new(File::from(memfd(total)?));
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

/// The regions of a VMM's guest memory with their files. Every region is checked before the first
/// is used.
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
