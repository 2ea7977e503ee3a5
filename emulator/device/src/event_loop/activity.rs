//! What the loop itself counts, and all counts of a worker in the order in which its page shows them.

use std::time::Duration;

use outrigger_ring::PageCounters;

use crate::device::Work;
use crate::front::Counts;

/// Counts of one worker's loop.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The thread's id, as the host has it.
    thread: u64,
    /// Times that it went to sleep.
    pub(super) sleeps: u64,
    /// Looks at the sockets without a sleep.
    pub(super) looks: u64,
    /// Spells of polling the rings with nothing to do.
    spins: u64,
    /// Their time.
    spinning: Duration,
}

impl Activity {
    /// The calling thread is the worker.
    pub(super) fn begin(&mut self) {
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        self.thread = u64::try_from(id).unwrap_or(0);
    }

    /// The rings were polled for so long, with nothing to do.
    pub(super) fn polled(&mut self, time: Duration) {
        if !time.is_zero() {
            self.spins += 1;
            self.spinning += time;
        }
    }

    /// The page: `statistics::FIELDS` names what is where.
    pub(super) fn page(&self, counts: Counts, work: Work) -> PageCounters {
        let Counts {
            clients,
            worker,
            vcpus,
            interrupts,
            unmasks,
        } = counts;
        let spinning = u64::try_from(self.spinning.as_nanos()).unwrap_or(u64::MAX);
        let nothing = [0; 7];
        [
            [
                self.thread,
                clients,
                self.sleeps,
                self.looks,
                self.spins,
                spinning,
                0,
            ],
            [
                worker.posted,
                worker.crossings,
                worker.doorbells_sent,
                worker.doorbells_suppressed,
                0,
                0,
                0,
            ],
            vcpus.words(),
            [work.requests, work.bytes, interrupts, unmasks, 0, 0, 0],
            nothing,
            nothing,
            nothing,
            nothing,
        ]
    }
}

#[cfg(test)]
mod tests {
    use outrigger_ring::Statistics;

    use super::*;
    use crate::statistics::{FIELDS, Sample};

    /// Each name finds what it says.
    #[test]
    fn names_and_places_agree() {
        let mut activity = Activity {
            thread: 1,
            sleeps: 2,
            looks: 3,
            ..Activity::default()
        };
        activity.polled(Duration::ZERO);
        activity.polled(Duration::from_nanos(40));
        activity.polled(Duration::from_nanos(2));
        let side = |base| Statistics {
            posted: base,
            crossings: base + 1,
            mirrored: base + 2,
            doorbells_sent: base + 3,
            doorbells_suppressed: base + 4,
            spins: base + 5,
            blocks: base + 6,
        };
        let counts = Counts {
            clients: 4,
            worker: side(100),
            vcpus: side(200),
            interrupts: 5,
            unmasks: 6,
        };
        let work = Work {
            requests: 7,
            bytes: 8,
        };
        let sample = Sample::new(&activity.page(counts, work));
        let expected = [
            ("thread", 1),
            ("clients", 4),
            ("requests", 7),
            ("bytes", 8),
            ("posted_writes", 200),
            ("crossings", 201),
            ("mirrored_reads", 202),
            ("vcpu_doorbells_sent", 203),
            ("vcpu_doorbells_suppressed", 204),
            ("vcpu_spins", 205),
            ("vcpu_sleeps", 206),
            ("posted_writes_applied", 100),
            ("crossings_answered", 101),
            ("doorbells_sent", 103),
            ("doorbells_suppressed", 104),
            ("interrupts", 5),
            ("interrupts_unmasked", 6),
            ("sleeps", 2),
            ("looks", 3),
            ("spins", 2),
            ("spin_nanoseconds", 42),
        ];
        assert_eq!(FIELDS.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(sample.get(name), value, "{name}");
        }
    }
}
