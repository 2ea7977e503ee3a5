//! Step 8, SCSI: command descriptor blocks, parsed completely before anything is done (SPC-3, SBC-3).
//!
//! [`Command::parse`] is pure: it knows the formats and what is never allowed in them; ranges and
//! what a particular unit supports are checked by the unit.

#[cfg(test)]
mod tests;

use super::sense::Sense;

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

/// Which values MODE SENSE asks for (SPC-3 section 6.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageControl {
    /// In force now.
    Current,
    /// A mask of what MODE SELECT may change.
    Changeable,
    /// In force after a reset.
    Default,
}

/// MODE SENSE (6) or (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModeSense {
    /// The 10-byte form.
    pub(crate) ten: bool,
    /// DBD: no block descriptor.
    pub(crate) no_descriptor: bool,
    /// LLBAA: a long LBA block descriptor is welcome.
    pub(crate) long: bool,
    /// PC.
    pub(crate) control: PageControl,
    /// Page code.
    pub(crate) page: u8,
    /// Subpage code.
    pub(crate) subpage: u8,
    /// Allocation length.
    pub(crate) allocation: u32,
}

/// A command that we know, with its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    TestUnitReady,
    RequestSense {
        descriptor: bool,
        allocation: u32,
    },
    Inquiry {
        page: Option<u8>,
        allocation: u32,
    },
    ReportLuns {
        select: u8,
        allocation: u32,
    },
    ModeSense(ModeSense),
    ModeSelect {
        ten: bool,
        length: u16,
    },
    ReadCapacity10,
    ReadCapacity16 {
        allocation: u32,
    },
    Read {
        range: Range,
    },
    Write {
        range: Range,
        fua: bool,
    },
    Verify {
        range: Range,
        compare: bool,
    },
    WriteSame {
        range: Range,
        unmap: bool,
        zeroes: bool,
    },
    Unmap {
        length: u16,
    },
    SynchronizeCache {
        range: Range,
    },
    StartStop {
        start: bool,
    },
    FormatUnit {
        header: Option<u8>,
    },
    PreventAllow,
    SendDiagnostic,
}

/// The bytes of a CDB; those beyond its end read 0.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn bit(self, at: usize, bit: u8) -> bool {
        self.byte(at) >> bit & 1 == 1
    }

    fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    fn be32(self, at: usize) -> u32 {
        u32::from(self.be16(at)) << 16 | u32::from(self.be16(at + 2))
    }

    fn be64(self, at: usize) -> u64 {
        u64::from(self.be32(at)) << 32 | u64::from(self.be32(at + 4))
    }

    /// The range of a 10, 12 or 16-byte command.
    fn range(self) -> Range {
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

    /// The range of a 6-byte command: 21 bits of address, and a count of 0 means 256.
    fn short_range(self) -> Range {
        let count = if self.byte(4) == 0 {
            256
        } else {
            self.byte(4).into()
        };
        Range {
            lba: (self.be32(0) & 0x1f_ffff).into(),
            count,
            count_field: 4,
        }
    }
}

/// How many bytes the CDB with this operation code has. The group code says it; in the groups without a
/// length of their own nothing is supported, and 10 is what initiators send there.
pub(crate) fn length(operation_code: u8) -> usize {
    match operation_code >> 5 {
        0 => 6,
        4 => 16,
        5 => 12,
        _ => 10,
    }
}

fn refuse_if(refuse: bool, byte: u16, bit: Option<u8>) -> Result<(), Sense> {
    if refuse {
        Err(Sense::invalid_field(byte, bit))
    } else {
        Ok(())
    }
}

impl Command {
    /// Parses a CDB that came for logical unit `lun`.
    pub(crate) fn parse(cdb: &[u8], lun: u8) -> Result<Self, Sense> {
        let Some(&operation) = cdb.first() else {
            return Err(Sense::INVALID_OPERATION);
        };
        let cdb = Bytes(cdb);
        let command = Self::parse_fields(operation, cdb, lun)?;
        // NACA and LINK ask for what we do not have.
        let control = length(operation) - 1;
        let control_field = u16::try_from(control).unwrap_or(0);
        refuse_if(cdb.bit(control, 2), control_field, Some(2))?;
        refuse_if(cdb.bit(control, 0), control_field, Some(0))?;
        Ok(command)
    }

