//! Step 8, SCSI: READ and WRITE: between the medium and the initiator.
//!
//! Pieces of guest RAM are gathered until all have come, or a portion; then they go to the backend, in
//! order. Bytes for the initiator itself ([`Media::transfer_bytes`]) are read ahead of time into a
//! small buffer, from which the next transfers are served first.

use super::Step;
use super::gathered::Gathered;
use crate::scsi::Want;
use outrigger_block::{Data, Op};
use outrigger_device::dma::{Direction, Fault, Gate, Segment};

/// How much is read ahead when the initiator wants bytes for itself.
const READ_AHEAD: u32 = 512;

/// One READ or WRITE.
#[derive(Debug)]
pub(crate) struct Media {
    op: Op,
    /// Where on the medium the next block request starts.
    offset: u64,
    gathered: Gathered,
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
            gathered: Gathered::new(length),
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
        let left = self.gathered.left();
        if self.gathered.is_passing_on() || self.reading_ahead || left == 0 {
            Want::Wait
        } else if self.op == Op::Read {
            Want::DataIn(left)
        } else {
            Want::DataOut(left)
        }
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        if !self.gathered.is_passing_on() && !self.reading_ahead {
            return None;
        }
        let data = match self.gathered.pop() {
            Some(data) => data,
            None if self.reading_ahead => {
                Data::Owned(vec![0; self.gathered.left().min(READ_AHEAD) as usize])
            }
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
        self.gathered.used();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.gathered.left() == 0 && self.gathered.is_empty()
    }

    pub(crate) fn transfer(
        &mut self,
        dma: &Gate,
        address: u64,
        count: u32,
        spare: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        let count = count.min(self.gathered.left());
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
        self.gathered.moved(count);
        Ok(())
    }

    pub(crate) fn transfer_bytes(&mut self, bytes: &mut [u8]) -> usize {
        if self.op != Op::Read {
            return self.gathered.take_bytes(bytes);
        }
        let count = bytes.len().min(self.gathered.left() as usize);
        let ahead = self.ahead();
        let moved = count.min(ahead.len());
        for (to, from) in bytes.iter_mut().zip(ahead).take(moved) {
            *to = *from;
        }
        self.taken += moved;
        self.reading_ahead = moved < count;
        self.gathered
            .moved(u32::try_from(moved).unwrap_or(u32::MAX));
        moved
    }

    pub(crate) fn flush_gathered(&mut self) -> bool {
        self.gathered.flush()
    }

    #[cfg(test)]
    pub(crate) fn holds_guest_memory(&self) -> bool {
        !self.gathered.is_empty()
    }
}
