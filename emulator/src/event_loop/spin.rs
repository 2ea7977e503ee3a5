//! How long to poll before sleeping: as long as it has paid lately, and never longer than a wake costs.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

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

/// Rounds of the measurement: enough for a median that one hiccup does not move.
const ROUNDS: usize = 15;
/// What a wake is believed to cost at most: a measurement on a busy machine says more than polling is worth.
const DEAREST: Duration = Duration::from_micros(100);

/// What it costs to be woken by another thread, measured; zero if the process may use only one CPU, where polling keeps
/// the peer from running.
///
/// Starts a thread, and waits for its end.
///
/// # Errors
/// If descriptors or the thread cannot be had.
pub fn wake_cost() -> io::Result<Duration> {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return Ok(Duration::ZERO);
    }
    let ping = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let pong = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let echo = thread::Builder::new().name("wake cost".to_owned()).spawn({
        let (ping, pong) = (Arc::clone(&ping), Arc::clone(&pong));
        move || {
            for _ in 0..ROUNDS {
                wait(&ping)?;
                ring(&pong)?;
            }
            io::Result::Ok(())
        }
    })?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        ring(&ping)?;
        wait(&pong)?;
        rounds.push(start.elapsed());
    }
    echo.join()
        .map_err(|_| io::Error::other("the measuring thread panicked"))??;
    rounds.sort_unstable();
    // A round is two wakes.
    Ok(rounds
        .get(ROUNDS / 2)
        .map_or(Duration::ZERO, |round| *round / 2)
        .min(DEAREST))
}

fn ring(eventfd: &rustix::fd::OwnedFd) -> io::Result<()> {
    rustix::io::write(eventfd, &1_u64.to_ne_bytes())?;
    Ok(())
}

fn wait(eventfd: &rustix::fd::OwnedFd) -> io::Result<()> {
    rustix::io::read(eventfd, &mut [0; 8])?;
    Ok(())
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

    #[test]
    fn a_wake_costs_no_more_than_is_believed() {
        assert!(wake_cost().unwrap() <= DEAREST);
    }
}
