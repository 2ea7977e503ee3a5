//! Step 8, SCSI: what a unit says of itself, as its owner has chosen.

/// A unit's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
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
}

/// Why a unit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
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

impl Identity {
    /// The given product of this project.
    pub(super) fn of_product(product: &str) -> Self {
        Self {
            vendor: "OUTRIGGR".into(),
            product: product.into(),
            version: "1".into(),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), UnitError> {
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
                return Err(UnitError::Text { field, max });
            }
        }
        Ok(())
    }
}
