//! What the VMM chooses at attach.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_ring::Geometry;

use crate::error::Error;

/// The longest deadline: far more than any answer takes, and a time that can be added to any other.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where the emulator is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Endpoint {
    /// It listens on this UNIX socket.
    Path(PathBuf),
    /// It has the other end of this connected UNIX stream socket.
    Socket(OwnedFd),
}

/// How accesses travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// Rings in shared memory.
    Ring,
    /// Messages on the control connection.
    Socket,
}

/// What becomes of guest RAM in a file that others could cut short: a memfd without F_SEAL_SHRINK,
/// or any other file.
///
/// The emulator gets a descriptor of that file. Outrigger's own closes it once it has mapped it,
/// and its sandbox has no call that cuts a file short. Whoever else has the descriptor could, and
/// the VMM, and the guest with it, would fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsealedMemory {
    /// It is handed over, and the log says so.
    #[default]
    Warn,
    /// It is handed over: the VMM trusts the emulator's sandbox, or handles SIGBUS.
    Accept,
    /// It is an error.
    Refuse,
}

/// What the VMM chooses at attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// How many vCPUs will have a port: at least 1.
    pub vcpus: u32,
    /// How accesses shall travel. An emulator that does not know the rings is used over the socket
    /// instead; [`Proxy::transport`](crate::Proxy::transport) tells.
    pub transport: Transport,
    /// Posted writes that one vCPU can have on their way over a ring: a power of two, 16 to 4096.
    pub ring_slots: u32,
    /// How long the emulator may take for one answer: 1 ms to an hour.
    pub deadline: Duration,
    /// Whether guest RAM must be sealed against shrinking.
    pub unsealed_memory: UnsealedMemory,
}

impl Default for ProxyOptions {
    /// One vCPU, over rings of 256 slots, with a deadline of 5 seconds; guest RAM that is not
    /// sealed is warned of.
    fn default() -> Self {
        Self {
            vcpus: 1,
            transport: Transport::Ring,
            ring_slots: 256,
            deadline: Duration::from_secs(5),
            unsealed_memory: UnsealedMemory::Warn,
        }
    }
}

impl ProxyOptions {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.vcpus == 0 {
            return Err(Error::Option {
                name: "vcpus",
                value: 0,
                mend: "a device needs at least one port",
            });
        }
        if self.deadline < Duration::from_millis(1) {
            return Err(Error::Option {
                name: "deadline",
                value: 0,
                mend: "give the emulator at least 1 ms",
            });
        }
        if self.deadline > LONGEST {
            return Err(Error::Option {
                name: "deadline",
                value: self.deadline.as_secs(),
                mend: "an hour (3600 s) is the longest",
            });
        }
        if self.transport == Transport::Ring {
            // Before the emulator is asked for anything.
            Geometry::new(self.vcpus, self.ring_slots)?;
        }
        Ok(())
    }
}
