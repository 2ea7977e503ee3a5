//! Step 4, ring: from geometry and descriptors to a session. The client snapshots, the worker
//! accepts, the client finishes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::client::Client;
use crate::consumer::Consumer;
use crate::doorbell::{Alarm, Doorbell, PeerWatch};
use crate::error::SetupError;
use crate::layout::{Geometry, Memory, READ_TO_CLEAR_LINES, mirror_bytes, mirror_lines};
use crate::limits::MAX_MIRRORED;
use crate::mailbox::{MailboxClient, MailboxServer};
use crate::mirror::{MirrorClient, MirrorServer, Posted};
use crate::producer::Producer;
use crate::read_to_clear::SnapshotServer;
use crate::server::{Channel, Server, Turn};
use crate::shared::{Made, Shared};
use crate::statistics::{Statistics, Tally};
use crate::wait::{Pace, Sleeper, pinned_cpu, wake_cost};

/// The client's half of a setup: memories and doorbells made, not yet answered.
#[derive(Debug)]
pub struct ClientSetup {
    geometry: Geometry,
    requests: Made,
    mailboxes: Made,
    doorbells: Vec<Doorbell>,
}

impl ClientSetup {
    /// Makes the requests and mailboxes memories, and a doorbell for each channel.
    ///
    /// # Errors
    /// [`SetupError::Io`]: no descriptors or memory left.
    pub fn new(geometry: Geometry) -> Result<Self, SetupError> {
        let requests = Made::create(Memory::Requests.shape(geometry))?;
        let mailboxes = Made::create(Memory::Mailboxes.shape(geometry))?;
        let doorbells = (0..geometry.channels())
            .map(|_| Doorbell::new())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            geometry,
            requests,
            mailboxes,
            doorbells,
        })
    }

    /// The session's shape.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// For the worker: the requests memory.
    #[must_use]
    pub fn requests(&self) -> BorrowedFd<'_> {
        self.requests.descriptor()
    }

    /// For the worker: the mailboxes memory.
    #[must_use]
    pub fn mailboxes(&self) -> BorrowedFd<'_> {
        self.mailboxes.descriptor()
    }

    /// For the worker: the channels' doorbells, from channel 0 on.
    #[must_use]
    pub fn doorbells(&self) -> Vec<BorrowedFd<'_>> {
        self.doorbells.iter().map(AsFd::as_fd).collect()
    }

    /// The worker has answered with its device memory and its doorbell: a client for each channel.
    ///
    /// No wait of a client takes longer than `deadline`; `watch` tells when the worker is gone. Use
    /// them once the worker has all doorbells. The first call in a process measures [`wake_cost`].
    ///
    /// # Errors
    /// Any [`SetupError`]: what came is not what the protocol asks for.
    pub fn finish(
        self,
        device: OwnedFd,
        doorbell: OwnedFd,
        mirror_bytes: u32,
        watch: &PeerWatch,
        deadline: Duration,
    ) -> Result<Vec<Client>, SetupError> {
        let Self {
            geometry,
            requests,
            mailboxes,
            doorbells,
        } = self;
        let memory = device_memory(mirrored(mirror_bytes)?)?;
        let device = Shared::adopt(device, memory.shape(geometry))?;
        let posted: Arc<[Posted]> = (0..geometry.channels())
            .map(|_| Posted::default())
            .collect();
        let mirror = |channel: u32| {
            let registers = mirrored(mirror_bytes)?;
            let lines = (registers != 0)
                .then(|| device.peer(geometry.mirror(), mirror_lines(registers)))
                .transpose()?;
            let consumed = (0..geometry.channels())
                .map(|channel| device.peer(Geometry::consumed(channel), 1))
                .collect::<Result<_, _>>()?;
            let own = usize::try_from(channel).unwrap_or(usize::MAX);
            let posted = Arc::clone(&posted);
            let clears = mailboxes.own(geometry.clears(), READ_TO_CLEAR_LINES)?;
            Ok::<_, SetupError>(MirrorClient::new(
                lines, registers, clears, posted, own, consumed,
            ))
        };
        let worker_doorbell = Doorbell::adopt(doorbell)?;
        let tickets = (geometry.channels() > 1).then(|| Arc::new(AtomicU64::new(0)));
        let wake_cost = wake_cost();
        let client = |(channel, doorbell)| {
            let slots = requests.own(geometry.slots_at(channel), geometry.slots().into())?;
            let sleeper = Sleeper {
                flag: requests.own(Geometry::client_flag(channel), 1)?,
                alarm: Alarm::new(doorbell, watch.clone())?,
                deadline,
                number: 0,
                pace: Pace::new(wake_cost),
            };
            Ok(Client {
                producer: Producer::new(slots, device.peer(Geometry::consumed(channel), 1)?),
                mailbox: MailboxClient::new(mailboxes.own(Geometry::mailbox(channel), 1)?),
                sleeper,
                worker: device.peer(Geometry::worker_flag(), 1)?,
                worker_statistics: device.peer(Geometry::statistics(), 1)?,
                doorbell: worker_doorbell.clone(),
                rung: 0,
                tickets: tickets.clone(),
                mirror: mirror(channel)?,
                failed: None,
                tally: Tally::new(requests.own(Geometry::client_statistics(channel), 1)?),
            })
        };
        (0..geometry.channels())
            .zip(doorbells)
            .map(client)
            .collect()
    }
}

