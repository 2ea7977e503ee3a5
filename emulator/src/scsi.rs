//! The SCSI bus and its targets, as an initiator sees them (SAM-2, SPI-4 at the level of phases).
//!
//! The initiator (the LSI chip) selects a target, delivers a CDB with [`Bus::begin`], and then does what
//! [`Bus::want`] says: move data with [`Bus::transfer`], take the status, or wait. A task that
//! wants to wait may be disconnected (if the initiator granted it); when it can go on, it comes
//! out of [`Bus::reselection`].
//!
//! Media data go straight between the block backend and guest RAM: `transfer` only collects the pieces
//! of guest RAM, and when all have come the backend gets one vectored request. The data are in
//! guest RAM before the task wants its status taken.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::dma::{Fault, Gate};

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

/// The bus: up to 16 targets with up to 8 logical units each.
#[derive(Debug)]
pub struct Bus;

impl Bus {
    /// Whether a target answers selection at this ID.
    #[must_use]
    pub fn responds(&self, target: u8) -> bool {
        let _ = target;
        todo!()
    }

    /// How many bytes the CDB that starts with `operation_code` has: 6, 10, 12 or 16; the COMMAND phase
    /// goes on until the target has them.
    #[must_use]
    pub fn cdb_length(operation_code: u8) -> usize {
        let _ = operation_code;
        todo!()
    }

    /// A whole CDB has arrived for this nexus. Never fails: what is wrong with the CDB, the LUN or the tag
    /// (overlapped commands, full task set) becomes the task's status.
    pub fn begin(&mut self, nexus: Nexus, attribute: Attribute, cdb: &[u8]) -> TaskId {
        let _ = (nexus, attribute, cdb);
        todo!()
    }

    /// What the task needs next.
    #[must_use]
    pub fn want(&self, task: TaskId) -> Want {
        let _ = task;
        todo!()
    }

    /// Moves `count` bytes (at most what [`Bus::want`] says is left) between the task and guest RAM at `address`,
    /// in the direction that `want` says. On a fault nothing has moved.
    pub fn transfer(
        &mut self,
        dma: &Gate,
        task: TaskId,
        address: u64,
        count: u32,
    ) -> Result<(), Fault> {
        let _ = (dma, task, address, count);
        todo!()
    }

    /// The same with bytes that the initiator holds itself (SWIDE, SODL, byte-by-byte transfers).
    pub fn transfer_bytes(&mut self, task: TaskId, bytes: &mut [u8]) {
        let _ = (task, bytes);
        todo!()
    }

    /// The initiator let the task disconnect: it comes back through [`Bus::reselection`].
    pub fn disconnect(&mut self, task: TaskId) {
        let _ = task;
        todo!()
    }

    /// The next disconnected task that wants to go on, oldest first; it counts as connected from then on.
    pub fn reselection(&mut self) -> Option<(TaskId, Nexus)> {
        todo!()
    }

    /// Whether [`Bus::reselection`] would return a task.
    #[must_use]
    pub fn wants_reselection(&self) -> bool {
        todo!()
    }

    /// Status and COMMAND COMPLETE were accepted: the task ends.
    pub fn finish(&mut self, task: TaskId) {
        let _ = task;
        todo!()
    }

    /// A task management function. When it returns, no DMA of the tasks concerned happens any more.
    pub fn manage(&mut self, nexus: Nexus, function: Management) {
        let _ = (nexus, function);
        todo!()
    }

    /// The RST signal: every task gone, unit attention everywhere. No DMA happens after it returns.
    pub fn reset(&mut self) {
        todo!()
    }

    /// Waits until no transfer to or from guest RAM is in flight; tasks are kept.
    pub fn quiesce(&mut self) {
        todo!()
    }

    /// Takes the backends' completions. Bounded; does not wait.
    pub fn poll(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// Hands collected requests to the kernel. Called once at the end of each run.
    pub fn kick(&mut self) {
        todo!()
    }

    /// The earliest of the backends' deadlines.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// The backends' wake descriptors.
    #[must_use]
    pub fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        todo!()
    }
}
