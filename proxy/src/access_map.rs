//! Step 2, decode: what the proxy does with an access itself, as the emulator declares it for its
//! device.
//!
//! The emulator says it once, at attach; it is checked here, and what does not hold is refused.
//! Nothing in it can make the proxy reach beyond the device's regions: it says which reads may be
//! answered from the register mirror, which holds nothing but values, and which ranges are memory,
//! in memfds that are sealed to the range's size.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_ring::{Access, Effect, MAX_MIRRORED, MAX_READ_TO_CLEAR, Summary, Width};
use outrigger_vfio_user::{AccessEntry, Treatment};

use crate::bar_memory::BarMemory;
use crate::bars::{BarSet, ROM, Space};
use crate::description::{REGIONS, Region};

/// More entries than this are not believed.
pub(crate) const MAX_ENTRIES: usize = 64;
/// More memories than this are not believed: each holds a descriptor here, and a memory slot of the
/// VMM's.
pub(crate) const MAX_MEMORIES: usize = 16;

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
    /// A mirrored register is not one byte, has a number that is too high, or bits that are two
    /// things at once.
    #[error("the mirrored register at {offset:#x} of region {region} makes no sense")]
    Register {
        /// The region.
        region: u8,
        /// The offset.
        offset: u64,
    },
    /// A register that a read clears is not one or two aligned bytes, has a number that is too high
    /// or that stands for another group too, or is summed up by bits that no mirrored register has
    /// or that the guest writes.
    #[error("the register at {offset:#x} of region {region} that a read clears makes no sense")]
    Clear {
        /// The region.
        region: u8,
        /// The offset.
        offset: u64,
    },
    /// A range of memory is none that a VMM could map.
    #[error("the memory at {offset:#x} of region {region}: {reason}")]
    Memory {
        /// The region.
        region: u8,
        /// The offset.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// There are more descriptors than ranges of memory.
    #[error("it comes with {0} descriptors that no entry names")]
    Descriptors(usize),
}

/// A mirrored register.
#[derive(Clone, Copy, Debug)]
struct Mirrored {
    region: u8,
    offset: u64,
    effect: Effect,
    opaque: u8,
}

/// A place where a read-to-clear group is reached.
#[derive(Clone, Copy, Debug)]
struct Cleared {
    region: u8,
    offset: u64,
    /// 1 or 2.
    size: u8,
    summary: Summary,
}

/// What a read takes of a read-to-clear group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The group's number.
    pub(crate) group: u32,
    /// The bits that the read covers: not 0.
    pub(crate) mask: u16,
}

/// A device's access map. Entries of kinds that the proxy does not know are left out: such accesses
/// take the plain way.
#[derive(Debug, Default)]
pub struct AccessMap {
    mirrored: Vec<Mirrored>,
    cleared: Vec<Cleared>,
    /// Of the groups that `cleared` names, one each.
    summaries: Vec<Summary>,
    /// Region, start and end.
    memories: Vec<(u8, u64, u64)>,
    /// The guest may reach the memories without an exit.
    mapped: AtomicBool,
}

