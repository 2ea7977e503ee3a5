//! Step 8, bus phases: what the chip sees of the bus.

use std::fmt;

/// An information transfer phase: MSG, C/D and I/O as bits 2 to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Initiator to target.
    #[default]
    DataOut,
    /// Target to initiator.
    DataIn,
    /// The CDB.
    Command,
    /// The status byte.
    Status,
    /// Reserved.
    ReservedOut,
    /// Reserved.
    ReservedIn,
    /// Messages to the target.
    MessageOut,
    /// Messages from the target.
    MessageIn,
}

impl Phase {
    /// From bits 2 to 0.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::DataOut,
            1 => Self::DataIn,
            2 => Self::Command,
            3 => Self::Status,
            4 => Self::ReservedOut,
            5 => Self::ReservedIn,
            6 => Self::MessageOut,
            _ => Self::MessageIn,
        }
    }

    /// Bits 2 to 0.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The I/O signal: towards the initiator.
    #[must_use]
    pub const fn is_in(self) -> bool {
        self.bits() & 1 != 0
    }

    /// DATA IN or DATA OUT.
    #[must_use]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::DataIn | Self::DataOut)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataOut => "DATA_OUT",
            Self::DataIn => "DATA_IN",
            Self::Command => "COMMAND",
            Self::Status => "STATUS",
            Self::ReservedOut => "RES4",
            Self::ReservedIn => "RES5",
            Self::MessageOut => "MSG_OUT",
            Self::MessageIn => "MSG_IN",
        })
    }
}

/// What the chip sees on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Bus free.
    Free,
    /// Connected, but the target does not ask for a transfer now.
    Quiet,
    /// REQ with a phase.
    Request(Phase),
}

/// How the bus became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// After DISCONNECT or COMMAND COMPLETE.
    Announced,
    /// Otherwise: after a management message, or because the task is gone.
    Abrupt,
}
