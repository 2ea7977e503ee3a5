//! Step 8, SCSI: the pieces of a data phase that the initiator has named, in order, not yet used.

use std::collections::VecDeque;

use outrigger_block::Data;
use outrigger_device::dma::{Direction, Fault, Gate, Segment};

/// Segments in one piece, and so in one block request.
const MAX_SEGMENTS: usize = 512;
/// Pieces that make a portion, although it is not complete.
const MAX_PIECES: usize = 64;
/// Bytes that make a portion, although it is not complete.
const MAX_BYTES: u64 = 16 << 20;
/// The initiator's own bytes in one piece.
const MAX_OWNED: usize = 4096;

/// Pieces in order. Bounded, if the caller lets the initiator wait as long as they are passed on.
#[derive(Debug)]
pub(crate) struct Gathered {
    pieces: VecDeque<Data>,
    bytes: u64,
    /// Bytes that the initiator has not moved yet.
    left: u32,
    /// What has been gathered is used now.
    passing_on: bool,
}

impl Gathered {
    /// Of a data phase of `length` bytes.
    pub(crate) fn new(length: u32) -> Self {
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            left: length,
            passing_on: false,
        }
    }

    /// Bytes that the initiator has not moved yet.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    pub(crate) fn is_passing_on(&self) -> bool {
        self.passing_on
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The initiator has moved so many bytes more. All, or a portion: they are passed on.
    pub(crate) fn moved(&mut self, count: u32) {
        self.left -= count.min(self.left);
        self.passing_on |= (self.left == 0 || self.is_portion()) && !self.is_empty();
    }

    /// What there is is passed on, not when all has come. Whether anything is.
    pub(crate) fn flush(&mut self) -> bool {
        self.passing_on |= !self.is_empty();
        self.passing_on
    }

    /// A piece has been used.
    pub(crate) fn used(&mut self) {
        self.passing_on &= !self.is_empty();
    }

    /// Whether enough has come to be passed on.
    fn is_portion(&self) -> bool {
        let full =
            |piece: &Data| matches!(piece, Data::Guest(segments) if segments.len() >= MAX_SEGMENTS);
        self.pieces.len() >= MAX_PIECES
            || self.bytes >= MAX_BYTES
            || self.pieces.back().is_some_and(full)
    }

    /// Appends guest RAM. On a fault nothing is appended. `spare` is a vector whose room may be used.
    pub(crate) fn push_guest(
        &mut self,
        dma: &Gate,
        address: u64,
        count: u32,
        direction: Direction,
        spare: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        if let Some(Data::Guest(segments)) = self.pieces.back_mut() {
            dma.segments(address, count, direction, segments)?;
        } else {
            spare.clear();
            dma.segments(address, count, direction, spare)?;
            self.pieces.push_back(Data::Guest(std::mem::take(spare)));
        }
        self.bytes += u64::from(count);
        // Many small regions under one long transfer.
        while let Some(Data::Guest(segments)) = self.pieces.back_mut() {
            if segments.len() <= MAX_SEGMENTS {
                break;
            }
            let rest = segments.split_off(MAX_SEGMENTS);
            self.pieces.push_back(Data::Guest(rest));
        }
        Ok(())
    }

    /// Takes the initiator's own bytes, as many as it has left to move; how many.
    pub(crate) fn take_bytes(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.left as usize);
        self.push_bytes(bytes.get(..count).unwrap_or_default());
        self.moved(u32::try_from(count).unwrap_or(self.left));
        count
    }

    fn push_bytes(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = match self.pieces.back() {
                Some(Data::Owned(owned)) => MAX_OWNED.saturating_sub(owned.len()),
                _ => 0,
            };
            if room == 0 {
                self.pieces.push_back(Data::Owned(Vec::new()));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(Data::Owned(owned)) = self.pieces.back_mut() {
                owned.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Takes the oldest piece out.
    pub(crate) fn pop(&mut self) -> Option<Data> {
        let piece = self.pieces.pop_front()?;
        self.bytes = self.bytes.saturating_sub(piece.len());
        Some(piece)
    }
}
