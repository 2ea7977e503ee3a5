//! Step 10, DMA: a piece of guest RAM that outlives the region's place in the gate.

use std::ptr;
use std::sync::Arc;

use vm_memory::volatile_memory::VolatileSlice;

use super::Direction;
use super::mapping::GuestMemory;

/// A contiguous piece of guest RAM. It keeps its region mapped as long as it lives.
#[derive(Clone, Debug)]
pub struct Segment {
    memory: Arc<GuestMemory>,
    at: usize,
    length: usize,
    direction: Direction,
}

impl Segment {
    /// Bytes `at..at + length` of `memory`, which the caller has checked to exist and to allow `direction`.
    pub(super) fn new(
        memory: Arc<GuestMemory>,
        at: usize,
        length: usize,
        direction: Direction,
    ) -> Self {
        Self {
            memory,
            at,
            length,
            direction,
        }
    }

    /// Takes in the piece that follows directly. Whether it does.
    pub(super) fn extend(
        &mut self,
        memory: &Arc<GuestMemory>,
        at: usize,
        length: usize,
        direction: Direction,
    ) -> bool {
        let follows = Arc::ptr_eq(&self.memory, memory)
            && self.at + self.length == at
            && self.direction == direction;
        if follows {
            self.length += length;
        }
        follows
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Which way the device may move bytes through it.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Copies from `bytes` into guest RAM, from byte `at` of this segment on. At most what fits; returns how many:
    /// none if the segment was made for [`Direction::FromGuest`].
    pub fn write(&self, at: usize, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.length.saturating_sub(at));
        match bytes.get(..count) {
            Some(bytes) if self.direction == Direction::ToGuest && count > 0 => {
                self.memory.write(self.at + at, bytes)
            }
            _ => 0,
        }
    }

    /// Copies out of guest RAM, from byte `at` on. At most what is there; returns how many.
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.length.saturating_sub(at));
        match bytes.get_mut(..count) {
            Some(bytes) if count > 0 => self.memory.read(self.at + at, bytes),
            _ => 0,
        }
    }

    /// Notes that the kernel could not reach it (EFAULT): the front ends the session.
    pub fn set_lost(&self) {
        self.memory.set_lost();
    }

    /// The segment as the field's own type for memory that others change at any time. `None` if there are no bytes.
    pub fn volatile(&self) -> Option<VolatileSlice<'_>> {
        self.memory.slice(self.at, self.length)
    }

    /// Where this segment's first byte is mapped; valid for `len()` bytes as long as a clone of the segment lives. For
    /// the kernel's use: guest and client change the bytes at any time. Null if there are none.
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory
            .slice(self.at, self.length)
            .map_or(ptr::null_mut(), |slice| slice.ptr_guard_mut().as_ptr())
    }
}