impl AccessMap {
    /// The map of these entries, for a device with these regions and BARs, and the memories that it
    /// names.
    ///
    /// # Errors
    /// Any [`MapError`]: the emulator cannot be believed.
    pub fn new(
        entries: impl IntoIterator<Item = AccessEntry>,
        descriptors: Vec<OwnedFd>,
        regions: &[Region; REGIONS],
        bars: &BarSet,
    ) -> Result<(Self, Vec<BarMemory>), MapError> {
        let mut ranges: Vec<(u8, u64, u64)> = Vec::new();
        let mut descriptors: Vec<_> = descriptors.into_iter().map(Some).collect();
        let mut memories = Vec::new();
        let mut map = Self::default();
        for entry in entries {
            if ranges.len() == MAX_ENTRIES {
                return Err(MapError::Entries);
            }
            let AccessEntry { offset, size, .. } = entry;
            let (region, end) = within(entry, regions).ok_or(MapError::Range {
                region: entry.region,
                offset,
                size,
            })?;
            if ranges
                .iter()
                .any(|&(other, from, to)| other == region && from < end && offset < to)
            {
                return Err(MapError::Overlap { region, offset });
            }
            ranges.push((region, offset, end));
            match entry.treatment {
                Treatment::Mirrored {
                    register,
                    through,
                    clears,
                    opaque,
                } => {
                    let sound = size == 1
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
                Treatment::Memory { descriptor } => {
                    let refused = |reason| MapError::Memory {
                        region,
                        offset,
                        reason,
                    };
                    let bar = bars.iter().nth(region.into()).flatten();
                    if bar.is_none_or(|bar| bar.space() != Space::Memory) {
                        return Err(refused("its region is no memory BAR"));
                    }
                    let file = usize::try_from(descriptor)
                        .ok()
                        .and_then(|index| descriptors.get_mut(index)?.take())
                        .ok_or_else(|| refused("its descriptor is missing or another's"))?;
                    memories.push(BarMemory::new(region, offset, size, file)?);
                    map.memories.push((region, offset, end));
                }
                Treatment::ReadToClear {
                    group,
                    register,
                    summary,
                } => {
                    let size = u8::try_from(size).unwrap_or(0);
                    map.cleared.push(Cleared {
                        region,
                        offset,
                        size,
                        summary: Summary {
                            group,
                            register: register.into(),
                            bits: summary,
                        },
                    });
                }
                // A kind that is not known: the plain way is always right.
                _ => {}
            }
        }
        map.sum_up()?;
        match descriptors.iter().flatten().count() {
            0 => Ok((map, memories)),
            foreign => Err(MapError::Descriptors(foreign)),
        }
    }

    /// Checks the read-to-clear groups, which mirrored registers anywhere in the map sum up.
    fn sum_up(&mut self) -> Result<(), MapError> {
        for cleared in &self.cleared {
            let Cleared {
                region,
                offset,
                size,
                summary,
            } = *cleared;
            let refused = Err(MapError::Clear { region, offset });
            let sized = matches!(size, 1 | 2) && offset.is_multiple_of(size.into());
            // A read takes the whole group wherever it is reached.
            let same = |other: &&Cleared| other.summary.group == summary.group;
            let alike = self
                .cleared
                .iter()
                .filter(same)
                .all(|other| (other.size, other.summary) == (size, summary));
            if !sized || summary.group >= MAX_READ_TO_CLEAR || !alike {
                return refused;
            }
            let mut places = self
                .mirrored
                .iter()
                .filter(|it| it.effect.register == summary.register)
                .peekable();
            let none = places.peek().is_none();
            if none || places.any(|it| (it.effect.through | it.effect.clears) & summary.bits != 0) {
                return refused;
            }
            if !self.summaries.contains(&summary) {
                self.summaries.push(summary);
            }
        }
        Ok(())
    }

    /// The guest may reach the memories without an exit from now on, or not.
    pub(crate) fn set_mapped(&self, mapped: bool) {
        self.mapped.store(mapped, Ordering::Release);
    }

    /// Whether a write must not be on its way when it returns: it goes to memory that the guest may
    /// read without an exit.
    pub(crate) fn waits(&self, access: Access) -> bool {
        let inside = |&(region, start, end): &(u8, u64, u64)| {
            region == access.region && (start..end).contains(&access.offset)
        };
        self.memories.iter().any(inside) && self.mapped.load(Ordering::Acquire)
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

    /// What an access reads of a read-to-clear group, and nothing else.
    pub(crate) fn clears(&self, access: Access) -> Option<Part> {
        let width = access.width.bytes();
        self.cleared.iter().find_map(|entry| {
            let from = access.offset.checked_sub(entry.offset)?;
            let within = entry.region == access.region
                && from.checked_add(width.into())? <= entry.size.into();
            // Within a group, so no more than two bytes.
            let mask = match (width, from) {
                (1, 0) => 0x00ff,
                (1, 1) => 0xff00,
                (2, 0) => 0xffff,
                _ => return None,
            };
            within.then_some(Part {
                group: entry.summary.group,
                mask,
            })
        })
    }

    /// The bits of mirrored registers that say what is in the read-to-clear groups.
    pub(crate) fn summaries(&self) -> &[Summary] {
        &self.summaries
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
