//! Step 3, port: one vCPU's way to a device, the same interface over the ring, over the socket and
//! in the VMM's own process.

pub use outrigger_ring::{Access, Effect, Summary};

use crate::health::Event;

/// Why an access did not reach the device. The proxy answers the guest with all ones and drops
/// writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// No answer within the deadline.
    #[error("the device did not answer within its deadline")]
    TimedOut,
    /// The device's process went away.
    #[error("the device's process is gone")]
    PeerGone,
    /// The device's process broke the protocol.
    #[error("the device's process broke the protocol: {0}")]
    Corrupt(String),
}

impl PortError {
    /// What the VMM is told when this is the first failure.
    pub(crate) fn to_event(&self) -> Event {
        match self {
            Self::TimedOut => Event::TimedOut,
            Self::PeerGone => Event::Exited(None),
            Self::Corrupt(reason) => Event::Corrupt(reason.clone()),
        }
    }
}

/// One vCPU's way to a device. Accesses through one port take effect in program order.
pub trait Port: Send + std::fmt::Debug {
    /// A read: waits for the value.
    fn read(&mut self, access: Access) -> Result<u64, PortError>;

    /// A posted write (memory BARs): returns when it is on its way. A later read through any
    /// port of this device sees its effect.
    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError>;

    /// A posted write of one byte that has this effect on a mirrored register and no other.
    fn post_effect(&mut self, access: Access, value: u8, effect: Effect) -> Result<(), PortError> {
        let _ = effect;
        self.post(access, value.into())
    }

    /// What a mirrored register reads as now, after all writes that came before. `summaries` are
    /// those of the device's clear groups. Does not wait. `None`: only a read can tell.
    fn mirrored(&mut self, register: u32, summaries: &[Summary]) -> Result<Option<u8>, PortError> {
        let _ = (register, summaries);
        Ok(None)
    }

    /// A read of the bytes in `mask` of a read-to-clear group, which clears it. Does not wait.
    /// `None`: nothing was done, and only a read can tell.
    fn claim(&mut self, group: u32, mask: u16) -> Result<Option<u16>, PortError> {
        let _ = (group, mask);
        Ok(None)
    }

    /// A non-posted write (port I/O, config space): returns when it has taken effect.
    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError>;

    /// The guest has acknowledged the device's interrupt. `false`: the device hears of it by the
    /// interrupt's eventfd only.
    fn end_of_interrupt(&mut self) -> bool {
        false
    }
}
