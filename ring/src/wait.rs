//! Step 4, ring: waiting for a peer: spin for a learnt while, then sleep, never beyond the
//! deadline.

use std::time::Duration;
#[cfg(not(loom))]
use std::time::Instant;

use crate::doorbell::{Alarm, Wake};
use crate::error::Error;
use crate::memory::OwnLines;
use crate::sync::{Ordering, fence};

#[cfg(not(loom))]
pub use pace::wake_cost;
#[cfg(not(loom))]
pub(crate) use pace::{LOOKS, Pace, breathe, pinned_cpu};

/// How a wait went, for the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    /// It was longer than a first look.
    pub(crate) spun: bool,
    /// So many times the thread slept.
    pub(crate) slept: u64,
}

/// A client's way to wait for its worker.
#[derive(Debug)]
pub(crate) struct Sleeper {
    /// "The client sleeps": the number of the sleep, 0 while awake. Word 0 of the body: the CPU
    /// that the thread is bound to.
    pub(crate) flag: OwnLines,
    pub(crate) alarm: Alarm,
    pub(crate) deadline: Duration,
    /// Sleeps so far.
    pub(crate) number: u64,
    #[cfg(not(loom))]
    pub(crate) pace: Pace,
}

impl Sleeper {
    /// Looks for what a worker that is awake has ready within a few line transfers. Not at all when
    /// the peer can only run where this thread runs.
    #[cfg(not(loom))]
    pub(crate) fn glimpse<T>(
        &mut self,
        peer_cpu: u64,
        mut ready: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        if self.pace.shares_cpu(peer_cpu) {
            return Ok(None);
        }
        pace::look(pace::GLIMPSES, &mut ready)
    }

    /// The model looks when it waits.
    #[cfg(loom)]
    pub(crate) fn glimpse<T>(
        &mut self,
        _: u64,
        _: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(None)
    }

    /// Waits until `ready` gives something. `peer_cpu` is the CPU that the worker says it is bound
    /// to (plus 1, 0 for none).
    pub(crate) fn wait<T>(
        &mut self,
        peer_cpu: u64,
        mut ready: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<(T, Waited), Error> {
        let mut waited = Waited::default();
        #[cfg(not(loom))]
        if let Some(value) = pace::look(LOOKS, &mut ready)? {
            return Ok((value, waited));
        }
        waited.spun = true;
        #[cfg(not(loom))]
        let start = Instant::now();
        #[cfg(not(loom))]
        if let Some(value) = self.pace.spin(peer_cpu, start, &mut ready)? {
            return Ok((value, waited));
        }
        #[cfg(loom)]
        let _ = peer_cpu;

        loop {
            #[cfg(not(loom))]
            let left = self.deadline.saturating_sub(start.elapsed());
            #[cfg(loom)]
            let left = self.deadline;
            // A new number for each sleep, so that the worker rings once for each.
            self.number += 1;
            self.flag.at(0).set(self.number);
            // SYNC: pairs with the fence in `Server::wake`. Either the look below sees what the worker has published, or the
            // worker, which looks at the flag after it published, sees the flag and rings.
            fence(Ordering::SeqCst);
            let mut found = ready();
            let mut wake = Ok(Wake::Rung);
            if matches!(found, Ok(None)) {
                wake = self.alarm.sleep(left);
                waited.slept += 1;
                found = ready();
            }
            self.flag.at(0).set(0);
            if let Some(value) = found? {
                #[cfg(not(loom))]
                {
                    self.pace.learn_blocked(start.elapsed());
                    self.flag.at(0).fill_first(self.pace.refresh_cpu());
                }
                return Ok((value, waited));
            }
            match wake {
                Ok(Wake::Rung) if !left.is_zero() => {}
                Ok(Wake::Rung | Wake::TimedOut) => return Err(Error::TimedOut),
                Ok(Wake::PeerGone) => return Err(Error::PeerGone),
                Err(errno) => return Err(Error::Wait(errno.raw_os_error())),
            }
        }
    }
}

#[cfg(not(loom))]
mod pace {
    use std::sync::OnceLock;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    use crate::error::Error;
    use crate::sync::{Ordering, fence};

