//! Pieces of the transport that criterion repeats.

use std::time::Duration;

use anyhow::{Result, bail};

use super::cpus::Cpus;
use super::line;
use super::transport::ring;

/// Two CPUs to measure on.
#[derive(Debug)]
pub struct Bound(Cpus);

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// A bare cache line, there and back.
    Line,
    /// A read through the mailbox.
    Read,
    /// Posted writes, one each time, so many per call.
    Posted(usize),
}

impl Series {
    /// All that criterion repeats.
    pub const ALL: [Self; 5] = [
        Self::Line,
        Self::Read,
        Self::Posted(1),
        Self::Posted(4),
        Self::Posted(16),
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Line => "cache line",
            Self::Read => "read",
            Self::Posted(1) => "posted write",
            Self::Posted(4) => "posted write, batch 4",
            Self::Posted(_) => "posted write, batch 16",
        }
    }
}

impl Bound {
    /// The first two CPUs that this process may use.
    ///
    /// # Errors
    /// If there is only one.
    pub fn new() -> Result<Self> {
        let cpus = Cpus::allowed()?;
        if !cpus.are_two() {
            bail!("one CPU only");
        }
        // Before threads are bound: a bound thread cannot measure it.
        let _ = outrigger_ring::wake_cost();
        Ok(Self(cpus))
    }

    /// How long `count` of them take, each end bound to its CPU.
    ///
    /// # Errors
    /// If threads, memory or descriptors run out.
    pub fn repeat(&self, series: Series, count: u64) -> Result<Duration> {
        match series {
            Series::Line => line::time_trips(self.0, count),
            Series::Read => ring::time_reads(self.0, count),
            Series::Posted(batch) => ring::time_posts(self.0, batch, count),
        }
    }
}
