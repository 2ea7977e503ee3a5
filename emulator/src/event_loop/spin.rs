//! How long to poll before sleeping: as long as it has paid lately, and never longer than a wake costs.

use std::time::Duration;

/// The adaptive budget.
///
/// A sleep that was shorter than a wake costs would have been better spent polling: the budget
/// grows. A longer one would have burnt all of the budget for nothing: the budget shrinks, down to no polling.
#[derive(Debug)]
pub(super) struct Spin {
    most: Duration,
    budget: Duration,
}

/// The budget grows from, and shrinks below to nothing from, this part of the most.
const STEPS: u32 = 8;

impl Spin {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, budget: most }
    }

    pub(super) fn budget(&self) -> Duration {
        self.budget
    }

    /// Learns from a sleep.
    pub(super) fn slept(&mut self, duration: Duration) {
        let least = self.most / STEPS;
        if duration <= self.most {
            self.budget = (self.budget * 2).clamp(least, self.most);
        } else {
            self.budget /= 2;
            if self.budget < least {
                self.budget = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(40);

    #[test]
    fn short_sleeps_raise_the_budget_and_long_ones_end_it() {
        let mut spin = Spin::new(MOST);
        assert_eq!(spin.budget(), MOST);
        for micros in [20, 10, 5, 0, 0] {
            spin.slept(Duration::from_secs(1));
            assert_eq!(spin.budget(), Duration::from_micros(micros));
        }
        for micros in [5, 10, 20, 40, 40] {
            spin.slept(MOST);
            assert_eq!(spin.budget(), Duration::from_micros(micros));
        }
    }

    #[test]
    fn one_cpu_never_polls() {
        let mut spin = Spin::new(Duration::ZERO);
        for slept in [Duration::ZERO, MOST] {
            spin.slept(slept);
            assert_eq!(spin.budget(), Duration::ZERO);
        }
    }
}
