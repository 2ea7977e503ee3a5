//! Step 8, SCSI: command descriptor blocks, parsed completely before anything is done (SPC-3, SBC-3, MMC-5).
//!
//! [`Command::parse`] is pure: it knows the formats and what is never allowed in them; ranges and
//! what a particular unit supports are checked by the unit.

mod block;
pub(crate) mod catalog;
mod fields;
mod multimedia;
mod primary;
#[cfg(test)]
mod tests;

use super::sense::Sense;
use super::unit::Kind;
pub(crate) use fields::Range;
use fields::{Bytes, refuse_if};
pub(crate) use multimedia::Multimedia;
pub(crate) use primary::{BufferAccess, Operations};

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
    ReportOperations {
        select: Operations,
        /// RCTD.
        timeouts: bool,
        allocation: u32,
    },
    ReportTaskManagement {
        /// REPD.
        extended: bool,
        allocation: u32,
    },
    ModeSense(ModeSense),
    ModeSelect {
        ten: bool,
        length: u16,
    },
    LogSense {
        page: u8,
        default: bool,
        pointer: u16,
        allocation: u32,
    },
    LogSelect {
        /// PCR.
        reset: bool,
    },
    Reserve,
    Release,
    PersistentReserveIn {
        action: u8,
        allocation: u32,
    },
    PersistentReserveOut {
        action: u8,
        scope: u8,
        kind: u8,
        length: u32,
    },
    SendDiagnostic {
        length: u16,
    },
    ReceiveDiagnostic {
        page: Option<u8>,
        allocation: u32,
    },
    ReadBuffer(BufferAccess),
    WriteBuffer(BufferAccess),
    PreventAllow {
        prevent: bool,
    },
    StartStop {
        start: bool,
        /// LOEJ.
        load_or_eject: bool,
    },
    ReadCapacity10,
    ReadCapacity16 {
        allocation: u32,
    },
    Rezero,
    Seek {
        lba: u64,
    },
    /// PRE-FETCH, LOCK UNLOCK CACHE.
    CacheHint {
        range: Range,
    },
    Read {
        range: Range,
    },
    Write {
        range: Range,
        fua: bool,
    },
    WriteVerify {
        range: Range,
    },
    Verify {
        range: Range,
        compare: bool,
    },
    CompareAndWrite {
        range: Range,
    },
    WriteSame {
        range: Range,
        unmap: bool,
        zeroes: bool,
    },
    Unmap {
        length: u16,
    },
    LbaStatus {
        lba: u64,
        allocation: u32,
    },
    ReadDefects {
        twelve: bool,
        /// REQ_PLIST, REQ_GLIST and the format, as they stand in the CDB.
        lists: u8,
        allocation: u32,
    },
    SynchronizeCache {
        range: Range,
    },
    FormatUnit {
        header: Option<u8>,
    },
    ReassignBlocks {
        /// LONGLBA: addresses have 8 bytes.
        long_addresses: bool,
        /// LONGLIST: the list's length has 4 bytes.
        long_list: bool,
    },
    Multimedia(Multimedia),
}

/// How many bytes the CDB with this operation code has, as its group code says. The groups that are reserved or left to
/// vendors have no length of their own: it is as long as what the initiator sends.
pub(crate) fn length(operation_code: u8) -> Option<usize> {
    match operation_code >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}

impl Command {
    /// Parses a CDB that came for logical unit `lun`, which is of this kind.
    pub(crate) fn parse(cdb: &[u8], lun: u8, kind: Kind) -> Result<Self, Sense> {
        let Some(&operation) = cdb.first() else {
            return Err(Sense::INVALID_OPERATION);
        };
        let cdb = Bytes(cdb);
        check_known(cdb, kind)?;
        let multimedia = match kind {
            Kind::Cdrom => Multimedia::parse(cdb)?,
            Kind::Disk => None,
        };
        let command = match multimedia {
            Some(command) => command,
            None => match Self::parse_primary(cdb, lun)? {
                Some(command) => command,
                None => Self::parse_block(cdb, lun, kind)?.ok_or(Sense::INVALID_OPERATION)?,
            },
        };
        // NACA and LINK ask for what we do not have; FLAG is wrong without LINK (SCSI-2 section 7.2.7).
        if let Some(control) = length(operation).map(|length| length - 1) {
            let control_field = u16::try_from(control).unwrap_or(0);
            for bit in [2, 1, 0] {
                refuse_if(cdb.bit(control, bit), control_field, Some(bit))?;
            }
        }
        Ok(command)
    }
}

/// A command descriptor block, taken apart as a disk does it: a command that it knows, with nothing in its format to refuse.
/// Ranges, and what this one disk supports, are looked at when the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCommand(Command);

impl DiskCommand {
    /// Parses a CDB for LUN 0. `None`: a disk ends it with CHECK CONDITION, ILLEGAL REQUEST.
    #[must_use]
    pub fn parse(cdb: &[u8]) -> Option<Self> {
        Command::parse(cdb, 0, Kind::Disk).ok().map(Self)
    }
}

/// Whether a command runs although a unit attention condition is pending (SAM-2 section 5.9.7; MMC-5 chapter 6). All
/// but REQUEST SENSE leave it pending.
pub(crate) fn ignores_attention(operation: u8, kind: Kind) -> bool {
    matches!(operation, 0x03 | 0x12 | 0xa0)
        || (kind == Kind::Cdrom && matches!(operation, 0x46 | 0x4a))
}

/// The operation code, and the service action if it has any, are in the catalog.
fn check_known(cdb: Bytes<'_>, kind: Kind) -> Result<(), Sense> {
    let mut known = false;
    for entry in catalog::entries(kind).filter(|entry| entry.operation() == cdb.byte(0)) {
        known = true;
        if entry
            .action
            .is_none_or(|action| action == cdb.byte(1) & 0x1f)
        {
            return Ok(());
        }
    }
    Err(if known {
        Sense::invalid_field(1, Some(4))
    } else {
        Sense::INVALID_OPERATION
    })
}
