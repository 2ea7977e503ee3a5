//! Step 5, intake: regions and their accesses, cut to the widths that devices have.

use outrigger_ring::{Access, Width};
use outrigger_vfio_user::{RegionData, RegionFlags, RegionInfo, RegionRange, Reply};
use rustix::io::Errno;

use super::MAX_DATA;
use crate::pci::{CONFIG_REGION, Function};

/// Region indices are below this: six BARs, ROM, config space, VGA.
pub(super) const REGIONS: u32 = 9;

/// Config space: Interrupt Pin (PCI 3.0, section 6.2.4).
const INTERRUPT_PIN: u64 = 0x3d;

/// What a region is.
pub(super) fn info(index: u32, function: &Function) -> Result<RegionInfo<'static>, Errno> {
    let size = function.region(number(index)?).size;
    let flags = if size == 0 {
        RegionFlags::empty()
    } else {
        RegionFlags::READ | RegionFlags::WRITE
    };
    Ok(RegionInfo {
        flags,
        index,
        cap_offset: 0,
        size,
        offset: 0,
        capabilities: &[],
    })
}

/// Whether the function has INTx.
pub(super) fn has_interrupt_pin(function: &mut Function) -> bool {
    let access = Access {
        region: CONFIG_REGION,
        offset: INTERRUPT_PIN,
        width: Width::Byte,
    };
    function.read(access) != 0
}

/// Bytes that were read.
#[derive(Debug)]
pub(super) struct Data(Vec<u8>);

impl Data {
    pub(super) fn reply(&self, range: &RegionRange) -> Reply<'_> {
        Reply::RegionRead(RegionData {
            region: range.region,
            offset: range.offset,
            data: &self.0,
        })
    }
}

/// Reads `range`.
pub(super) fn read(range: &RegionRange, function: &mut Function) -> Result<Data, Errno> {
    let region = check(range.region, range.offset, range.count, function)?;
    let mut data = Vec::with_capacity(usize::try_from(range.count).unwrap_or_default());
    for (offset, width) in Pieces::new(range.offset, range.count) {
        let access = Access {
            region,
            offset,
            width,
        };
        let value = function.read(access).to_le_bytes();
        data.extend(value.iter().take(width.bytes().into()));
    }
    Ok(Data(data))
}

/// Writes `data`; how many bytes there were.
pub(super) fn write(data: &RegionData<'_>, function: &mut Function) -> Result<u32, Errno> {
    let count = u32::try_from(data.data.len()).map_err(|_| Errno::INVAL)?;
    let region = check(data.region, data.offset, count, function)?;
    let mut rest = data.data.iter();
    for (offset, width) in Pieces::new(data.offset, count) {
        let mut value = [0; 8];
        for (byte, from) in value
            .iter_mut()
            .zip(rest.by_ref().take(width.bytes().into()))
        {
            *byte = *from;
        }
        let access = Access {
            region,
            offset,
            width,
        };
        function.write(access, u64::from_le_bytes(value));
    }
    Ok(count)
}

fn number(index: u32) -> Result<u8, Errno> {
    match u8::try_from(index) {
        Ok(number) if index < REGIONS => Ok(number),
        _ => Err(Errno::INVAL),
    }
}

/// The region's number, if the range lies within it and is not longer than was agreed.
fn check(index: u32, offset: u64, count: u32, function: &Function) -> Result<u8, Errno> {
    let region = number(index)?;
    let end = offset.checked_add(count.into()).ok_or(Errno::INVAL)?;
    if count > MAX_DATA || end > function.region(region).size {
        return Err(Errno::INVAL);
    }
    Ok(region)
}

/// A range as accesses: 1, 2, 4 or 8 bytes are one, as the guest made it; any other length is cut into
/// naturally aligned pieces of at most 4.
#[derive(Debug)]
struct Pieces {
    offset: u64,
    left: u32,
    whole: Option<Width>,
}

impl Pieces {
    fn new(offset: u64, count: u32) -> Self {
        Self {
            offset,
            left: count,
            whole: Width::from_bytes(count.into()),
        }
    }
}

impl Iterator for Pieces {
    type Item = (u64, Width);

    fn next(&mut self) -> Option<Self::Item> {
        let fits = |width: &Width| {
            u32::from(width.bytes()) <= self.left
                && self.offset.is_multiple_of(width.bytes().into())
        };
        let width = match self.whole.take() {
            Some(whole) => whole,
            None => [Width::Dword, Width::Word, Width::Byte]
                .into_iter()
                .find(fits)?,
        };
        let offset = self.offset;
        // The caller has checked the range's end, so this does not wrap.
        self.offset = offset.wrapping_add(width.bytes().into());
        self.left = self.left.saturating_sub(width.bytes().into());
        Some((offset, width))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_guests_access_stays_whole() {
        for width in [Width::Byte, Width::Word, Width::Dword, Width::Qword] {
            let pieces: Vec<_> = Pieces::new(3, width.bytes().into()).collect();
            assert_eq!(pieces, [(3, width)]);
        }
        assert_eq!(Pieces::new(3, 0).count(), 0);
    }

    #[test]
    fn other_lengths_are_cut_at_natural_boundaries() {
        let pieces: Vec<_> = Pieces::new(1, 7).collect();
        assert_eq!(
            pieces,
            [(1, Width::Byte), (2, Width::Word), (4, Width::Dword)]
        );
        assert_eq!(Pieces::new(0, 256).count(), 64);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_without_gaps(offset in 0_u64..1000, count in 0_u32..300) {
            let mut next = offset;
            for (at, width) in Pieces::new(offset, count) {
                prop_assert_eq!(at, next);
                next += u64::from(width.bytes());
            }
            prop_assert_eq!(next, offset + u64::from(count));
        }
    }
}