    /// Looks between two looks at the clock.
    pub(crate) const LOOKS: u32 = 16;

    /// Looks before the worker is looked after: together about 0.2 microseconds, a few line
    /// transfers.
    pub(crate) const GLIMPSES: u32 = 32;

    /// Between two looks at a line: lets no second load of it begin before the first has ended. A
    /// line that is polled without a break takes twice the time to travel.
    #[inline]
    pub(crate) fn breathe() {
        fence(Ordering::SeqCst);
    }

    /// Looks so many times for something.
    pub(super) fn look<T>(
        looks: u32,
        ready: &mut impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..looks {
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            breathe();
        }
        Ok(None)
    }

    /// What a wake costs where it cannot be measured.
    const USUAL: Duration = Duration::from_micros(50);

    /// How long to spin, learnt from how long the replies took.
    #[derive(Debug)]
    pub(crate) struct Pace {
        wake_cost: Duration,
        /// Moving average of the reply times, in nanoseconds.
        average: u64,
        /// The CPU that this thread is bound to, plus 1; 0 for none or not known yet.
        cpu: Option<u64>,
    }

    impl Pace {
        pub(crate) fn new(wake_cost: Duration) -> Self {
            Self {
                wake_cost,
                average: 0,
                cpu: None,
            }
        }

        /// As long as two wakes cost, if replies come within that: then the reply of a worker that
        /// had to be woken first is still met awake, and the two do not go on to wake each other.
        /// Else little, so that a change shows.
        pub(crate) fn budget(&self) -> Duration {
            let full = self.wake_cost * 2;
            if u128::from(self.average) <= full.as_nanos() {
                full
            } else {
                self.wake_cost / 8
            }
        }

        /// Spins for the budget; not at all when the peer can only run where this thread runs.
        pub(crate) fn spin<T>(
            &mut self,
            peer_cpu: u64,
            start: Instant,
            ready: &mut impl FnMut() -> Result<Option<T>, Error>,
        ) -> Result<Option<T>, Error> {
            if self.shares_cpu(peer_cpu) {
                return Ok(None);
            }
            let budget = self.budget();
            loop {
                // The clock was read before the looks that succeed: a reply is not held up to be
                // timed.
                let elapsed = start.elapsed();
                if elapsed >= budget {
                    return Ok(None);
                }
                if let Some(value) = look(LOOKS, ready)? {
                    self.learn(elapsed);
                    return Ok(Some(value));
                }
            }
        }

        /// A reply took this long, with a sleep: this side's wake-up and perhaps the worker's are
        /// in it. They must not count, or two sides that once slept would go on to sleep for each
        /// other's wake-ups alone.
        pub(crate) fn learn_blocked(&mut self, elapsed: Duration) {
            self.learn(elapsed.saturating_sub(self.wake_cost * 2));
        }

        fn learn(&mut self, elapsed: Duration) {
            let sample = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / 8;
            self.average = (self.average - self.average / 8).saturating_add(sample);
        }

        /// Whether the peer can only run where this thread runs.
        pub(crate) fn shares_cpu(&mut self, peer_cpu: u64) -> bool {
            let cpu = self.cpu();
            cpu != 0 && cpu == peer_cpu
        }

        fn cpu(&mut self) -> u64 {
            *self.cpu.get_or_insert_with(pinned_cpu)
        }

        /// Looks again at where the thread may run: where it has just slept, a system call more
        /// does not matter.
        pub(crate) fn refresh_cpu(&mut self) -> u64 {
            self.cpu = None;
            self.cpu()
        }
    }

    /// The one CPU that the calling thread may run on, plus 1; 0 if there are several.
    #[cold]
    pub(crate) fn pinned_cpu() -> u64 {
        let Ok(set) = sched_getaffinity(None) else {
            return 0;
        };
        if set.count() != 1 {
            return 0;
        }
        let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| set.is_set(cpu));
        cpu.and_then(|cpu| u64::try_from(cpu).ok())
            .map_or(0, |cpu| cpu + 1)
    }

