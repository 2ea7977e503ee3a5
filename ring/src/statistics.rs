//! Counts of what a side did: crossings and system calls are counted, not timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::OwnLines;

/// What one side did since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Posted writes sent (client) or applied (worker).
    pub posted: u64,
    /// Requests sent and answered (client), or answered (worker), through a mailbox.
    pub crossings: u64,
    /// Reads answered from the register mirror, or by a snapshot (client).
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

impl Statistics {
    /// As they travel and are shown: seven words in the order of the fields.
    #[must_use]
    pub const fn words(self) -> [u64; 7] {
        let Self {
            posted,
            crossings,
            mirrored,
            doorbells_sent,
            doorbells_suppressed,
            spins,
            blocks,
        } = self;
        [
            posted,
            crossings,
            mirrored,
            doorbells_sent,
            doorbells_suppressed,
            spins,
            blocks,
        ]
    }

    pub(crate) const fn from_words(words: [u64; 7]) -> Self {
        let [
            posted,
            crossings,
            mirrored,
            doorbells_sent,
            doorbells_suppressed,
            spins,
            blocks,
        ] = words;
        Self {
            posted,
            crossings,
            mirrored,
            doorbells_sent,
            doorbells_suppressed,
            spins,
            blocks,
        }
    }

    /// Both together. Counts that a peer claims may be anything, so they wrap.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (ours, theirs) = (self.words(), other.words());
        Self::from_words(std::array::from_fn(|index| {
            let word = |words: [u64; 7]| words.get(index).copied().unwrap_or(0);
            word(ours).wrapping_add(word(theirs))
        }))
    }
}

/// A client's counts, readable from any thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters([Counter; 7]);

impl Counters {
    /// The counts now. Each is exact; they need not be of one instant.
    #[must_use]
    pub fn snapshot(&self) -> Statistics {
        Statistics::from_words(self.0.each_ref().map(Counter::get))
    }
}

/// Which of a client's counts: its place among [`Statistics::words`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Posted,
    Crossings,
    Mirrored,
    DoorbellsSent,
    DoorbellsSuppressed,
    Spins,
    Blocks,
}

/// A client's own hold on its counts: it shows each to the VMM, and in a line of shared memory to
/// the worker.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Arc<Counters>,
    shown: OwnLines,
}

impl Tally {
    pub(crate) fn new(shown: OwnLines) -> Self {
        Self {
            counters: Arc::default(),
            shown,
        }
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    #[inline]
    pub(crate) fn add(&self, count: Count, by: u64) {
        let Counters(counters) = &*self.counters;
        if let Some(counter) = counters.get(count as usize) {
            let now = counter.add(by);
            self.shown.at(0).fill_at(count as usize, now);
        }
    }
}

/// A count with one writer: no locked instruction.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    #[inline]
    fn add(&self, count: u64) -> u64 {
        let now = self.get().wrapping_add(count);
        self.0.store(now, Ordering::Relaxed);
        now
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
