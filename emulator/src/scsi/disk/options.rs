//! Step 8, SCSI: a disk's properties, as its owner has chosen.

use crate::scsi::identity::{Identity, UnitError};
use crate::scsi::medium::ErrorPolicy;

/// A disk's properties.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Its names.
    pub identity: Identity,
    /// Bytes of a logical block: a power of two, 512 to 4096.
    pub logical_block_size: u32,
    /// Bytes of a physical block: a power of two, from the logical block's to 32768 times that.
    pub physical_block_size: u32,
    /// Rotations a minute; 1 for a medium that does not rotate, 0 for not reported.
    pub rotation_rate: u16,
    /// The write cache is on after a reset: writes are stable only after SYNCHRONIZE CACHE or with FUA.
    pub write_cache: bool,
    /// What becomes of the medium's errors.
    pub errors: ErrorPolicy,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            identity: Identity::of_product("SCSI DISK"),
            logical_block_size: 512,
            physical_block_size: 512,
            rotation_rate: 0,
            write_cache: true,
            errors: ErrorPolicy::default(),
        }
    }
}

impl DiskOptions {
    pub(super) fn check(&self, bytes: u64) -> Result<(), UnitError> {
        self.identity.check()?;
        let (logical, physical) = (self.logical_block_size, self.physical_block_size);
        if !logical.is_power_of_two() || !(512..=4096).contains(&logical) {
            return Err(UnitError::BlockSize {
                field: "logical_block_size",
                size: logical,
            });
        }
        if !physical.is_power_of_two() || !(1..=32768).contains(&(physical / logical)) {
            return Err(UnitError::BlockSize {
                field: "physical_block_size",
                size: physical,
            });
        }
        if bytes == 0 || !bytes.is_multiple_of(u64::from(logical)) {
            return Err(UnitError::Size {
                bytes,
                block_size: logical,
            });
        }
        Ok(())
    }
}
