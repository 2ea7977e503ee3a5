//! What an emulator says about its device, once, at attach.

use crate::config_space::HEADER;

/// Regions of a PCI device: 0 to 5 the BARs, 6 the ROM, 7 config space, 8 legacy VGA.
pub const REGIONS: usize = 9;

/// One region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Bytes; 0 if there is no such region.
    pub size: u64,
    /// It can be read.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
}

/// A device as its emulator described it, checked as far as the proxy relies on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The regions by number.
    pub regions: [Region; REGIONS],
    /// Bytes of config space: 256 or 4096.
    pub config_size: u16,
    /// It has an INTx line that signals an eventfd.
    pub interrupt: bool,
    /// It can be reset.
    pub can_reset: bool,
    /// The first 256 bytes of config space, as they were at attach.
    pub header: [u8; HEADER],
}

impl Description {
    /// Vendor ID (offset 0x00).
    #[must_use]
    pub const fn vendor(&self) -> u16 {
        u16::from_le_bytes([self.header[0], self.header[1]])
    }

    /// Device ID (offset 0x02).
    #[must_use]
    pub const fn device(&self) -> u16 {
        u16::from_le_bytes([self.header[2], self.header[3]])
    }

    /// Base class, sub-class and programming interface (offset 0x09), as 0xBBSSPP.
    #[must_use]
    pub const fn class(&self) -> u32 {
        u32::from_le_bytes([self.header[9], self.header[10], self.header[11], 0])
    }

    /// Interrupt pin (offset 0x3d): 1 is INTA; 0 none.
    #[must_use]
    pub const fn interrupt_pin(&self) -> u8 {
        self.header[0x3d]
    }
}
