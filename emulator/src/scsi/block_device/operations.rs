//! Step 8, SCSI: REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-3 sections 6.23 and 6.24).

use crate::scsi::cdb::Operations;
use crate::scsi::cdb::catalog::{self, Entry};
use crate::scsi::sense::Sense;
use crate::scsi::unit::Kind;

/// A command timeouts descriptor that tells none.
const TIMEOUTS: [u8; 12] = [0x00, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const UNMAP: u8 = 0x42;

/// The answer for a unit of this kind; there is UNMAP only on a `thin` disk.
pub(super) fn report(
    kind: Kind,
    thin: bool,
    select: Operations,
    timeouts: bool,
) -> Result<Vec<u8>, Sense> {
    let has = |entry: &&Entry| thin || kind != Kind::Disk || entry.operation() != UNMAP;
    let entries = || catalog::entries(kind).filter(has);
    let (operation, action) = match select {
        Operations::All => return Ok(all(entries(), timeouts)),
        Operations::One { operation } | Operations::Either { operation, .. }
            if entries().any(|entry| entry.operation() == operation && entry.action.is_none()) =>
        {
            (operation, None)
        }
        // It has service actions, so one must be named.
        Operations::One { operation } if entries().any(|entry| entry.operation() == operation) => {
            return Err(Sense::invalid_field(2, Some(2)));
        }
        // It has none, so none can be named.
        Operations::Action { operation, .. }
            if entries().any(|entry| entry.operation() == operation && entry.action.is_none()) =>
        {
            return Err(Sense::invalid_field(2, Some(2)));
        }
        Operations::One { operation } => (operation, None),
        Operations::Action { operation, action } | Operations::Either { operation, action } => {
            (operation, Some(action))
        }
    };
    let found = entries()
        .find(|entry| entry.operation() == operation && entry.action.map(u16::from) == action);
    Ok(found.map_or_else(
        || vec![0x00, 0x01, 0x00, 0x00],
        |entry| one(entry, timeouts),
    ))
}

fn all<'a>(entries: impl Iterator<Item = &'a Entry>, timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for entry in entries {
        let action = u16::from(entry.action.unwrap_or(0)).to_be_bytes();
        // CTDP, SERVACTV.
        let flags = u8::from(timeouts) << 1 | u8::from(entry.action.is_some());
        let length = cdb_length(entry);
        list.extend([entry.operation(), 0, action[0], action[1], 0, flags]);
        list.extend(length);
        if timeouts {
            list.extend(TIMEOUTS);
        }
    }
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(list);
    bytes
}

fn one(entry: &Entry, timeouts: bool) -> Vec<u8> {
    // CTDP; supported in conformance with a standard.
    let mut bytes = vec![0x00, u8::from(timeouts) << 7 | 0x03];
    bytes.extend(cdb_length(entry));
    bytes.extend(entry.usage);
    if timeouts {
        bytes.extend(TIMEOUTS);
    }
    bytes
}

fn cdb_length(entry: &Entry) -> [u8; 2] {
    u16::try_from(entry.usage.len()).unwrap_or(0).to_be_bytes()
}

/// Which task management functions there are: ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET
/// RESET.
pub(super) fn task_management(extended: bool) -> Vec<u8> {
    if extended {
        let mut bytes = vec![0xda, 0x00, 0x00, 0x0c];
        bytes.resize(16, 0);
        bytes
    } else {
        vec![0xda, 0x00, 0x00, 0x00]
    }
}
