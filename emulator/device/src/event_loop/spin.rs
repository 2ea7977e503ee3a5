//! How long to poll before sleeping: what would have cost least, given how long it took lately until something came.
//!
//! This is the ski-rental problem: polling costs its time, sleeping costs a wake-up, and nobody knows how long
//! the gap will be. But gaps repeat. So their distribution is learnt, per device, and the budget is the one with the least mean cost.

use std::time::Duration;

/// What a sleep costs in all, in wake-ups: the worker's own, about as much for the vCPU that has to ring, and the guest waits
/// for both.
const WAKES: u32 = 4;

/// Gaps are told apart by eighths of what a sleep costs, in steps that widen. What is longer is not worth polling for.
const EIGHTHS: [u32; 6] = [1, 2, 3, 4, 5, 6];

/// Of the mean that is kept, each new gap is this part.
const WEIGHT: f64 = 1.0 / 16.0;

/// The adaptive budget.
#[derive(Debug)]
pub(super) struct Spin {
    wake_cost: Duration,
    /// What part of the late gaps ended within each bound, and not within the one before; of all others nothing is kept, as they
    /// cost the same for every budget.
    parts: [f64; EIGHTHS.len()],
    budget: Duration,
}

impl Spin {
    /// Polls for as long as can ever pay, until it has learnt. `wake_cost` zero: never polls.
    pub(super) fn new(wake_cost: Duration) -> Self {
        let mut parts = [0.0; EIGHTHS.len()];
        // Hopeful at first: a few gaps teach better.
        parts[0] = 1.0;
        Self {
            wake_cost,
            parts,
            budget: wake_cost * WAKES,
        }
    }

    /// How long to poll now.
    pub(super) fn budget(&self) -> Duration {
        self.budget
    }

    fn sleep_cost(&self) -> Duration {
        self.wake_cost * WAKES
    }

    /// Something came, after this time without anything, while the worker polled.
    pub(super) fn found(&mut self, gap: Duration) {
        self.learn(gap);
    }

    /// The same, and the worker was asleep: its waking up is in that time, and is not the gap's.
    pub(super) fn woken(&mut self, gap: Duration) {
        self.learn(gap.saturating_sub(self.wake_cost));
    }

    fn learn(&mut self, gap: Duration) {
        let unit = self.sleep_cost() / 8;
        let place = EIGHTHS.iter().position(|&eighths| gap <= unit * eighths);
        for part in &mut self.parts {
            *part -= *part * WEIGHT;
        }
        if let Some(part) = place.and_then(|place| self.parts.get_mut(place)) {
            *part += WEIGHT;
        }
        self.budget = unit * self.best();
    }

    /// The budget with the least mean cost, in eighths of a sleep's.
    fn best(&self) -> u32 {
        const SLEEP: f64 = 8.0;
        // Without polling every gap costs a sleep.
        let mut best = (SLEEP, 0);
        // Of the gaps that end within the budget: their part, and what they cost in the mean.
        let (mut within, mut cost) = (0.0, 0.0);
        for (&eighths, part) in EIGHTHS.iter().zip(self.parts) {
            let budget = f64::from(eighths);
            within += part;
            cost += part * budget;
            let mean = cost + (1.0 - within) * (budget + SLEEP);
            if mean < best.0 {
                best = (mean, eighths);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKE: Duration = Duration::from_micros(20);
    /// An eighth of what a sleep costs.
    const UNIT: Duration = Duration::from_micros(10);

    fn taught(gaps: &[Duration]) -> Spin {
        let mut spin = Spin::new(WAKE);
        for _ in 0..100 {
            gaps.iter().for_each(|gap| spin.found(*gap));
        }
        spin
    }

    #[test]
    fn polls_as_long_as_the_usual_gap() {
        assert_eq!(Spin::new(WAKE).budget(), UNIT * 8);
        for (gap, budget) in [(0, 1), (10, 1), (11, 2), (28, 3), (40, 4), (60, 6)] {
            let spin = taught(&[Duration::from_micros(gap)]);
            assert_eq!(spin.budget(), UNIT * budget, "{gap}");
        }
    }

    #[test]
    fn does_not_poll_for_what_takes_longer_than_a_sleep_costs() {
        assert_eq!(taught(&[Duration::from_millis(1)]).budget(), Duration::ZERO);
        assert_eq!(taught(&[UNIT * 7]).budget(), Duration::ZERO);
    }

    /// Short gaps among long ones are polled for, but no longer than they are.
    #[test]
    fn polls_for_the_short_gaps_among_long_ones() {
        let long = Duration::from_millis(1);
        assert_eq!(taught(&[UNIT, long]).budget(), UNIT);
        // One in ten: polling for it each time would cost more than its sleep.
        let mut gaps = [long; 10];
        gaps[0] = UNIT;
        assert_eq!(taught(&gaps).budget(), Duration::ZERO);
    }

    #[test]
    fn learns_while_asleep_and_forgets_slowly() {
        let mut spin = taught(&[Duration::from_secs(1)]);
        for _ in 0..16 {
            spin.woken(WAKE + UNIT);
        }
        assert_eq!(spin.budget(), UNIT);
        // A pause does not undo it.
        spin.woken(Duration::from_secs(60));
        assert_eq!(spin.budget(), UNIT);
    }

    #[test]
    fn one_cpu_never_polls() {
        let mut spin = Spin::new(Duration::ZERO);
        for gap in [Duration::ZERO, WAKE] {
            assert_eq!(spin.budget(), Duration::ZERO);
            spin.found(gap);
            spin.woken(gap);
        }
    }

    /// Whatever comes, the mean cost of the chosen budget is at most that of not polling, and no budget is longer than a sleep costs.
    #[test]
    fn never_worse_than_sleeping_at_once() {
        let mut spin = Spin::new(WAKE);
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            spin.found(Duration::from_nanos(state >> 47));
            assert!(spin.budget() <= UNIT * 8);
            let total: f64 = spin.parts.iter().sum();
            assert!((0.0..=1.0 + 1e-9).contains(&total));
        }
    }
}
