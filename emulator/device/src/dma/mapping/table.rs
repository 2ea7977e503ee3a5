//! Step 10, DMA: which of this process's addresses are guest RAM, for a signal handler to ask.
//!
//! The handler runs in the middle of anything, so it takes no lock and allocates nothing: it loads
//! atomics. A slot is written by the one thread that maps or unmaps, under a version that is odd
//! meanwhile.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use super::super::MapError;

/// Slots that are made at a time.
const CHUNK: usize = 64;
/// Chunks at most: with all of them 65,536 mappings, of all devices of the process.
const CHUNKS: usize = 1024;

/// Made as they are needed, never freed: the handler may look at any time. Slots are used again.
static TABLE: [OnceLock<Box<[Slot; CHUNK]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];

/// How many times some guest RAM was found to be gone.
static LOSSES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
struct Slot {
    taken: AtomicBool,
    /// Odd while the three below change.
    version: AtomicUsize,
    start: AtomicUsize,
    /// 0: no mapping.
    length: AtomicUsize,
    granule: AtomicUsize,
    lost: AtomicBool,
}

/// A mapping's address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) length: usize,
    /// What parts of it start and end on.
    pub(super) granule: usize,
}

/// A mapping's place in the table; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Registered(&'static Slot);

impl Registered {
    /// Puts a mapping into the table.
    ///
    /// # Errors
    /// The table is full.
    pub(super) fn new(range: Range) -> Result<Self, MapError> {
        let slot = free_slot().ok_or(MapError::TooMany(CHUNK * CHUNKS))?;
        slot.lost.store(false, Ordering::Relaxed);
        slot.set(range);
        Ok(Self(slot))
    }

    /// Whether its memory was found to be gone.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    /// Its memory is gone.
    pub(super) fn set_lost(&self) {
        self.0.set_lost();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.set(Range {
            start: 0,
            length: 0,
            granule: 0,
        });
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Slot {
    /// Only for who has taken it.
    fn set(&self, range: Range) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        // SYNC: pairs with the second fence in `get`: whoever sees one of the stores below sees the
        // odd version.
        fence(Ordering::Release);
        self.start.store(range.start, Ordering::Relaxed);
        self.length.store(range.length, Ordering::Relaxed);
        self.granule.store(range.granule, Ordering::Relaxed);
        // SYNC: pairs with the first load in `get`.
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// `None` while it changes, and without a mapping.
    fn get(&self) -> Option<Range> {
        let version = self.version.load(Ordering::Acquire);
        let range = Range {
            start: self.start.load(Ordering::Relaxed),
            length: self.length.load(Ordering::Relaxed),
            granule: self.granule.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (whole && range.length > 0).then_some(range)
    }

    fn set_lost(&self) {
        self.lost.store(true, Ordering::Release);
        // SYNC: pairs with the load in `losses`: whoever sees the number sees the flag.
        LOSSES.fetch_add(1, Ordering::Release);
    }
}

fn free_slot() -> Option<&'static Slot> {
    TABLE.iter().find_map(|chunk| {
        let slots = chunk.get_or_init(|| Box::new(std::array::from_fn(|_| Slot::default())));
        slots.iter().find(|slot| {
            !slot.taken.load(Ordering::Relaxed)
                && slot
                    .taken
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        })
    })
}

/// The mapping that this address lies in, and how to say that its memory is gone. Safe to call in a
/// signal handler: a mapping that its caller keeps alive is found, whatever other threads map and
/// unmap meanwhile.
pub(super) fn find(address: usize) -> Option<(Range, impl FnOnce())> {
    let chunks = TABLE.iter().map_while(OnceLock::get);
    let mut slots = chunks.flat_map(|chunk| chunk.iter());
    slots.find_map(|slot| {
        let range = slot.get()?;
        let within = address
            .checked_sub(range.start)
            .is_some_and(|at| at < range.length);
        within.then_some((range, || slot.set_lost()))
    })
}

/// A number that changes when some guest RAM of this process is found to be gone.
pub(crate) fn losses() -> u64 {
    LOSSES.load(Ordering::Acquire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_as_long_as_they_are_mapped() {
        // Where nothing of this process is mapped: other tests use the same table.
        let range = |index: usize| Range {
            start: 0x1000 + index * 0x3000,
            length: 0x2000,
            granule: 0x1000,
        };
        let found = |address: usize| find(address).map(|(range, _)| range);
        for _ in 0..2 {
            let slots: Vec<_> = (0..1000)
                .map(|index| Registered::new(range(index)).unwrap())
                .collect();
            for index in 0..1000 {
                let range = range(index);
                assert_eq!(found(range.start), Some(range));
                assert_eq!(found(range.start + 0x1fff), Some(range));
                assert_eq!(found(range.start + 0x2000), None);
                assert_eq!(found(range.start - 1), None);
            }
            let (_, set_lost) = find(range(7).start).unwrap();
            set_lost();
            let lost: Vec<_> = (0..)
                .zip(&slots)
                .filter(|(_, slot)| slot.is_lost())
                .collect();
            assert!(matches!(lost[..], [(7, _)]));
            drop(slots);
            assert_eq!(found(0x1000), None);
        }
        let again: Vec<_> = (0..1000)
            .map(|index| Registered::new(range(index)).unwrap())
            .collect();
        assert!(again.iter().all(|slot| !slot.is_lost()), "used again");
    }
}
