//! Step 8, SCSI: the bus and its targets, as an initiator sees them (SAM-2, SPI-4 at the level of phases).
//!
//! The initiator (the LSI chip) selects a target, delivers a CDB with [`Bus::begin`], and then does what
//! [`Bus::want`] says: move data with [`Bus::transfer`], take the status, or wait. A task that
//! wants to wait may be disconnected (if the initiator granted it); when it can go on, it comes
//! out of [`Bus::reselection`].
//!
//! Media data go straight between the block backend and guest RAM: `transfer` only collects the pieces
//! of guest RAM, and when all have come the backend gets one vectored request. The data are in
//! guest RAM before the task wants its status taken.

mod attention;
mod block_device;
mod bus;
mod cdb;
mod cdrom;
mod disk;
mod identity;
mod inquiry;
mod medium;
mod mode;
mod sense;
mod target;
mod task;
mod task_set;
#[cfg(test)]
mod tests;
mod unit;
mod work;

pub use bus::Bus;
pub use cdb::DiskCommand;
pub use cdrom::{Cdrom, CdromOptions};
pub use disk::{Disk, DiskOptions};
pub use identity::{Identity, UnitError};
pub use medium::{ErrorPolicy, OnError};
pub use unit::LogicalUnit;

/// Initiator-target-LUN-tag nexus, seen from the (single) initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nexus {
    /// The target's SCSI ID, 0 to 15.
    pub target: u8,
    /// Logical unit number, 0 to 7.
    pub lun: u8,
    /// Queue tag; `None` for an untagged task.
    pub tag: Option<u8>,
}

/// Task attribute (SAM-2 section 7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// SIMPLE QUEUE TAG message 0x20, or untagged.
    Simple,
    /// HEAD OF QUEUE TAG message 0x21.
    HeadOfQueue,
    /// ORDERED QUEUE TAG message 0x22.
    Ordered,
}

/// Names a task from [`Bus::begin`] to its end. Stale ids are recognised, never reused for another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// Place in the table.
    pub index: u32,
    /// Use of that place.
    pub generation: u32,
}

/// What a task needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// DATA IN phase, this many bytes left.
    DataIn(u32),
    /// DATA OUT phase, this many bytes left.
    DataOut(u32),
    /// STATUS phase with this status byte, then COMMAND COMPLETE.
    Status(u8),
    /// Nothing until the backend has answered or earlier tasks are done: disconnect, or stay and wait.
    Wait,
    /// The id is stale: the task was aborted or has ended.
    Gone,
}

/// A task management function, as a message asks for it (SPI-4 section 16.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// ABORT TASK (ABORT TAG, 0x0d): the task of this nexus.
    AbortTask,
    /// ABORT TASK SET (ABORT, 0x06): all tasks of this initiator on this LUN.
    AbortTaskSet,
    /// CLEAR TASK SET (CLEAR QUEUE, 0x0e).
    ClearTaskSet,
    /// LOGICAL UNIT RESET (0x17).
    LogicalUnitReset,
    /// TARGET RESET (BUS DEVICE RESET, 0x0c).
    TargetReset,
}

impl Want {
    /// Bytes left of the data phase; 0 if there is none.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::DataIn(count) | Self::DataOut(count) => count,
            Self::Status(_) | Self::Wait | Self::Gone => 0,
        }
    }
}

/// Why a unit was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// SCSI IDs are 0 to 15.
    #[error("no SCSI ID {0}: they are 0 to 15")]
    NoTarget(u8),
    /// Logical unit numbers are 0 to 7.
    #[error("no LUN {0}: they are 0 to 7")]
    NoLun(u8),
    /// Another unit is there.
    #[error("SCSI ID {target} LUN {lun} is taken")]
    Taken {
        /// SCSI ID.
        target: u8,
        /// Logical unit number.
        lun: u8,
    },
}