    /// What it costs to wake a sleeping thread: about as long it pays to spin before sleeping.
    ///
    /// Measured at the first call, in a few milliseconds and with a thread of its own: a process
    /// that later forbids itself to start threads or to open files calls it before. The thread has
    /// ended when it returns. Between 10 and 200 microseconds; zero where the machine has one CPU
    /// only. A process bound to one CPU of several cannot measure it, and takes the usual cost: its
    /// peer may be bound to another.
    pub fn wake_cost() -> Duration {
        static COST: OnceLock<Duration> = OnceLock::new();
        *COST.get_or_init(|| {
            if is_single_cpu() {
                return Duration::ZERO;
            }
            let bound = thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
            (if bound { None } else { measure() })
                .unwrap_or(USUAL)
                .clamp(Duration::from_micros(10), Duration::from_micros(200))
        })
    }

    /// Whether the machine has one CPU. Where the kernel does not say, it has several.
    fn is_single_cpu() -> bool {
        std::fs::read_to_string("/sys/devices/system/cpu/online")
            .is_ok_and(|online| online.trim_end().bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Binds the calling thread to another CPU than `here`, if it may run on one. Otherwise the
    /// scheduler puts two threads that wake each other onto one CPU, where a wake costs a tenth.
    fn move_away(here: usize) {
        let Ok(allowed) = sched_getaffinity(None) else {
            return;
        };
        if let Some(cpu) = (0..CpuSet::MAX_CPU).find(|&cpu| cpu != here && allowed.is_set(cpu)) {
            let mut only = CpuSet::new();
            only.set(cpu);
            // Where it fails the measure is lower, which the caller's limit takes care of.
            let _ = sched_setaffinity(None, &only);
        }
    }

    /// Half the median round trip between two threads that sleep in between.
    fn measure() -> Option<Duration> {
        const ROUNDS: usize = 15;
        let there = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let back = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let ring = |fd| rustix::io::write(fd, &1_u64.to_ne_bytes()).is_ok();
        let wait = |fd| {
            let limit = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            let woken = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)) == Ok(1);
            woken && rustix::io::read(fd, &mut [0; 8]).is_ok()
        };
        let here = sched_getcpu();
        thread::scope(|scope| {
            let echo = || {
                move_away(here);
                (0..ROUNDS).all(|_| wait(&there) && ring(&back))
            };
            let echo = thread::Builder::new().spawn_scoped(scope, echo).ok()?;
            let mut trips: Vec<_> = (0..ROUNDS)
                .map_while(|_| {
                    let start = Instant::now();
                    (ring(&there) && wait(&back)).then(|| start.elapsed() / 2)
                })
                .collect();
            // The scope alone waits for the closure only: the thread would live on for a while.
            let answered = echo.join().ok()?;
            trips.sort_unstable();
            trips.get(ROUNDS / 2).copied().filter(|_| answered)
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn learns_when_spinning_does_not_pay() {
            let cost = Duration::from_micros(40);
            let mut pace = Pace::new(cost);
            assert_eq!(pace.budget(), cost * 2);
            for _ in 0..64 {
                pace.learn_blocked(Duration::from_millis(1));
            }
            assert_eq!(pace.budget(), cost / 8);
            for _ in 0..64 {
                pace.learn_blocked(cost + Duration::from_micros(3));
            }
            assert_eq!(pace.budget(), cost * 2);
        }

        #[test]
        fn does_not_spin_on_the_peers_cpu() {
            let mut pace = Pace::new(Duration::from_secs(60));
            pace.cpu = Some(1);
            let mut looks = 0;
            let mut look = || {
                looks += 1;
                Ok(None::<()>)
            };
            assert_eq!(pace.spin(1, Instant::now(), &mut look), Ok(None));
            assert_eq!(looks, 0);
        }

        #[test]
        fn average_cannot_overflow() {
            let mut pace = Pace::new(USUAL);
            for _ in 0..100 {
                pace.learn(Duration::MAX);
            }
            assert_eq!(pace.budget(), USUAL / 8);
        }

        #[test]
        fn wake_cost_is_in_range() {
            assert!(wake_cost() <= Duration::from_micros(200));
        }
    }
}
