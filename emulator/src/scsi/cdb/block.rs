//! Step 8, SCSI: the commands that read and write blocks (SBC-3 chapter 5).

use super::Command;
use super::fields::{Bytes, Range, refuse_if};
use crate::scsi::sense::Sense;
use crate::scsi::unit::Kind;

impl Command {
    /// Parses a CDB; `None` if the operation code is not one of these.
    pub(super) fn parse_block(cdb: Bytes<'_>, lun: u8, kind: Kind) -> Result<Option<Self>, Sense> {
        Ok(Some(match cdb.byte(0) {
            0x01 => Self::Rezero,
            0x04 => Self::parse_format(cdb, lun)?,
            0x07 => Self::ReassignBlocks {
                long_addresses: cdb.bit(1, 1),
                long_list: cdb.bit(1, 0),
            },
            0x08 => Self::Read {
                range: cdb.short_range(),
            },
            0x0a => Self::Write {
                range: cdb.short_range(),
                fua: false,
            },
            0x0b => Self::Seek {
                lba: cdb.short_range().lba,
            },
            0x1b => Self::parse_start_stop(cdb, kind)?,
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
            0x2b => Self::Seek {
                lba: cdb.be32(2).into(),
            },
            0x2e | 0x8e | 0xae => {
                refuse_protection(cdb, lun)?;
                // BYTCHK: what was written is read, but not kept to be compared with.
                refuse_if(cdb.byte(1) & 6 != 0, 1, Some(2))?;
                Self::WriteVerify { range: cdb.range() }
            }
            0x2f | 0x8f | 0xaf => {
                refuse_protection(cdb, lun)?;
                refuse_if(cdb.bit(1, 2), 1, Some(2))?;
                Self::Verify {
                    range: cdb.range(),
                    compare: cdb.bit(1, 1),
                }
            }
            0x34 | 0x36 => Self::CacheHint { range: cdb.range() },
            0x35 | 0x91 => Self::SynchronizeCache { range: cdb.range() },
            0x37 => Self::ReadDefects {
                twelve: false,
                lists: cdb.byte(2) & 0x1f,
                allocation: cdb.be16(7).into(),
            },
            0x41 | 0x93 => Self::parse_write_same(cdb, lun)?,
            0x42 => {
                refuse_if(cdb.bit(1, 0), 1, Some(0))?;
                Self::Unmap {
                    length: cdb.be16(7),
                }
            }
            0x89 => {
                refuse_protection(cdb, lun)?;
                Self::CompareAndWrite {
                    range: Range {
                        lba: cdb.be64(2),
                        count: cdb.byte(13).into(),
                        count_field: 13,
                    },
                }
            }
            0x9e if cdb.byte(1) & 0x1f == 0x12 => Self::LbaStatus {
                lba: cdb.be64(2),
                allocation: cdb.be32(10),
            },
            0x9e => {
                refuse_if(!cdb.bit(14, 0) && cdb.be64(2) != 0, 2, None)?;
                Self::ReadCapacity16 {
                    allocation: cdb.be32(10),
                }
            }
            0xb7 => Self::ReadDefects {
                twelve: true,
                lists: cdb.byte(1) & 0x1f,
                allocation: cdb.be32(6),
            },
            _ => return Ok(None),
        }))
    }

    fn parse_start_stop(cdb: Bytes<'_>, kind: Kind) -> Result<Self, Sense> {
        // No power conditions; and of a disk there is nothing to load or eject.
        refuse_if(cdb.byte(4) >> 4 != 0, 4, Some(7))?;
        refuse_if(kind == Kind::Disk && cdb.bit(4, 1), 4, Some(1))?;
        Ok(Self::StartStop {
            start: cdb.bit(4, 0),
            load_or_eject: cdb.bit(4, 1),
        })
    }

    fn parse_format(cdb: Bytes<'_>, lun: u8) -> Result<Self, Sense> {
        // SCSI-2 initiators send the logical unit number in the upper three bits.
        let options = if cdb.byte(1) >> 5 == lun {
            cdb.byte(1) & 0x1f
        } else {
            cdb.byte(1)
        };
        let (protection, long, data) = (options >> 6, options & 0x20 != 0, options & 0x10 != 0);
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
