//! Step 4, ring: how many registers of each kind a session can have.

/// Most registers that a session can mirror.
pub const MAX_MIRRORED: u32 = 16;

/// Most read-to-clear groups that a session can have.
pub const MAX_READ_TO_CLEAR: u32 = 4;
