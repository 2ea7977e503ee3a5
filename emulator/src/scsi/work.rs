//! Step 8, SCSI: what a task does with the medium: a series of block requests, one in flight at a time.
//!
//! Each kind of work says what it wants of the initiator, which block request comes next, and takes
//! that request's data back. Memory is bounded whatever the initiator sends: what has
//! been gathered is passed on in portions.

pub(crate) mod compare;
pub(crate) mod exchange;
pub(crate) mod gathered;
pub(crate) mod media;
pub(crate) mod sweep;
pub(crate) mod verified;

use super::Want;
use super::sense::Sense;
use compare::Compare;
use exchange::Exchange;
use media::Media;
use outrigger_block::{Data, Op};
use outrigger_device::dma::{Fault, Gate, Segment};
use sweep::Sweep;
use verified::Verified;

/// Bytes that go through memory of our own at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The next block request of some work.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) data: Data,
}

/// What a task does with the medium.
#[derive(Debug)]
pub(crate) enum Work {
    /// READ and WRITE: between the medium and the initiator.
    Media(Media),
    /// VERIFY with bytes to compare with.
    Compare(Compare),
    /// WRITE AND VERIFY.
    Verified(Verified),
    /// COMPARE AND WRITE.
    Exchange(Exchange),
    /// What needs no data phase, or has had it.
    Sweep(Sweep),
}

impl Work {
    /// What the initiator can do now; `Wait` if nothing.
    pub(crate) fn want(&self) -> Want {
        match self {
            Self::Media(media) => media.want(),
            Self::Compare(compare) => compare.want(),
            Self::Verified(verified) => verified.want(),
            Self::Exchange(_) | Self::Sweep(_) => Want::Wait,
        }
    }

    /// The next block request, if one can be made now.
    pub(crate) fn next(&mut self) -> Option<Step> {
        match self {
            Self::Media(media) => media.next(),
            Self::Compare(compare) => compare.next(),
            Self::Verified(verified) => verified.next(),
            Self::Exchange(exchange) => exchange.next(),
            Self::Sweep(sweep) => sweep.next(),
        }
    }

    /// The block request that [`Work::next`] gave has succeeded.
    pub(crate) fn done(&mut self, data: Data, spare: &mut Vec<Segment>) -> Result<(), Sense> {
        match self {
            Self::Media(media) => {
                media.done(data, spare);
                Ok(())
            }
            Self::Compare(compare) => compare.done(data),
            Self::Verified(verified) => {
                verified.done(data, spare);
                Ok(())
            }
            Self::Exchange(exchange) => exchange.done(&data),
            Self::Sweep(sweep) => {
                sweep.done(data);
                Ok(())
            }
        }
    }

    /// Whether all of it has been done.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Media(media) => media.is_over(),
            Self::Compare(compare) => compare.is_over(),
            Self::Verified(verified) => verified.is_over(),
            Self::Exchange(exchange) => exchange.is_over(),
            Self::Sweep(sweep) => sweep.is_over(),
        }
    }

    /// See [`super::Bus::transfer`]; `count` is not 0.
    pub(crate) fn transfer(
        &mut self,
        dma: &Gate,
        address: u64,
        count: u32,
        spare: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        match self {
            Self::Media(media) => media.transfer(dma, address, count, spare),
            Self::Compare(compare) => compare.transfer(dma, address, count),
            Self::Verified(verified) => verified.write.transfer(dma, address, count, spare),
            Self::Exchange(_) | Self::Sweep(_) => Ok(()),
        }
    }

    /// See [`super::Bus::transfer_bytes`]: how many bytes moved.
    pub(crate) fn transfer_bytes(&mut self, bytes: &mut [u8]) -> usize {
        match self {
            Self::Media(media) => media.transfer_bytes(bytes),
            Self::Compare(compare) => compare.transfer_bytes(bytes),
            Self::Verified(verified) => verified.write.transfer_bytes(bytes),
            Self::Exchange(_) | Self::Sweep(_) => 0,
        }
    }

    /// Guest RAM that has been gathered is to be used now, not when all has come. Whether there is any.
    pub(crate) fn flush_gathered(&mut self) -> bool {
        match self {
            Self::Media(media) => media.flush_gathered(),
            Self::Compare(compare) => compare.flush_gathered(),
            Self::Verified(verified) => verified.write.flush_gathered(),
            Self::Exchange(_) | Self::Sweep(_) => false,
        }
    }

    /// Whether its block requests go to or from guest RAM.
    pub(crate) fn uses_guest_memory(&self) -> bool {
        matches!(self, Self::Media(_) | Self::Verified(_))
    }

    /// Whether it has pieces of guest RAM.
    #[cfg(test)]
    pub(crate) fn holds_guest_memory(&self) -> bool {
        match self {
            Self::Media(media) => media.holds_guest_memory(),
            Self::Compare(compare) => compare.holds_guest_memory(),
            Self::Verified(verified) => verified.write.holds_guest_memory(),
            Self::Exchange(_) | Self::Sweep(_) => false,
        }
    }
}
