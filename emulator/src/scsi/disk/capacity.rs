//! Step 8, SCSI: READ CAPACITY (SBC-3 sections 5.15 and 5.16).

use super::Disk;

impl Disk {
    /// Last block and block size; all ones for a last block that does not fit.
    pub(super) fn capacity10(&self) -> Vec<u8> {
        let last = self.medium.blocks().saturating_sub(1);
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(self.medium.block_size().to_be_bytes());
        bytes
    }

    pub(super) fn capacity16(&self) -> Vec<u8> {
        let last = self.medium.blocks().saturating_sub(1);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(self.medium.block_size().to_be_bytes());
        bytes.resize(32, 0);
        let options = &self.options;
        // LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
        let ratio = options.physical_block_size / options.logical_block_size.max(1);
        bytes[13] = u8::try_from(ratio.max(1).ilog2()).unwrap_or(0);
        // LBPME; unmapped blocks do not promise to read as zeroes (LBPRZ).
        if self.medium.geometry().discard {
            bytes[14] = 0x80;
        }
        bytes
    }
}
