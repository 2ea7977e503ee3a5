//! PCI, once for all devices: type 0 config space, BAR sizing and decode, COMMAND, INTx, bus mastering.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use outrigger_ring::Access;

use crate::device::{Device, Progress};
use crate::dma::{MapError, Mapping};

/// The region number of config space (vfio-user's).
pub const CONFIG_REGION: u8 = 7;

/// A region as fronts describe it to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Bytes; 0 if the region does not exist.
    pub size: u64,
    /// It is an I/O BAR: writes to it are not posted.
    pub io: bool,
}

/// A device in its PCI shell: what a front serves.
#[derive(Debug)]
pub struct Function;

impl Function {
    /// Puts a device into its shell.
    #[must_use]
    pub fn new(device: Box<dyn Device>) -> Self {
        let _ = device;
        todo!()
    }

    /// Region `index`, 0 to 8.
    #[must_use]
    pub fn region(&self, index: u8) -> Region {
        let _ = index;
        todo!()
    }

    /// A guest's read, of a BAR or of config space. Outside the region, or with the BAR's decode off: all ones.
    pub fn read(&mut self, access: Access) -> u64 {
        let _ = access;
        todo!()
    }

    /// A guest's write. Outside the region, or with the BAR's decode off: dropped.
    pub fn write(&mut self, access: Access, value: u64) {
        let _ = (access, value);
        todo!()
    }

    /// Makes a region of guest RAM reachable.
    pub fn map(&mut self, mapping: Mapping) -> Result<(), MapError> {
        let _ = mapping;
        todo!()
    }

    /// Takes a region of guest RAM away; returns when no DMA to it is in flight.
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        let _ = (address, size);
        todo!()
    }

    /// Takes all guest RAM away (the client went).
    pub fn unmap_all(&mut self) {
        todo!()
    }

    /// Runs the device for a bounded slice.
    pub fn run(&mut self, now: Instant) -> Progress {
        let _ = now;
        todo!()
    }

    /// When [`Function::run`] must be called although nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Level of INTx: the device's line, masked by COMMAND.INTxDisable (bit 10), shown in STATUS bit 3.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        todo!()
    }

    /// DEVICE_RESET: device and config space to their power-on state; guest RAM stays mapped.
    pub fn reset(&mut self) {
        todo!()
    }

    /// The device's wake descriptors.
    #[must_use]
    pub fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        todo!()
    }
}
