//! Which controllers there are: a driver's name, and what its bus can hold. One line per device.

use std::fmt;

use crate::lsi::{Lsi, Model};
use crate::scsi::Bus;
use outrigger_device::device::Device;

/// A controller as `--device` names it.
pub struct ControllerDriver {
    /// QEMU's name for it.
    pub name: &'static str,
    /// The highest SCSI ID that a target on its bus can have.
    pub highest_target: u8,
    /// Builds it around its bus.
    pub build: fn(Bus) -> Box<dyn Device>,
}

/// Every controller.
pub static CONTROLLERS: [ControllerDriver; 2] = [
    ControllerDriver {
        name: "lsi53c895a",
        highest_target: 15,
        build: |bus| Box::new(Lsi::new(Model::Lsi53c895a, bus)),
    },
    ControllerDriver {
        name: "lsi53c810",
        highest_target: 7,
        build: |bus| Box::new(Lsi::new(Model::Lsi53c810, bus)),
    },
];

/// The SCSI ID that drivers give the controller itself: no target can have it.
pub const INITIATOR: u8 = 7;

impl ControllerDriver {
    /// The SCSI IDs that targets can have, in words.
    #[must_use]
    pub fn targets(&self) -> String {
        let below = INITIATOR - 1;
        match self.highest_target {
            INITIATOR => format!("0 to {below} on this bus ({INITIATOR} is the controller's own)"),
            highest => format!("0 to {highest}, but not {INITIATOR} (the controller's own)"),
        }
    }
}

/// A driver is known by its name.
impl PartialEq for ControllerDriver {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ControllerDriver {}

impl fmt::Debug for ControllerDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControllerDriver").field(&self.name).finish()
    }
}
