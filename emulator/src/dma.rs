//! The DMA gate: the one way from a device to guest RAM.
//!
//! Regions are mapped and unmapped by the client of the front. Bus mastering off, an address
//! outside the regions or a region without the right is a [`Fault`], never an access. There is no
//! way from here to a device's own registers.

use std::os::fd::OwnedFd;

/// Why guest RAM could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bus mastering is off in the COMMAND register.
    #[error("bus mastering is off")]
    NotBusMaster,
    /// No region maps this address.
    #[error("no guest RAM at {0:#x}")]
    Unmapped(u64),
    /// The region does not allow this direction.
    #[error("guest RAM at {0:#x} does not allow this access")]
    Denied(u64),
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into guest RAM (a disk read).
    ToGuest,
    /// Out of guest RAM (a disk write).
    FromGuest,
}

/// A range of guest RAM as a client offers it (vfio-user DMA_MAP).
#[derive(Debug)]
pub struct Mapping {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// The file that backs it.
    pub fd: OwnedFd,
    /// Where in the file it starts.
    pub offset: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
}

/// Why a region was not mapped or unmapped. (More variants as needed.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Empty, wraps, misaligned, or not wholly in the file.
    #[error("bad range {address:#x}+{size:#x}")]
    BadRange {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
}

/// A contiguous piece of guest RAM. It keeps its region mapped as long as it lives.
#[derive(Debug)]
pub struct Segment;

impl Segment {
    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Copies from `bytes` into guest RAM, from byte `at` of this segment on. At most what fits; returns how many.
    pub fn write(&self, at: usize, bytes: &[u8]) -> usize {
        let _ = (at, bytes);
        todo!()
    }

    /// Copies out of guest RAM, from byte `at` on. At most what is there; returns how many.
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> usize {
        let _ = (at, bytes);
        todo!()
    }
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate;

impl Gate {
    /// A gate with no memory behind it, bus mastering off.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Maps a region.
    pub fn map(&mut self, mapping: Mapping) -> Result<(), MapError> {
        let _ = mapping;
        todo!()
    }

    /// Takes away the region that was mapped with exactly this address and size.
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        let _ = (address, size);
        todo!()
    }

    /// Takes away every region.
    pub fn unmap_all(&mut self) {
        todo!()
    }

    /// COMMAND bit 2.
    pub fn set_bus_master(&mut self, on: bool) {
        let _ = on;
        todo!()
    }

    /// Copies out of guest RAM; all of it or nothing.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let _ = (address, bytes);
        todo!()
    }

    /// Copies into guest RAM; all of it or nothing.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let _ = (address, bytes);
        todo!()
    }

    /// Appends the pieces of guest RAM that make up `address..address + length`, in order; on a fault
    /// nothing is appended.
    pub fn segments(
        &self,
        address: u64,
        length: u32,
        direction: Direction,
        into: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        let _ = (address, length, direction, into);
        todo!()
    }
}
