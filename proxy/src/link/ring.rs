//! Step 3, port: a vCPU's accesses through shared memory.
//!
//! [`RingSetup`] is the proxy's half of the attachment that RING_SETUP and RING_DOORBELLS carry;
//! what they carry is specified in `docs/ring-protocol.md`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use outrigger_ring::{
    Access, Client, ClientSetup, Counters, Effect, Error, Geometry, PeerWatch, SetupError, Summary,
};

use crate::port::{Port, PortError};

/// Descriptors in one RING_DOORBELLS message at most.
const DOORBELLS_PER_MESSAGE: usize = 16;

/// Memories and doorbells made, the emulator not yet asked.
#[derive(Debug)]
pub(crate) struct RingSetup {
    setup: ClientSetup,
}

impl RingSetup {
    /// Makes what an attachment of `channels` vCPUs (1 to 64) with `slots` slots each (a power of
    /// two, 16 to 4096) needs.
    pub(crate) fn create(channels: u32, slots: u32) -> Result<Self, SetupError> {
        let setup = ClientSetup::new(Geometry::new(channels, slots)?)?;
        Ok(Self { setup })
    }

    /// What RING_SETUP carries: the requests memory and the mailboxes memory.
    pub(crate) fn memories(&self) -> [BorrowedFd<'_>; 2] {
        [self.setup.requests(), self.setup.mailboxes()]
    }

    /// What the RING_DOORBELLS messages carry: the first channel's number and the doorbells from
    /// there on.
    pub(crate) fn doorbells(&self) -> Vec<(u32, Vec<BorrowedFd<'_>>)> {
        let doorbells = self.setup.doorbells();
        let mut first = 0;
        let mut messages = Vec::new();
        for portion in doorbells.chunks(DOORBELLS_PER_MESSAGE) {
            messages.push((first, portion.to_vec()));
            first += u32::try_from(portion.len()).unwrap_or(u32::MAX);
        }
        messages
    }

    /// The emulator has answered RING_SETUP with these: a port for each channel. They work once the
    /// emulator has all doorbells. `connection` tells by its hang-up that the emulator is gone; no
    /// access waits longer than `deadline`.
    pub(crate) fn finish(
        self,
        device: OwnedFd,
        doorbell: OwnedFd,
        mirror_bytes: u32,
        connection: OwnedFd,
        deadline: Duration,
    ) -> Result<Vec<RingPort>, SetupError> {
        let watch = PeerWatch::Socket(Arc::new(connection));
        let clients = self
            .setup
            .finish(device, doorbell, mirror_bytes, &watch, deadline)?;
        Ok(clients
            .into_iter()
            .map(|client| RingPort { client })
            .collect())
    }
}

/// A port over a channel of its own: posted writes go into the channel's ring, the rest through its
/// mailbox.
#[derive(Debug)]
pub(crate) struct RingPort {
    client: Client,
}

impl RingPort {
    /// What the channel costs: crossings, doorbells, sleeps.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.client.counters()
    }
}

/// What a failed access means; an access that cannot travel (no BAR reaches so far) is answered as
/// a bus does.
fn port_error(error: Error) -> Result<u64, PortError> {
    match error {
        Error::TimedOut => Err(PortError::TimedOut),
        Error::PeerGone => Err(PortError::PeerGone),
        Error::Access => Ok(u64::MAX),
        Error::Corrupt(violation) => Err(PortError::Corrupt(violation.to_string())),
        error => {
            tracing::debug!(%error, "the ring failed");
            Err(PortError::PeerGone)
        }
    }
}

impl Port for RingPort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        let value = self.client.read(access).or_else(port_error)?;
        Ok(value & access.width.mask())
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let done = self.client.post(access, value);
        done.or_else(|error| port_error(error).map(drop))
    }

    fn post_effect(&mut self, access: Access, value: u8, effect: Effect) -> Result<(), PortError> {
        let done = self
            .client
            .post_effect(access.region, access.offset, value, effect);
        done.or_else(|error| port_error(error).map(drop))
    }

    fn mirrored(&mut self, register: u32, summaries: &[Summary]) -> Result<Option<u8>, PortError> {
        self.client
            .mirrored(register, summaries)
            .or_else(|error| port_error(error).map(|_| None))
    }

    fn claim(&mut self, group: u32, mask: u16) -> Result<Option<u16>, PortError> {
        self.client
            .claim(group, mask)
            .or_else(|error| port_error(error).map(|_| None))
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let done = self.client.write(access, value);
        done.or_else(|error| port_error(error).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use outrigger_ring::{Request, ServerSetup, Width};

    use super::*;

    const ACCESS: Access = Access {
        region: 1,
        offset: 0x20,
        width: Width::Word,
    };
    const CHANNELS: u32 = 18;

    fn own(fd: BorrowedFd<'_>) -> OwnedFd {
        fd.try_clone_to_owned().unwrap()
    }

    #[test]
    fn accesses_travel_in_order_through_any_port() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let setup = RingSetup::create(CHANNELS, 16).unwrap();
        let [requests, mailboxes] = setup.memories().map(own);
        let geometry = Geometry::new(CHANNELS, 16).unwrap();
        let mut server = ServerSetup::new(geometry, requests, mailboxes, 0).unwrap();
        for (first, doorbells) in setup.doorbells() {
            assert!(doorbells.len() <= 16);
            let doorbells = doorbells.into_iter().map(own).collect();
            server.add_doorbells(first, doorbells).unwrap();
        }
        let (device, doorbell) = (own(server.device()), own(server.doorbell()));
        let deadline = Duration::from_secs(60);
        let ports = setup.finish(device, doorbell, 0, ours.into(), deadline);
        let mut server = server.finish().unwrap();

        let worker = thread::spawn(move || {
            let mut sum = 0;
            let mut reads = 0;
            while reads < CHANNELS {
                server
                    .turn(|request| match request {
                        Request::Read(_) => {
                            reads += 1;
                            sum
                        }
                        Request::Write(_, value) => {
                            sum += value;
                            0
                        }
                    })
                    .unwrap();
            }
            drop(theirs);
        });
        let mut ports = ports.unwrap();
        let mut sum = 0;
        for port in &mut ports {
            port.post(ACCESS, 3).unwrap();
            port.write(ACCESS, 0x1_0001).unwrap();
            sum += 4;
            assert_eq!(port.read(ACCESS).unwrap(), sum);
            assert_eq!(port.counters().snapshot().crossings, 2);
        }
        worker.join().unwrap();
        let dead = ports[0].read(ACCESS);
        assert!(matches!(dead, Err(PortError::PeerGone)));
    }
}
