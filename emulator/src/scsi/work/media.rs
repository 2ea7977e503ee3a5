//! Step 8, SCSI: READ and WRITE: between the medium and the initiator.
//!
//! Pieces of guest RAM are gathered until all have come, or a portion; then they go to the backend, in
//! order. Bytes for the initiator itself ([`Media::transfer_bytes`]) are read ahead of time into a
//! small buffer, from which the next transfers are served first.

use super::Step;
use super::gathered::Gathered;
use crate::block::{Data, Op};
use crate::dma::{Direction, Fault, Gate, Segment};
use crate::scsi::Want;

/// How much is read ahead when the initiator wants bytes for itself.
const READ_AHEAD: u32 = 512;

/// One READ or WRITE.
#[derive(Debug)]
pub(crate) struct Media {
    op: Op,
    /// Where on the medium the next block request starts.
    offset: u64,
    /// Bytes that the initiator has not moved yet.
    left: u32,
    gathered: Gathered,
    /// What has been gathered goes to the backend now.
    passing_on: bool,
    /// Bytes of the medium that follow all that was gathered, for the initiator.
    ahead: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
    /// The initiator wants bytes ahead.
    reading_ahead: bool,
}

impl Media {
    /// `length` bytes from byte `offset` on: `op` is a read or a write.
    pub(crate) fn new(op: Op, offset: u64, length: u32) -> Self {
        Self {
            op,
            offset,
            left: length,
            gathered: Gathered::default(),
            passing_on: false,
            ahead: Vec::new(),
            taken: 0,
            reading_ahead: false,
        }
    }

    fn direction(&self) -> Direction {
        if self.op == Op::Read {
            Direction::ToGuest
        } else {
            Direction::FromGuest
        }
    }

    fn ahead(&self) -> &[u8] {
        self.ahead.get(self.taken..).unwrap_or_default()
    }

    pub(crate) fn want(&self) -> Want {
        if self.passing_on || self.reading_ahead || self.left == 0 {
            Want::Wait
        } else if self.op == Op::Read {
            Want::DataIn(self.left)
        } else {
            Want::DataOut(self.left)
        }
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        if !self.passing_on && !self.reading_ahead {
            return None;
        }
        let data = match self.gathered.pop() {
            Some(data) => data,
            None if self.reading_ahead => Data::Owned(vec![0; self.left.min(READ_AHEAD) as usize]),
            None => return None,
        };
        let (offset, length) = (self.offset, data.len());
        self.offset += length;
        Some(Step {
            op: self.op,
            offset,
            length,
            data,
        })
    }

    pub(crate) fn done(&mut self, data: Data, spare: &mut Vec<Segment>) {
        match data {
            Data::Owned(bytes) if self.op == Op::Read => {
                self.ahead = bytes;
                self.taken = 0;
                self.reading_ahead = false;
            }
            Data::Guest(mut segments) => {
                segments.clear();
                *spare = segments;
            }
            Data::Owned(_) | Data::None => {}
        }
        self.passing_on &= !self.gathered.is_empty();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left == 0 && self.gathered.is_empty()
    }

    pub(crate) fn transfer(
        &mut self,
        dma: &Gate,
        address: u64,
        count: u32,
        spare: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        let count = count.min(self.left);
        let ahead = self.ahead();
        let ahead = ahead.get(..count as usize).unwrap_or(ahead);
        let moved = ahead.len();
        let rest = count - u32::try_from(moved).unwrap_or(count);
        if moved > 0 {
            // Nothing may move if any of it faults.
            spare.clear();
            dma.segments(address, count, Direction::ToGuest, spare)?;
            spare.clear();
            dma.write(address, ahead)?;
            self.taken += moved;
        }
        if rest > 0 {
            let address = address.wrapping_add(moved as u64);
            let direction = self.direction();
            self.gathered
                .push_guest(dma, address, rest, direction, spare)?;
        }
        self.advance(count);
        Ok(())
    }

    pub(crate) fn transfer_bytes(&mut self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.left as usize);
        let moved = if self.op == Op::Read {
            let ahead = self.ahead();
            let moved = count.min(ahead.len());
            for (to, from) in bytes.iter_mut().zip(ahead) {
                *to = *from;
            }
            self.taken += moved;
            self.reading_ahead = moved < count;
            moved
        } else {
            self.gathered
                .push_bytes(bytes.get(..count).unwrap_or_default());
            count
        };
        self.advance(u32::try_from(moved).unwrap_or(self.left));
        moved
    }

    fn advance(&mut self, count: u32) {
        self.left -= count.min(self.left);
        let enough = self.left == 0 || self.gathered.is_portion();
        self.passing_on |= enough && !self.gathered.is_empty();
    }

    pub(crate) fn flush_gathered(&mut self) -> bool {
        self.passing_on |= !self.gathered.is_empty();
        self.passing_on
    }

    #[cfg(test)]
    pub(crate) fn holds_guest_memory(&self) -> bool {
        !self.gathered.is_empty()
    }
}
