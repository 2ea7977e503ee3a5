//! Step 2, decode: from a guest address to a region and an offset.
//!
//! All vCPUs look addresses up in one [`Windows`], on every exit, so a lookup takes no lock: each
//! window is one atomic word that holds the base and whether it decodes (a base is aligned to at
//! least four bytes, so bit 0 is free). Config writes, which are rare, store the words; between
//! them the cache line is shared and read-only.
//!
//! Windows change one by one. A guest that moves two BARs with one COMMAND write can see, from
//! another vCPU and without synchronising, one of them moved and the other not yet, as on a real
//! bus.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bars::{BarSet, SLOTS, Space};

/// Bit 0 of a window's word.
const DECODES: u64 = 1;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The region: 0 to 5 the BARs, 6 the ROM.
    pub region: u8,
    /// Bytes from the region's start.
    pub offset: u64,
    /// Bytes from the address to the region's end; at least 1.
    pub room: u64,
}

#[derive(Debug, Default)]
struct Window {
    space: Space,
    size: u64,
    /// Base and [`DECODES`].
    word: AtomicU64,
}

/// The address ranges that a device decodes at the moment.
#[derive(Debug, Default)]
pub struct Windows {
    slots: [Window; SLOTS],
}

impl Windows {
    /// Windows for these BARs, all closed.
    #[must_use]
    pub fn new(bars: &BarSet) -> Self {
        let mut windows = Self::default();
        for (slot, bar) in windows.slots.iter_mut().zip(bars.iter()) {
            if let Some(bar) = bar {
                slot.space = bar.space();
                slot.size = bar.size();
            }
        }
        windows
    }

    /// What decodes `address`. Where two windows overlap, which is a guest's mistake, the lower
    /// region answers.
    #[must_use]
    pub fn find(&self, space: Space, address: u64) -> Option<Hit> {
        for (region, window) in (0u8..).zip(&self.slots) {
            // SYNC: pairs with the Release store in `set`.
            let word = window.word.load(Ordering::Acquire);
            if word & DECODES == 0 || window.space != space {
                continue;
            }
            let offset = address.wrapping_sub(word & !DECODES);
            if offset < window.size {
                return Some(Hit {
                    region,
                    offset,
                    room: window.size - offset,
                });
            }
        }
        None
    }

    /// A region's space and size, wherever it decodes; `None` if there is no such region.
    #[must_use]
    pub fn region(&self, region: u8) -> Option<(Space, u64)> {
        let window = self.slots.get(usize::from(region))?;
        (window.size != 0).then_some((window.space, window.size))
    }

    /// Opens the window of `slot` at `base`, moves it there, or closes it.
    pub(crate) fn set(&self, slot: usize, base: Option<u64>) {
        if let Some(window) = self.slots.get(slot) {
            let word = base.map_or(0, |base| base | DECODES);
            // SYNC: pairs with the Acquire load in `find`. A vCPU that learns from the guest's own memory that the
            // BAR has moved looks it up at the new place.
            window.word.store(word, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
