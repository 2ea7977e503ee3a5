//! Step 8, SCSI: the commands that every unit has (SPC-3 chapter 6).

use super::fields::{Bytes, refuse_if};
use super::{Command, ModeSense, PageControl};
use crate::scsi::sense::Sense;

/// What REPORT SUPPORTED OPERATION CODES asks for (SPC-3 section 6.23.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operations {
    /// All commands.
    All,
    /// One operation code that has no service actions.
    One { operation: u8 },
    /// One service action.
    Action { operation: u8, action: u16 },
    /// One operation code; the service action counts if it has any.
    Either { operation: u8, action: u16 },
}

/// READ BUFFER or WRITE BUFFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferAccess {
    /// MODE.
    pub(crate) mode: u8,
    /// BUFFER ID.
    pub(crate) id: u8,
    /// First byte.
    pub(crate) offset: u32,
    /// Bytes.
    pub(crate) length: u32,
}

impl Command {
    /// Parses a CDB; `None` if the operation code is not one of these.
    pub(super) fn parse_primary(cdb: Bytes<'_>, lun: u8) -> Result<Option<Self>, Sense> {
        Ok(Some(match cdb.byte(0) {
            0x00 => Self::TestUnitReady,
            0x03 => Self::RequestSense {
                descriptor: cdb.bit(1, 0),
                allocation: cdb.byte(4).into(),
            },
            0x12 => Self::parse_inquiry(cdb)?,
            0x15 => Self::parse_mode_select(cdb, false)?,
            0x1a => Self::parse_mode_sense(cdb, false)?,
            0x55 => Self::parse_mode_select(cdb, true)?,
            0x5a => Self::parse_mode_sense(cdb, true)?,
            0x16 | 0x17 | 0x56 | 0x57 => Self::parse_reserve(cdb)?,
            0x1c => Self::ReceiveDiagnostic {
                page: cdb.bit(1, 0).then(|| cdb.byte(2)),
                allocation: cdb.be16(3).into(),
            },
            0x1d => {
                // No self-test but the default one. SCSI-2 initiators send the logical unit number in these bits.
                let test = cdb.byte(1) >> 5;
                refuse_if(test != 0 && test != lun, 1, Some(7))?;
                Self::SendDiagnostic {
                    length: cdb.be16(3),
                }
            }
            0x1e => {
                // Only a changer has what the second bit would lock.
                refuse_if(cdb.bit(4, 1), 4, Some(1))?;
                Self::PreventAllow {
                    prevent: cdb.bit(4, 0),
                }
            }
            0x3b => Self::WriteBuffer(parse_buffer(cdb)?),
            0x3c => Self::ReadBuffer(parse_buffer(cdb)?),
            0x4c => {
                // Counters can be reset; nothing is saved, and nothing else can be set.
                refuse_if(cdb.bit(1, 0), 1, Some(0))?;
                refuse_if(cdb.be16(7) != 0, 7, None)?;
                Self::LogSelect {
                    reset: cdb.bit(1, 1),
                }
            }
            0x4d => Self::parse_log_sense(cdb)?,
            0x5e => Self::PersistentReserveIn {
                action: cdb.byte(1) & 0x1f,
                allocation: cdb.be16(7).into(),
            },
            0x5f => {
                let action = cdb.byte(1) & 0x1f;
                // REGISTER, CLEAR, REGISTER AND IGNORE EXISTING KEY reserve nothing.
                let scope_type = match action {
                    0 | 3 | 6 => 0,
                    _ => cdb.byte(2),
                };
                Self::PersistentReserveOut {
                    action,
                    scope: scope_type >> 4,
                    kind: scope_type & 0x0f,
                    length: cdb.be32(5),
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
            0xa3 => Self::parse_report(cdb)?,
            _ => return Ok(None),
        }))
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
        // Nothing can be saved (SP). Initiators older than SCSI-2 do not set PF; what they send is read as pages too.
        refuse_if(cdb.bit(1, 0), 1, Some(0))?;
        Ok(Self::ModeSelect { ten, length })
    }

    /// RESERVE and RELEASE (SPC-2 sections 7.16 to 7.21): of the whole unit, for the initiator itself.
    fn parse_reserve(cdb: Bytes<'_>) -> Result<Self, Sense> {
        refuse_if(cdb.bit(1, 4), 1, Some(4))?; // 3RDPTY
        refuse_if(cdb.bit(1, 0), 1, Some(0))?; // EXTENT
        if cdb.byte(0) >= 0x20 {
            refuse_if(cdb.bit(1, 1), 1, Some(1))?; // LONGID
            refuse_if(cdb.be16(7) != 0, 7, None)?;
        }
        Ok(if cdb.bit(0, 0) {
            Self::Release
        } else {
            Self::Reserve
        })
    }

    fn parse_log_sense(cdb: Bytes<'_>) -> Result<Self, Sense> {
        refuse_if(cdb.bit(1, 0), 1, Some(0))?; // SP
        refuse_if(cdb.bit(1, 1), 1, Some(1))?; // PPC
        refuse_if(cdb.byte(3) != 0, 3, None)?;
        // Values, current or default: there are no thresholds.
        refuse_if(!cdb.bit(2, 6), 2, Some(7))?;
        Ok(Self::LogSense {
            page: cdb.byte(2) & 0x3f,
            default: cdb.bit(2, 7),
            pointer: cdb.be16(5),
            allocation: cdb.be16(7).into(),
        })
    }

    fn parse_report(cdb: Bytes<'_>) -> Result<Self, Sense> {
        let allocation = cdb.be32(6);
        if cdb.byte(1) & 0x1f == 0x0d {
            return Ok(Self::ReportTaskManagement {
                extended: cdb.bit(2, 7),
                allocation,
            });
        }
        let (operation, action) = (cdb.byte(3), cdb.be16(4));
        let select = match cdb.byte(2) & 7 {
            0 => Operations::All,
            1 => Operations::One { operation },
            2 => Operations::Action { operation, action },
            3 => Operations::Either { operation, action },
            _ => return Err(Sense::invalid_field(2, Some(2))),
        };
        Ok(Self::ReportOperations {
            select,
            timeouts: cdb.bit(2, 7),
            allocation,
        })
    }
}

fn parse_buffer(cdb: Bytes<'_>) -> Result<BufferAccess, Sense> {
    let mode = cdb.byte(1) & 0x1f;
    let descriptor = cdb.byte(0) == 0x3c && matches!(mode, 0x03 | 0x0b);
    refuse_if(
        !descriptor && !matches!(mode, 0x00 | 0x02 | 0x0a),
        1,
        Some(4),
    )?;
    Ok(BufferAccess {
        mode,
        id: cdb.byte(2),
        offset: cdb.be24(3),
        length: cdb.be24(6),
    })
}
