//! Step 8, SCSI: WRITE AND VERIFY: a write, after which all of it is read again.

use super::Step;
use super::media::Media;
use super::sweep::{Extent, Sweep};
use crate::scsi::Want;
use outrigger_block::{Data, Op};
use outrigger_device::dma::Segment;

/// One WRITE AND VERIFY.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) write: Media,
    check: Sweep,
    /// The write is over.
    checking: bool,
}

impl Verified {
    /// Of an extent whose length fits 32 bits. What is verified is on stable storage.
    pub(crate) fn new(extent: Extent) -> Self {
        let length = u32::try_from(extent.length).unwrap_or(u32::MAX);
        Self {
            write: Media::new(Op::Write { fua: true }, extent.offset, length),
            check: Sweep::check(extent),
            checking: false,
        }
    }

    pub(crate) fn want(&self) -> Want {
        if self.checking {
            Want::Wait
        } else {
            self.write.want()
        }
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        if self.checking {
            self.check.next()
        } else {
            self.write.next()
        }
    }

    pub(crate) fn done(&mut self, data: Data, spare: &mut Vec<Segment>) {
        if self.checking {
            self.check.done(data);
        } else {
            self.write.done(data, spare);
            self.checking = self.write.is_over();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.write.is_over() && self.check.is_over()
    }
}
