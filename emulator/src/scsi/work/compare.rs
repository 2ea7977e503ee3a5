//! Step 8, SCSI: VERIFY with BYTCHK: the initiator's bytes against the medium's.
//!
//! What the initiator sends is gathered as for a WRITE; the medium is read in chunks and compared.

use super::gathered::Gathered;
use super::{CHUNK, Step};
use crate::scsi::Want;
use crate::scsi::sense::Sense;
use outrigger_block::{Data, Op};
use outrigger_device::dma::{Direction, Fault, Gate};

/// One VERIFY with data.
#[derive(Debug)]
pub(crate) struct Compare {
    block_size: u32,
    /// Where on the medium the next chunk starts.
    offset: u64,
    gathered: Gathered,
    /// The piece that is being compared, and how many bytes of it have been.
    piece: Option<(Data, usize)>,
    /// Our memory for the medium's bytes, and for the initiator's.
    medium: Vec<u8>,
    theirs: Vec<u8>,
}

impl Compare {
    /// `length` bytes from byte `offset` on.
    pub(crate) fn new(block_size: u32, offset: u64, length: u32) -> Self {
        Self {
            block_size,
            offset,
            gathered: Gathered::new(length),
            piece: None,
            medium: Vec::new(),
            theirs: Vec::new(),
        }
    }

    pub(crate) fn want(&self) -> Want {
        match self.gathered.left() {
            0 => Want::Wait,
            _ if self.is_comparing() => Want::Wait,
            left => Want::DataOut(left),
        }
    }

    fn is_comparing(&self) -> bool {
        self.piece.is_some() || self.gathered.is_passing_on()
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        if !self.is_comparing() {
            return None;
        }
        if self.piece.is_none() {
            self.piece = self.gathered.pop().map(|data| (data, 0));
        }
        let (data, at) = self.piece.as_ref()?;
        let rest = usize::try_from(data.len())
            .unwrap_or(usize::MAX)
            .saturating_sub(*at);
        let mut medium = std::mem::take(&mut self.medium);
        medium.resize(rest.min(CHUNK), 0);
        let length = medium.len() as u64;
        Some(Step {
            op: Op::Read,
            offset: self.offset,
            length,
            data: Data::Owned(medium),
        })
    }

    pub(crate) fn done(&mut self, data: Data) -> Result<(), Sense> {
        let Data::Owned(medium) = data else {
            return Ok(());
        };
        if let Some((piece, at)) = &mut self.piece {
            self.theirs.resize(medium.len(), 0);
            piece.take(*at, &mut self.theirs);
            if let Some(place) = medium.iter().zip(&self.theirs).position(|(a, b)| a != b) {
                let byte = self.offset + place as u64;
                return Err(Sense::miscompare(byte / u64::from(self.block_size.max(1))));
            }
            *at += medium.len();
            self.offset += medium.len() as u64;
            if *at as u64 >= piece.len() {
                self.piece = None;
            }
        }
        self.medium = medium;
        self.gathered.used();
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.gathered.left() == 0 && self.piece.is_none() && self.gathered.is_empty()
    }

    pub(crate) fn transfer(&mut self, dma: &Gate, address: u64, count: u32) -> Result<(), Fault> {
        let count = count.min(self.gathered.left());
        let none = &mut Vec::new();
        self.gathered
            .push_guest(dma, address, count, Direction::FromGuest, none)?;
        self.gathered.moved(count);
        Ok(())
    }

    pub(crate) fn transfer_bytes(&mut self, bytes: &[u8]) -> usize {
        self.gathered.take_bytes(bytes)
    }

    pub(crate) fn flush_gathered(&mut self) -> bool {
        self.gathered.flush() || self.piece.is_some()
    }

    #[cfg(test)]
    pub(crate) fn holds_guest_memory(&self) -> bool {
        self.piece.is_some() || !self.gathered.is_empty()
    }
}
