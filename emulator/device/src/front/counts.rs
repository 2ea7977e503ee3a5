//! Step 5, intake: what a front has counted.

use outrigger_ring::Statistics;

use super::ring::RingFront;

/// Counts over connections. Those that clients claim may be any number, so all wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections so far.
    pub clients: u64,
    /// The worker's end of all rings.
    pub worker: Statistics,
    /// The vCPUs' ends, as they say themselves.
    pub vcpus: Statistics,
    /// Interrupts signalled.
    pub interrupts: u64,
    /// Interrupts that were unmasked again: the guest has seen them.
    pub unmasks: u64,
}

impl Counts {
    /// A session's rings.
    pub(super) fn of(ring: &RingFront) -> Self {
        let (worker, vcpus) = ring.statistics();
        Self {
            worker,
            vcpus,
            ..Self::default()
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            clients: self.clients.wrapping_add(other.clients),
            worker: self.worker.plus(other.worker),
            vcpus: self.vcpus.plus(other.vcpus),
            interrupts: self.interrupts.wrapping_add(other.interrupts),
            unmasks: self.unmasks.wrapping_add(other.unmasks),
        }
    }
}
