//! Step 8, SCSI: READ CAPACITY (16) and GET LBA STATUS (SBC-3 sections 5.16 and 5.4).

use super::Disk;
use crate::scsi::cdb::Range;
use crate::scsi::sense::Sense;

impl Disk {
    pub(super) fn capacity16(&self) -> Vec<u8> {
        let last = self.device.medium.blocks().saturating_sub(1);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&last.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.device.medium.block_size().to_be_bytes());
        let options = &self.options;
        // LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
        let ratio = options.physical_block_size / options.logical_block_size.max(1);
        bytes[13] = u8::try_from(ratio.max(1).ilog2()).unwrap_or(0);
        // LBPME; unmapped blocks do not promise to read as zeroes (LBPRZ).
        if self.device.medium.geometry().discard {
            bytes[14] = 0x80;
        }
        bytes.to_vec()
    }

    /// From `lba` on all blocks are mapped, or in a state that is not known: backends do not tell.
    pub(super) fn lba_status(&self, lba: u64) -> Result<Vec<u8>, Sense> {
        let medium = &self.device.medium;
        medium.extent(Range {
            lba,
            count: 0,
            count_field: 2,
        })?;
        let count = u32::try_from(medium.blocks().saturating_sub(lba)).unwrap_or(u32::MAX);
        let mut bytes = vec![0, 0, 0, 20, 0, 0, 0, 0];
        bytes.extend(lba.to_be_bytes());
        bytes.extend(count.to_be_bytes());
        bytes.extend([0; 4]);
        Ok(bytes)
    }
}
