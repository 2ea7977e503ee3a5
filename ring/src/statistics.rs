//! Counts of what a side did: crossings and system calls are counted, not timed.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one side did since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Posted writes sent (client) or applied (worker).
    pub posted: u64,
    /// Requests sent and answered (client), or answered (worker), through a mailbox.
    pub crossings: u64,
    /// Reads answered from the register mirror (client).
    pub mirrored: u64,
    /// Doorbells written: each is a system call, and wakes the peer.
    pub doorbells_sent: u64,
    /// Doorbells not written, as the peer was awake.
    pub doorbells_suppressed: u64,
    /// Waits that took longer than a first look (client).
    pub spins: u64,
    /// Times that the thread went to sleep.
    pub blocks: u64,
}

/// A client's counts, readable from any thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    pub(crate) posted: Counter,
    pub(crate) crossings: Counter,
    pub(crate) mirrored: Counter,
    pub(crate) doorbells_sent: Counter,
    pub(crate) doorbells_suppressed: Counter,
    pub(crate) spins: Counter,
    pub(crate) blocks: Counter,
}

impl Counters {
    /// The counts now. Each is exact; they need not be of one instant.
    #[must_use]
    pub fn snapshot(&self) -> Statistics {
        Statistics {
            posted: self.posted.get(),
            crossings: self.crossings.get(),
            mirrored: self.mirrored.get(),
            doorbells_sent: self.doorbells_sent.get(),
            doorbells_suppressed: self.doorbells_suppressed.get(),
            spins: self.spins.get(),
            blocks: self.blocks.get(),
        }
    }
}

/// A count with one writer: no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0
            .store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
