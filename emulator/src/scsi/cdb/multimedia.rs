//! Step 8, SCSI: the commands that only a CD-ROM drive has (MMC-5 chapter 6).

use super::Command;
use super::fields::{Bytes, Range, refuse_if};
use crate::scsi::sense::Sense;

/// A command of the multimedia set. `allocation` is how many bytes of the answer are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multimedia {
    /// READ TOC/PMA/ATIP.
    ReadToc {
        msf: bool,
        format: u8,
        track: u8,
        allocation: u32,
    },
    /// READ SUB-CHANNEL.
    ReadSubchannel {
        msf: bool,
        q: bool,
        format: u8,
        allocation: u32,
    },
    /// READ HEADER.
    ReadHeader {
        msf: bool,
        lba: u32,
        allocation: u32,
    },
    /// GET CONFIGURATION.
    GetConfiguration {
        /// RT: 0 all features, 1 current ones, 2 one.
        select: u8,
        feature: u16,
        allocation: u32,
    },
    /// GET EVENT STATUS NOTIFICATION.
    GetEventStatus { classes: u8, allocation: u32 },
    /// READ DISC INFORMATION.
    DiscInformation { allocation: u32 },
    /// READ TRACK INFORMATION.
    TrackInformation {
        /// 0 logical block address, 1 track number, 2 session number.
        by: u8,
        address: u32,
        allocation: u32,
    },
    /// MECHANISM STATUS.
    MechanismStatus { allocation: u32 },
    /// READ DISC STRUCTURE (READ DVD STRUCTURE).
    DiscStructure {
        media: u8,
        layer: u8,
        format: u8,
        allocation: u32,
    },
    /// READ CD or READ CD MSF of user data, or of nothing.
    ReadCd { range: Range, user_data: bool },
    /// SET CD SPEED.
    SetSpeed,
}

impl Multimedia {
    /// Parses a CDB; `None` if the operation code is not one of these.
    pub(super) fn parse(cdb: Bytes<'_>) -> Result<Option<Command>, Sense> {
        let command = match cdb.byte(0) {
            0x42 => Self::ReadSubchannel {
                msf: cdb.bit(1, 1),
                q: cdb.bit(2, 6),
                format: cdb.byte(3),
                allocation: cdb.be16(7).into(),
            },
            0x43 => Self::ReadToc {
                msf: cdb.bit(1, 1),
                // Before MMC-2 the format stood in the vendor's bits of the control byte, and Linux still asks there.
                format: match cdb.byte(2) & 0x0f {
                    0 => cdb.byte(9) >> 6,
                    format => format,
                },
                track: cdb.byte(6),
                allocation: cdb.be16(7).into(),
            },
            0x44 => Self::ReadHeader {
                msf: cdb.bit(1, 1),
                lba: cdb.be32(2),
                allocation: cdb.be16(7).into(),
            },
            0x46 => {
                refuse_if(cdb.byte(1) & 3 == 3, 1, Some(1))?;
                Self::GetConfiguration {
                    select: cdb.byte(1) & 3,
                    feature: cdb.be16(2),
                    allocation: cdb.be16(7).into(),
                }
            }
            0x4a => {
                // Only polled: nothing calls back when an event occurs.
                refuse_if(!cdb.bit(1, 0), 1, Some(0))?;
                Self::GetEventStatus {
                    classes: cdb.byte(4),
                    allocation: cdb.be16(7).into(),
                }
            }
            0x51 => {
                refuse_if(cdb.byte(1) & 7 != 0, 1, Some(2))?;
                Self::DiscInformation {
                    allocation: cdb.be16(7).into(),
                }
            }
            0x52 => {
                refuse_if(cdb.byte(1) & 3 == 3, 1, Some(1))?;
                Self::TrackInformation {
                    by: cdb.byte(1) & 3,
                    address: cdb.be32(2),
                    allocation: cdb.be16(7).into(),
                }
            }
            0xad => Self::DiscStructure {
                media: cdb.byte(1) & 0x0f,
                layer: cdb.byte(6),
                format: cdb.byte(7),
                allocation: cdb.be16(8).into(),
            },
            0xbb => Self::SetSpeed,
            0xbd => Self::MechanismStatus {
                allocation: cdb.be16(8).into(),
            },
            0xb9 => Self::parse_read_cd(cdb, cdb.time_range()?)?,
            0xbe => {
                let range = Range {
                    lba: cdb.be32(2).into(),
                    count: cdb.be24(6),
                    count_field: 6,
                };
                Self::parse_read_cd(cdb, range)?
            }
            _ => return Ok(None),
        };
        Ok(Some(Command::Multimedia(command)))
    }

    /// READ CD and READ CD MSF, which differ in how they say what to read.
    fn parse_read_cd(cdb: Bytes<'_>, range: Range) -> Result<Self, Sense> {
        // All sectors are of mode 1.
        let expected = cdb.byte(1) >> 2 & 7;
        if !matches!(expected, 0 | 2) {
            return Err(Sense::ILLEGAL_TRACK_MODE);
        }
        // Of a sector's parts only the user data are stored.
        let parts = cdb.byte(9);
        refuse_if(!matches!(parts, 0x00 | 0x10), 9, Some(7))?;
        refuse_if(cdb.byte(10) & 7 != 0, 10, Some(2))?;
        Ok(Self::ReadCd {
            range,
            user_data: parts == 0x10,
        })
    }
}