    fn parse_fields(operation: u8, cdb: Bytes<'_>, lun: u8) -> Result<Self, Sense> {
        Ok(match operation {
            0x00 => Self::TestUnitReady,
            0x03 => Self::RequestSense {
                descriptor: cdb.bit(1, 0),
                allocation: cdb.byte(4).into(),
            },
            0x04 => Self::parse_format(cdb)?,
            0x08 => Self::Read {
                range: cdb.short_range(),
            },
            0x0a => Self::Write {
                range: cdb.short_range(),
                fua: false,
            },
            0x12 => Self::parse_inquiry(cdb)?,
            0x15 => Self::parse_mode_select(cdb, false)?,
            0x1a => Self::parse_mode_sense(cdb, false)?,
            0x1b => Self::parse_start_stop(cdb)?,
            0x1d => Self::parse_diagnostic(cdb)?,
            0x1e => Self::PreventAllow,
            0x25 => {
                refuse_if(!cdb.bit(8, 0) && cdb.be32(2) != 0, 2, None)?;
                Self::ReadCapacity10
            }
            0x28 | 0x88 | 0xa8 => {
                refuse_protection(cdb, lun)?;
                Self::Read { range: cdb.range() }
            }
            0x2a | 0x8a | 0xaa => {
                refuse_protection(cdb, lun)?;
                Self::Write {
                    range: cdb.range(),
                    fua: cdb.bit(1, 3),
                }
            }
            0x2f | 0x8f | 0xaf => {
                refuse_protection(cdb, lun)?;
                refuse_if(cdb.bit(1, 2), 1, Some(2))?;
                Self::Verify {
                    range: cdb.range(),
                    compare: cdb.bit(1, 1),
                }
            }
            0x35 | 0x91 => Self::SynchronizeCache { range: cdb.range() },
            0x41 | 0x93 => Self::parse_write_same(cdb, lun)?,
            0x42 => {
                refuse_if(cdb.bit(1, 0), 1, Some(0))?;
                Self::Unmap {
                    length: cdb.be16(7),
                }
            }
            0x55 => Self::parse_mode_select(cdb, true)?,
            0x5a => Self::parse_mode_sense(cdb, true)?,
            0x9e => {
                refuse_if(cdb.byte(1) & 0x1f != 0x10, 1, Some(4))?;
                refuse_if(!cdb.bit(14, 0) && cdb.be64(2) != 0, 2, None)?;
                Self::ReadCapacity16 {
                    allocation: cdb.be32(10),
                }
            }
            0xa0 => {
                refuse_if(cdb.byte(2) > 2, 2, None)?;
                refuse_if(cdb.be32(6) < 16, 6, None)?;
                Self::ReportLuns {
                    select: cdb.byte(2),
                    allocation: cdb.be32(6),
                }
            }
            _ => return Err(Sense::INVALID_OPERATION),
        })
    }

    fn parse_inquiry(cdb: Bytes<'_>) -> Result<Self, Sense> {
        // CMDDT is obsolete.
        refuse_if(cdb.bit(1, 1), 1, Some(1))?;
        let vital = cdb.bit(1, 0);
        refuse_if(!vital && cdb.byte(2) != 0, 2, None)?;
        Ok(Self::Inquiry {
            page: vital.then(|| cdb.byte(2)),
            allocation: cdb.be16(3).into(),
        })
    }

    fn parse_mode_sense(cdb: Bytes<'_>, ten: bool) -> Result<Self, Sense> {
        let control = match cdb.byte(2) >> 6 {
            0 => PageControl::Current,
            1 => PageControl::Changeable,
            2 => PageControl::Default,
            _ => return Err(Sense::NO_SAVING),
        };
        let allocation = if ten {
            cdb.be16(7).into()
        } else {
            cdb.byte(4).into()
        };
        Ok(Self::ModeSense(ModeSense {
            ten,
            no_descriptor: cdb.bit(1, 3),
            long: ten && cdb.bit(1, 4),
            control,
            page: cdb.byte(2) & 0x3f,
            subpage: cdb.byte(3),
            allocation,
        }))
    }

    fn parse_mode_select(cdb: Bytes<'_>, ten: bool) -> Result<Self, Sense> {
        let length = if ten { cdb.be16(7) } else { cdb.byte(4).into() };
        // Nothing can be saved (SP), and pages have the standard format (PF).
        refuse_if(cdb.bit(1, 0), 1, Some(0))?;
        refuse_if(!cdb.bit(1, 4) && length != 0, 1, Some(4))?;
        Ok(Self::ModeSelect { ten, length })
    }

    fn parse_start_stop(cdb: Bytes<'_>) -> Result<Self, Sense> {
        // No power conditions, and nothing to load or eject.
        refuse_if(cdb.byte(4) >> 4 != 0, 4, Some(7))?;
        refuse_if(cdb.bit(4, 1), 4, Some(1))?;
        Ok(Self::StartStop {
            start: cdb.bit(4, 0),
        })
    }

    fn parse_diagnostic(cdb: Bytes<'_>) -> Result<Self, Sense> {
        // Only the default self-test: no self-test code, no diagnostic pages.
        refuse_if(cdb.byte(1) >> 5 != 0, 1, Some(7))?;
        refuse_if(cdb.be16(3) != 0, 3, None)?;
        Ok(Self::SendDiagnostic)
    }

    fn parse_format(cdb: Bytes<'_>) -> Result<Self, Sense> {
        let (protection, long, data) = (cdb.byte(1) >> 6, cdb.bit(1, 5), cdb.bit(1, 4));
        refuse_if(protection != 0, 1, Some(7))?;
        Ok(Self::FormatUnit {
            header: data.then_some(if long { 8 } else { 4 }),
        })
    }

    fn parse_write_same(cdb: Bytes<'_>, lun: u8) -> Result<Self, Sense> {
        refuse_protection(cdb, lun)?;
        // ANCHOR, and the obsolete PBDATA and LBDATA.
        refuse_if(cdb.bit(1, 4), 1, Some(4))?;
        refuse_if(cdb.bit(1, 2), 1, Some(2))?;
        refuse_if(cdb.bit(1, 1), 1, Some(1))?;
        let sixteen = cdb.byte(0) == 0x93;
        let zeroes = cdb.bit(1, 0);
        refuse_if(zeroes && !sixteen, 1, Some(0))?;
        Ok(Self::WriteSame {
            range: cdb.range(),
            unmap: cdb.bit(1, 3),
            zeroes,
        })
    }
}

/// RDPROTECT and its kin: no medium here has protection information. SCSI-2 initiators send the
/// logical unit number in these bits.
fn refuse_protection(cdb: Bytes<'_>, lun: u8) -> Result<(), Sense> {
    let protection = cdb.byte(1) >> 5;
    refuse_if(protection != 0 && protection != lun, 1, Some(7))
}
