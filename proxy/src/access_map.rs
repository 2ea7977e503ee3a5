//! Step 2, decode: what the proxy does with an access itself, as the emulator declares it for its device.
//!
//! The emulator says it once, at attach; it is checked here, and what does not hold is refused. Nothing in it can make the
//! proxy reach beyond the device's regions: it only says which reads may be answered from the register mirror, which holds
//! nothing but values.

use outrigger_ring::{Access, Effect, MAX_MIRRORED, Width};
use outrigger_vfio_user::{AccessEntry, Treatment};

use crate::bars::ROM;
use crate::description::{REGIONS, Region};

/// More entries than this are not believed.
const MAX_ENTRIES: usize = 64;

/// Why an access map is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Too many entries.
    #[error("it has more than {MAX_ENTRIES} entries")]
    Entries,
    /// An entry is not within a BAR.
    #[error("{size:#x} bytes at {offset:#x} are not within region {region}")]
    Range {
        /// The region.
        region: u32,
        /// The offset.
        offset: u64,
        /// How many bytes.
        size: u64,
    },
    /// Two entries overlap.
    #[error("two entries overlap at {offset:#x} of region {region}")]
    Overlap {
        /// The region.
        region: u8,
        /// The offset.
        offset: u64,
    },
    /// A mirrored register is not one byte, has a number that is too high, or bits that are two things at once.
    #[error("the mirrored register at {offset:#x} of region {region} makes no sense")]
    Register {
        /// The region.
        region: u8,
        /// The offset.
        offset: u64,
    },
}

/// A mirrored register.
#[derive(Clone, Copy, Debug)]
struct Mirrored {
    region: u8,
    offset: u64,
    effect: Effect,
    opaque: u8,
}

/// A device's access map. Entries of kinds that the proxy does not know are left out: such accesses take the plain way.
#[derive(Debug, Default)]
pub struct AccessMap {
    mirrored: Vec<Mirrored>,
}

impl AccessMap {
    /// The map of these entries, for a device with these regions.
    ///
    /// # Errors
    /// Any [`MapError`]: the emulator cannot be believed.
    pub fn new(
        entries: impl Iterator<Item = AccessEntry>,
        regions: &[Region; REGIONS],
    ) -> Result<Self, MapError> {
        let mut ranges: Vec<(u8, u64, u64)> = Vec::new();
        let mut map = Self::default();
        for entry in entries {
            if ranges.len() == MAX_ENTRIES {
                return Err(MapError::Entries);
            }
            let (region, end) = within(entry, regions).ok_or(MapError::Range {
                region: entry.region,
                offset: entry.offset,
                size: entry.size,
            })?;
            let offset = entry.offset;
            if ranges
                .iter()
                .any(|&(other, from, to)| other == region && from < end && offset < to)
            {
                return Err(MapError::Overlap { region, offset });
            }
            ranges.push((region, offset, end));
            if let Treatment::Mirrored {
                register,
                through,
                clears,
                opaque,
            } = entry.treatment
            {
                let sound = entry.size == 1
                    && register < MAX_MIRRORED
                    && clears.count_ones() <= 1
                    && clears & (through | opaque) == 0;
                if !sound {
                    return Err(MapError::Register { region, offset });
                }
                let effect = Effect {
                    register,
                    through,
                    clears,
                };
                map.mirrored.push(Mirrored {
                    region,
                    offset,
                    effect,
                    opaque,
                });
            }
        }
        Ok(map)
    }

    fn find(&self, access: Access) -> Option<&Mirrored> {
        if access.width != Width::Byte {
            return None;
        }
        self.mirrored
            .iter()
            .find(|entry| (entry.region, entry.offset) == (access.region, access.offset))
    }

    /// The mirrored register that an access reads, and nothing else.
    pub(crate) fn mirrored(&self, access: Access) -> Option<u32> {
        self.find(access).map(|entry| entry.effect.register)
    }

    /// What a write does, if it is a plain one to a mirrored register: the byte and its effect.
    pub(crate) fn effect(&self, access: Access, value: u64) -> Option<(u8, Effect)> {
        let entry = self.find(access)?;
        let [value, ..] = value.to_le_bytes();
        (value & entry.opaque == 0).then_some((value, entry.effect))
    }
}

/// The BAR and the end of an entry's range, if it lies in one.
fn within(entry: AccessEntry, regions: &[Region; REGIONS]) -> Option<(u8, u64)> {
    let region = u8::try_from(entry.region)
        .ok()
        .filter(|&region| usize::from(region) < ROM)?;
    let end = entry.offset.checked_add(entry.size)?;
    let size = regions.get(usize::from(region))?.size;
    (entry.size != 0 && end <= size).then_some((region, end))
}

#[cfg(test)]
mod tests;
