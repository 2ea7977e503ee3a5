//! Step 8, SCSI: the fields that CDBs are made of.

use crate::scsi::sense::Sense;

/// A range of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// First logical block address.
    pub(crate) lba: u64,
    /// Number of logical blocks.
    pub(crate) count: u32,
    /// Byte of the CDB where the count starts, for the sense data's field pointer.
    pub(crate) count_field: u16,
}

/// The bytes of a CDB; those beyond its end read 0.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(super) fn bit(self, at: usize, bit: u8) -> bool {
        self.byte(at) >> bit & 1 == 1
    }

    pub(super) fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    pub(super) fn be24(self, at: usize) -> u32 {
        u32::from(self.byte(at)) << 16 | u32::from(self.be16(at + 1))
    }

    pub(super) fn be32(self, at: usize) -> u32 {
        u32::from(self.be16(at)) << 16 | u32::from(self.be16(at + 2))
    }

    pub(super) fn be64(self, at: usize) -> u64 {
        u64::from(self.be32(at)) << 32 | u64::from(self.be32(at + 4))
    }

    /// The range of a 10, 12 or 16-byte command.
    pub(super) fn range(self) -> Range {
        match self.byte(0) >> 5 {
            4 => Range {
                lba: self.be64(2),
                count: self.be32(10),
                count_field: 10,
            },
            5 => Range {
                lba: self.be32(2).into(),
                count: self.be32(6),
                count_field: 6,
            },
            _ => Range {
                lba: self.be32(2).into(),
                count: self.be16(7).into(),
                count_field: 7,
            },
        }
    }

    /// The range of READ CD MSF (MMC-5 section 6.20): from one minute, second and frame to another, which is not read.
    pub(super) fn time_range(self) -> Result<Range, Sense> {
        let (first, end) = (self.time(3)?, self.time(6)?);
        Ok(Range {
            lba: first.into(),
            count: end
                .checked_sub(first)
                .ok_or(Sense::invalid_field(6, None))?,
            count_field: 6,
        })
    }

    /// The logical block at a minute, second and frame; the first is two seconds from the beginning.
    fn time(self, at: usize) -> Result<u32, Sense> {
        let field = u16::try_from(at).unwrap_or(0);
        let [minute, second, frame] = [at, at + 1, at + 2].map(|at| u32::from(self.byte(at)));
        refuse_if(second >= 60, field + 1, None)?;
        refuse_if(frame >= 75, field + 2, None)?;
        ((minute * 60 + second) * 75 + frame)
            .checked_sub(150)
            .ok_or(Sense::invalid_field(field, None))
    }

    /// The range of a 6-byte command: 21 bits of address, and a count of 0 means 256.
    pub(super) fn short_range(self) -> Range {
        let count = if self.byte(4) == 0 {
            256
        } else {
            self.byte(4).into()
        };
        Range {
            lba: (self.be24(1) & 0x1f_ffff).into(),
            count,
            count_field: 4,
        }
    }
}

pub(super) fn refuse_if(refuse: bool, byte: u16, bit: Option<u8>) -> Result<(), Sense> {
    if refuse {
        Err(Sense::invalid_field(byte, bit))
    } else {
        Ok(())
    }
}
