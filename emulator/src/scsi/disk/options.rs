//! Step 8, SCSI: what a disk tells about itself, as its owner has chosen.

/// A disk's properties.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// T10 vendor identification: at most 8 printable ASCII characters.
    pub vendor: String,
    /// Product identification: at most 16.
    pub product: String,
    /// Product revision level: at most 4.
    pub version: String,
    /// Unit serial number: at most 36. Without it there is no VPD page 0x80.
    pub serial: Option<String>,
    /// A name, at most 64 long, that tells this unit from its neighbours where there is no serial number.
    pub device_id: String,
    /// World wide name: an NAA designator.
    pub wwn: Option<u64>,
    /// Bytes of a logical block: a power of two, 512 to 4096.
    pub logical_block_size: u32,
    /// Bytes of a physical block: a power of two, from the logical block's to 32768 times that.
    pub physical_block_size: u32,
    /// Rotations a minute; 1 for a medium that does not rotate, 0 for not reported.
    pub rotation_rate: u16,
    /// The write cache is on after a reset: writes are stable only after SYNCHRONIZE CACHE or with FUA.
    pub write_cache: bool,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            vendor: "OUTRIGGR".into(),
            product: "SCSI DISK".into(),
            version: "1".into(),
            serial: None,
            device_id: String::new(),
            wwn: None,
            logical_block_size: 512,
            physical_block_size: 512,
            rotation_rate: 0,
            write_cache: true,
        }
    }
}

/// Why a disk cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A text is too long or not printable ASCII.
    #[error("{field} must be at most {max} printable ASCII characters")]
    Text {
        /// The option.
        field: &'static str,
        /// Its longest length.
        max: usize,
    },
    /// A block size is not a power of two in its range.
    #[error("{field} of {size} is not a power of two in its range")]
    BlockSize {
        /// The option.
        field: &'static str,
        /// Its value.
        size: u32,
    },
    /// The medium is empty, or not a whole number of blocks.
    #[error("a medium of {bytes} bytes is not a whole number of blocks of {block_size}")]
    Size {
        /// The medium's bytes.
        bytes: u64,
        /// The logical block's.
        block_size: u32,
    },
}

impl DiskOptions {
    pub(super) fn check(&self, bytes: u64) -> Result<(), DiskError> {
        let texts = [
            ("vendor", Some(&self.vendor), 8),
            ("product", Some(&self.product), 16),
            ("version", Some(&self.version), 4),
            ("serial", self.serial.as_ref(), 36),
            ("device_id", Some(&self.device_id), 64),
        ];
        for (field, text, max) in texts {
            let printable = |c: char| c == ' ' || c.is_ascii_graphic();
            if text.is_some_and(|text| text.len() > max || !text.chars().all(printable)) {
                return Err(DiskError::Text { field, max });
            }
        }
        let (logical, physical) = (self.logical_block_size, self.physical_block_size);
        if !logical.is_power_of_two() || !(512..=4096).contains(&logical) {
            return Err(DiskError::BlockSize {
                field: "logical_block_size",
                size: logical,
            });
        }
        if !physical.is_power_of_two() || !(1..=32768).contains(&(physical / logical)) {
            return Err(DiskError::BlockSize {
                field: "physical_block_size",
                size: physical,
            });
        }
        if bytes == 0 || !bytes.is_multiple_of(u64::from(logical)) {
            return Err(DiskError::Size {
                bytes,
                block_size: logical,
            });
        }
        Ok(())
    }
}
