//! Which CPUs the two ends of a measurement run on.

use std::fmt;
use std::thread;

use anyhow::{Result, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where two ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Each on a CPU of its own.
    TwoCpus,
    /// Both on one.
    OneCpu,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TwoCpus => "two CPUs",
            Self::OneCpu => "same CPU",
        })
    }
}

/// The two CPUs that measurements are bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    /// The asking end's: a vCPU's.
    pub(crate) client: usize,
    /// The answering end's: the device's. The same where there is one CPU only.
    pub(crate) server: usize,
}

impl Cpus {
    /// The first two that this process may use.
    pub(crate) fn allowed() -> Result<Self> {
        let set = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
        let client = allowed.next().ok_or_else(|| anyhow!("no CPU"))?;
        let server = allowed.next().unwrap_or(client);
        Ok(Self { client, server })
    }

    /// Whether two ends can run at once.
    pub(crate) const fn are_two(self) -> bool {
        self.client != self.server
    }

    /// Runs both ends, each on a thread bound to its CPU, and returns what the client found. The server has to end
    /// once the client's closure, with all that it owns, is gone.
    pub(crate) fn pair<T: Send>(
        self,
        place: Place,
        server: impl FnOnce() -> Result<()> + Send,
        client: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let server_cpu = match place {
            Place::TwoCpus => self.server,
            Place::OneCpu => self.client,
        };
        thread::scope(|scope| {
            let server = scope.spawn(move || {
                bind(server_cpu)?;
                server()
            });
            let client = scope.spawn(move || {
                bind(self.client)?;
                client()
            });
            let found = client
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the client panicked")));
            let served = server
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the server panicked")));
            // A server that lost its client is only the echo of what the client says.
            let found = found?;
            served?;
            Ok(found)
        })
    }

    /// Runs this on a thread bound to the client's CPU.
    pub(crate) fn alone<T: Send>(self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.pair(Place::TwoCpus, || Ok(()), work)
    }
}

/// Binds the calling thread to one CPU.
pub(crate) fn bind(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}
