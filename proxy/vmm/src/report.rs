//! What a run was like.

use std::time::Duration;

use crate::latency::LatencyHistogram;
use outrigger_proxy::Counters;

mod failed;

pub use failed::{FailedRequest, RequestError, Sense};

/// Exits of a vCPU from KVM to user space. All zero for a software vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// Port reads.
    pub port_reads: u64,
    /// Port writes.
    pub port_writes: u64,
    /// Reads of memory that is not RAM.
    pub memory_reads: u64,
    /// Writes to memory that is not RAM.
    pub memory_writes: u64,
    /// Signals.
    pub interrupted: u64,
}

impl Exits {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.port_reads
            + self.port_writes
            + self.memory_reads
            + self.memory_writes
            + self.interrupted
    }
}

/// Accesses of a vCPU that the device decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Reads of BARs.
    pub reads: u64,
    /// Writes to BARs.
    pub writes: u64,
    /// Reads of config space.
    pub config_reads: u64,
    /// Writes to config space.
    pub config_writes: u64,
}

impl Accesses {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.reads + self.writes + self.config_reads + self.config_writes
    }
}

/// What one vCPU did once the device was set up.
#[derive(Clone, Debug, Default)]
pub struct VcpuReport {
    /// Its exits to user space while it set the device up.
    pub setup_exits: Exits,
    /// Its accesses to the device while it set it up.
    pub setup_accesses: Accesses,
    /// Its exits to user space.
    pub exits: Exits,
    /// Its accesses to the device.
    pub accesses: Accesses,
    /// What they cost between the processes.
    pub costs: Counters,
    /// How long reads of BARs kept it in user space.
    pub read_latency: LatencyHistogram,
    /// How long writes to BARs kept it in user space.
    pub write_latency: LatencyHistogram,
    /// Context switches of its thread, voluntary and not.
    pub context_switches: u64,
    /// Interrupts that the device raised and this vCPU took; 0 for the second.
    pub interrupts: u64,
    /// What it wrote to the debug port.
    pub messages: Vec<u8>,
}

/// The chip's state when it stopped with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChipError {
    /// ISTAT0.
    pub istat0: u8,
    /// DSTAT.
    pub dstat: u8,
    /// SIST0.
    pub sist0: u8,
    /// SIST1.
    pub sist1: u8,
    /// DSPS: the code of an INT instruction.
    pub dsps: u32,
    /// DSP: after the instruction.
    pub dsp: u32,
}

/// Why a run did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It took longer than allowed.
    #[error("the run did not end within its time")]
    TimedOut,
    /// The host stopped it.
    #[error("the run was stopped")]
    Stopped,
    /// The chip stopped with an error.
    #[error("the chip stopped: {0:x?}")]
    Chip(ChipError),
    /// Config space does not begin with the chip's IDs.
    #[error("the chip is not there")]
    NoDevice,
    /// The guest met a processor exception.
    #[error("the guest met a processor exception")]
    Exception,
    /// A vCPU ended in another way than by its report.
    #[error("vCPU {vcpu} ended: {reason}")]
    Vcpu {
        /// Which.
        vcpu: usize,
        /// What KVM said.
        reason: String,
    },
}

/// Why a run was not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It did not come to its end.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// It came to its end, and requests failed: how many, and why.
    #[error("{0}")]
    Requests(String),
}

/// What a run was like.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests done, well or not.
    pub completed: u32,
    /// Those of them with a status that is not GOOD, or without a target.
    pub errors: u32,
    /// Each request's end: its status byte; `None` if it is not done or nothing answered the selection.
    pub statuses: Vec<Option<u8>>,
    /// The requests that failed, in their order, and why.
    pub failed: Vec<FailedRequest>,
    /// Reads of ISTAT0 by a second vCPU that polls.
    pub polls: u32,
    /// What each vCPU did.
    pub vcpus: Vec<VcpuReport>,
    /// From the start of the vCPUs to the last one's end, setting the chip up included.
    pub elapsed: Duration,
    /// The part of it after the device was set up.
    pub working: Duration,
    /// Why it did not come to its end.
    pub failure: Option<Failure>,
}

impl Report {
    /// Whether the run came to its end and every request was GOOD.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.failure.is_none() && self.errors == 0
    }

    /// Whether the run [was good](Self::is_good), and if not, why, in one line.
    ///
    /// # Errors
    /// It did not come to its end, or requests failed.
    pub fn outcome(&self) -> Result<(), RunError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        if self.failed.is_empty() {
            return Ok(());
        }
        let of = self.statuses.len();
        Err(RunError::Requests(failed::in_a_line(&self.failed, of)))
    }

    /// All vCPUs' exits to user space, without the setup.
    #[must_use]
    pub fn exits(&self) -> u64 {
        self.vcpus.iter().map(|vcpu| vcpu.exits.total()).sum()
    }

    /// All vCPUs' accesses, without the setup.
    #[must_use]
    pub fn accesses(&self) -> u64 {
        self.vcpus.iter().map(|vcpu| vcpu.accesses.total()).sum()
    }

    /// What all vCPUs' accesses cost between the processes, without the setup.
    #[must_use]
    pub fn costs(&self) -> Counters {
        self.vcpus
            .iter()
            .fold(Counters::default(), |sum, vcpu| sum.plus(vcpu.costs))
    }

    /// How long the vCPUs' accesses to BARs took, reads and writes together.
    #[must_use]
    pub fn latency(&self) -> LatencyHistogram {
        let mut all = LatencyHistogram::default();
        for vcpu in &self.vcpus {
            all.merge(&vcpu.read_latency);
            all.merge(&vcpu.write_latency);
        }
        all
    }
}