/// The worker's half of a setup: the client's memories mapped, its own made, doorbells coming in.
#[derive(Debug)]
pub struct ServerSetup {
    geometry: Geometry,
    registers: u32,
    requests: Shared,
    mailboxes: Shared,
    device: Made,
    doorbell: Doorbell,
    clients: Vec<Doorbell>,
}

impl ServerSetup {
    /// Checks and maps the client's memories, and makes the device memory with a mirror of
    /// `registers` registers (at most [`MAX_MIRRORED`]) and the worker's doorbell.
    ///
    /// # Errors
    /// Any [`SetupError`]: what came is not what the protocol asks for. Nothing stays mapped or
    /// open.
    pub fn new(
        geometry: Geometry,
        requests: OwnedFd,
        mailboxes: OwnedFd,
        registers: u32,
    ) -> Result<Self, SetupError> {
        let requests = Shared::adopt(requests, Memory::Requests.shape(geometry))?;
        let mailboxes = Shared::adopt(mailboxes, Memory::Mailboxes.shape(geometry))?;
        let device = Made::create(device_memory(registers)?.shape(geometry))?;
        let doorbell = Doorbell::new()?;
        Ok(Self {
            geometry,
            registers,
            requests,
            mailboxes,
            device,
            doorbell,
            clients: Vec::new(),
        })
    }

    /// For the client: the device memory.
    #[must_use]
    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.descriptor()
    }

    /// For the client: the worker's doorbell.
    #[must_use]
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// For the client: the size of the register mirror.
    #[must_use]
    pub fn mirror_bytes(&self) -> u32 {
        mirror_bytes(self.registers)
    }

    /// The doorbells of the channels from `first` on. Every channel's comes once, in order.
    ///
    /// # Errors
    /// [`SetupError::DoorbellRange`] out of order or too many; [`SetupError::Doorbell`] for what is
    /// no non-blocking eventfd.
    pub fn add_doorbells(&mut self, first: u32, doorbells: Vec<OwnedFd>) -> Result<(), SetupError> {
        let count = doorbells.len();
        let room = (first..self.geometry.channels()).len();
        let expected = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        if first != expected || count > room {
            return Err(SetupError::DoorbellRange {
                first,
                count,
                expected,
            });
        }
        for doorbell in doorbells {
            self.clients.push(Doorbell::adopt(doorbell)?);
        }
        Ok(())
    }

    /// Whether every channel has its doorbell.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        (0..self.geometry.channels()).len() == self.clients.len()
    }

    /// The session, live.
    ///
    /// # Errors
    /// [`SetupError::DoorbellRange`] while doorbells are missing.
    pub fn finish(self) -> Result<Server, SetupError> {
        if !self.is_complete() {
            let expected = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
            return Err(SetupError::DoorbellRange {
                first: expected,
                count: 0,
                expected,
            });
        }
        let Self {
            geometry,
            registers,
            requests,
            mailboxes,
            device,
            doorbell,
            clients,
        } = self;
        let channel = |(channel, doorbell)| {
            let slots = requests.peer(geometry.slots_at(channel), geometry.slots().into())?;
            Ok(Channel {
                consumer: Consumer::new(slots, device.own(Geometry::consumed(channel), 1)?),
                mailbox: MailboxServer::new(mailboxes.own(Geometry::mailbox(channel), 1)?),
                client: requests.peer(Geometry::client_flag(channel), 1)?,
                claims: requests.peer(Geometry::client_statistics(channel), 1)?,
                doorbell,
                rung: 0,
                target: 0,
            })
        };
        let channels = (0..geometry.channels())
            .zip(clients)
            .map(channel)
            .collect::<Result<_, SetupError>>()?;
        let mirror = (registers != 0)
            .then(|| device.own(geometry.mirror(), mirror_lines(registers)))
            .transpose()?;
        let flag = device.own(Geometry::worker_flag(), 1)?;
        let cpu = pinned_cpu();
        flag.at(0).fill_first(cpu);
        Ok(Server {
            channels,
            flag,
            statistics_line: device.own(Geometry::statistics(), 1)?,
            doorbell,
            cpu,
            sleeps: 0,
            mirror: MirrorServer::new(mirror, usize::try_from(registers).unwrap_or(0)),
            snapshots: SnapshotServer::new(mailboxes.own(geometry.clears(), READ_TO_CLEAR_LINES)?),
            statistics: Statistics::default(),
            turn: Turn::default(),
            waiting: None,
            next: 0,
            failed: None,
        })
    }
}

/// The registers that a mirror of so many bytes has.
fn mirrored(bytes: u32) -> Result<u32, SetupError> {
    (0..=MAX_MIRRORED)
        .find(|&registers| mirror_bytes(registers) == bytes)
        .ok_or(SetupError::Mirror(bytes))
}

fn device_memory(registers: u32) -> Result<Memory, SetupError> {
    if registers > MAX_MIRRORED {
        return Err(SetupError::Mirror(mirror_bytes(registers)));
    }
    Ok(Memory::Device {
        mirror_bytes: mirror_bytes(registers),
    })
}

#[cfg(test)]
mod tests;
