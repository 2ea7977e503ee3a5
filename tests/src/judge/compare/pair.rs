//! The two chips, and what both show.

use std::fmt;
use std::time::Duration;

use crate::judge::chip::{Chip, Snapshot};

/// The two chips.
pub struct Pair<'a> {
    /// Ours.
    pub ours: &'a mut dyn Chip,
    /// QEMU's.
    pub theirs: &'a mut dyn Chip,
    /// How long QEMU's disks may take, if ours have answered.
    pub patience: Duration,
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

/// What both show.
#[derive(Clone, Debug)]
pub(in crate::judge) struct Both {
    pub(in crate::judge) ours: Snapshot,
    pub(in crate::judge) theirs: Snapshot,
}
