//! Phases, and what a transfer control instruction may depend on.

/// A SCSI bus phase as MSG, C/D and I/O encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// DATA OUT.
    DataOut = 0,
    /// DATA IN.
    DataIn = 1,
    /// COMMAND.
    Command = 2,
    /// STATUS.
    Status = 3,
    /// MESSAGE OUT.
    MessageOut = 6,
    /// MESSAGE IN.
    MessageIn = 7,
}

impl Phase {
    /// The phase in bits 26 to 24 of an instruction.
    #[must_use]
    pub const fn field(self) -> u32 {
        (self as u32) << 24
    }
}

/// When a JUMP, CALL, RETURN, INT or INTFLY happens (section 5.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition(u32);

const TRUE: u32 = 1 << 19;
const COMPARE_DATA: u32 = 1 << 18;
const COMPARE_PHASE: u32 = 1 << 17;
const WAIT: u32 = 1 << 16;
const CARRY: u32 = 1 << 21;

impl Condition {
    /// Always.
    pub const ALWAYS: Self = Self(TRUE);

    /// WHEN `phase`: waits for the target to ask, then true in this phase.
    #[must_use]
    pub const fn when(phase: Phase) -> Self {
        Self(TRUE | COMPARE_PHASE | WAIT | phase.field())
    }

    /// WHEN NOT `phase`: waits for the target to ask, then true in any other phase.
    #[must_use]
    pub const fn when_not(phase: Phase) -> Self {
        Self(COMPARE_PHASE | WAIT | phase.field())
    }

    /// IF `phase`, without waiting.
    #[must_use]
    pub const fn if_phase(phase: Phase) -> Self {
        Self(TRUE | COMPARE_PHASE | phase.field())
    }

    /// IF NOT `phase`, without waiting.
    #[must_use]
    pub const fn if_not_phase(phase: Phase) -> Self {
        Self(COMPARE_PHASE | phase.field())
    }

    /// IF SFBR is `value`.
    #[must_use]
    pub const fn if_data(value: u8) -> Self {
        Self::if_masked(value, 0)
    }

    /// IF SFBR is not `value`.
    #[must_use]
    pub const fn if_not_data(value: u8) -> Self {
        Self::if_not_masked(value, 0)
    }

    /// IF SFBR is `value`, bits that are set in `ignore` aside.
    #[must_use]
    pub const fn if_masked(value: u8, ignore: u8) -> Self {
        Self(TRUE | COMPARE_DATA | (ignore as u32) << 8 | value as u32)
    }

    /// IF SFBR is not `value`, bits that are set in `ignore` aside.
    #[must_use]
    pub const fn if_not_masked(value: u8, ignore: u8) -> Self {
        Self(COMPARE_DATA | (ignore as u32) << 8 | value as u32)
    }

    /// IF CARRY.
    #[must_use]
    pub const fn if_carry() -> Self {
        Self(TRUE | CARRY)
    }

    /// IF NOT CARRY.
    #[must_use]
    pub const fn if_not_carry() -> Self {
        Self(CARRY)
    }

    /// This condition and SFBR being `value`, bits that are set in `ignore` aside.
    #[must_use]
    pub const fn and_data(self, value: u8, ignore: u8) -> Self {
        Self(self.0 | COMPARE_DATA | (ignore as u32) << 8 | value as u32)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}
