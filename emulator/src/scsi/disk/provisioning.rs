//! Step 8, SCSI: UNMAP and WRITE SAME (SBC-3 sections 5.28, 5.43 and 5.44).

use std::collections::VecDeque;

use super::Disk;
use crate::scsi::cdb::Range;
use crate::scsi::sense::Sense;
use crate::scsi::task::Phase;
use crate::scsi::work::Work;
use crate::scsi::work::sweep::{Extent, Sweep};

/// Descriptors of one UNMAP.
pub(crate) const MAX_UNMAP_DESCRIPTORS: u16 = 256;

const HEADER: usize = 8;
const DESCRIPTOR: usize = 16;

impl Disk {
    pub(super) fn write_same(
        &self,
        range: Range,
        unmap: bool,
        zeroes: bool,
    ) -> Result<Phase, Sense> {
        self.refuse_if_protected()?;
        if unmap && !self.device.medium.geometry().discard {
            return Err(Sense::invalid_field(1, Some(3)));
        }
        // WSNZ: a count of 0 does not mean the whole disk here.
        if range.count == 0 {
            return Err(Sense::invalid_field(range.count_field, None));
        }
        let extent = self.device.transfer_extent(range)?;
        if zeroes {
            return Ok(self.zero(extent, unmap));
        }
        Ok(Phase::parameters(self.device.medium.block_size() as usize))
    }

    /// The block of WRITE SAME has come.
    pub(super) fn write_same_block(
        &self,
        range: Range,
        unmap: bool,
        block: &[u8],
    ) -> Result<Phase, Sense> {
        let extent = self.device.transfer_extent(range)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(self.zero(extent, unmap));
        }
        let fua = !self.device.mode.write_cache();
        Ok(Phase::work(Work::Sweep(Sweep::fill(extent, block, fua))))
    }

    fn zero(&self, extent: Extent, unmap: bool) -> Phase {
        let flush = !self.device.mode.write_cache();
        Phase::work(Work::Sweep(Sweep::Zero {
            extent,
            unmap,
            flush,
        }))
    }

    pub(super) fn unmap(&self, length: u16) -> Result<Phase, Sense> {
        if !self.device.medium.geometry().discard {
            self.refuse_if_protected()?;
            return Err(Sense::INVALID_OPERATION);
        }
        self.refuse_if_protected()?;
        match usize::from(length) {
            0 => Ok(Phase::GOOD),
            1..HEADER => Err(Sense::PARAMETER_LENGTH),
            length => Ok(Phase::parameters(length)),
        }
    }

    /// The list of UNMAP has come. Nothing is unmapped unless all of it is right.
    pub(super) fn unmap_list(&self, bytes: &[u8]) -> Result<Phase, Sense> {
        let (Some(header), Some(rest)) = (bytes.first_chunk::<HEADER>(), bytes.get(HEADER..))
        else {
            return Err(Sense::PARAMETER_LENGTH);
        };
        let said = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let descriptors = rest.get(..said.min(rest.len())).unwrap_or_default();
        if descriptors.len() / DESCRIPTOR > usize::from(MAX_UNMAP_DESCRIPTORS) {
            return Err(Sense::invalid_parameter(2, None));
        }
        let mut extents = VecDeque::new();
        for descriptor in descriptors.chunks_exact(DESCRIPTOR) {
            let (lba, rest) = descriptor.split_at(8);
            let lba = lba
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte));
            let count = rest
                .iter()
                .take(4)
                .fold(0, |number, byte| number << 8 | u32::from(*byte));
            if count != 0 {
                extents.push_back(self.device.medium.extent(Range {
                    lba,
                    count,
                    count_field: 0,
                })?);
            }
        }
        Ok(Phase::work(Work::Sweep(Sweep::Discard(extents))))
    }
}
