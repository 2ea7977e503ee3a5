//! Step 11, interrupt: how long a vCPU that waits for its interrupt polls for it before its thread sleeps.
//!
//! KVM does this for a vCPU that has halted (`halt_poll_ns`), and a thread that did not would compare a device's wake-ups, not the device.
//! Limits and steps are those of KVM's parameters as they come: from 10 µs to 200 µs, twice as long after a wait that a
//! longer poll would have met, half as long after one that none would.

use std::time::Duration;

/// Polling begins with this.
const FIRST: Duration = Duration::from_micros(10);
/// The longest that is ever polled.
const MOST: Duration = Duration::from_micros(200);

/// How long to poll, learnt from the waits before.
#[derive(Debug)]
pub(super) struct HaltPoll {
    budget: Duration,
    most: Duration,
}

impl HaltPoll {
    /// `pays`: whether anybody else can run while this thread polls. If not, it never polls.
    pub(super) const fn new(pays: bool) -> Self {
        Self {
            budget: Duration::ZERO,
            most: if pays { MOST } else { Duration::ZERO },
        }
    }

    /// How long to poll now.
    pub(super) const fn budget(&self) -> Duration {
        self.budget
    }

    /// The interrupt came after this time.
    pub(super) fn waited(&mut self, time: Duration) {
        if time <= self.budget {
            return;
        }
        if time < self.most {
            self.budget = (self.budget * 2).clamp(FIRST, self.most);
        } else if time > self.most {
            let half = self.budget / 2;
            self.budget = if half < FIRST { Duration::ZERO } else { half };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn polls_longer_while_that_helps_and_less_when_nothing_does() {
        let mut poll = HaltPoll::new(true);
        let mut after = |time| {
            poll.waited(micros(time));
            poll.budget()
        };
        assert_eq!(after(30), micros(10));
        assert_eq!(after(30), micros(20));
        assert_eq!(after(30), micros(40));
        // Met.
        assert_eq!(after(30), micros(40));
        assert_eq!(after(150), micros(80));
        assert_eq!(after(150), micros(160));
        assert_eq!(after(190), micros(200));
        assert_eq!(after(200), micros(200));
        for nanoseconds in [100_000, 50_000, 25_000, 12_500, 0, 0] {
            assert_eq!(after(201), Duration::from_nanos(nanoseconds));
        }
    }

    #[test]
    fn where_polling_cannot_pay_it_never_polls() {
        let mut poll = HaltPoll::new(false);
        for time in [0, 1, 30, 10_000] {
            poll.waited(micros(time));
            assert_eq!(poll.budget(), Duration::ZERO);
        }
    }
}
