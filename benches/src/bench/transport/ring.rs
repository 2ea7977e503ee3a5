//! The ring itself, through its public interface: the worker is a loop over [`Server::turn`].

use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use outrigger_ring::{
    Access, Client, ClientSetup, Geometry, PeerWatch, Request, Server, ServerSetup, Width,
    wake_cost,
};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::Waiting;
use crate::bench::clock::{Timed, time};
use crate::bench::cpus::{Cpus, Place};

const ACCESS: Access = Access {
    region: 1,
    offset: 0x14,
    width: Width::Dword,
};

/// Slots of the ring: the proxy's own choice.
const SLOTS: u32 = 256;
/// Posted writes between two looks at the clock.
const BURST: usize = 4096;

/// Both ends of a session, before they go to their threads.
#[derive(Debug)]
pub(in crate::bench) struct Session {
    pub(in crate::bench) client: Client,
    pub(in crate::bench) server: ServerSetup,
    /// Its end tells a server that sleeps that the client has gone.
    client_socket: Arc<rustix::fd::OwnedFd>,
    server_socket: UnixStream,
}

/// A session that mirrors this many registers.
pub(in crate::bench) fn connect(registers: u32) -> Result<Session> {
    let geometry = Geometry::new(1, SLOTS)?;
    let (client_socket, server_socket) = UnixStream::pair()?;
    let client_socket = Arc::new(rustix::fd::OwnedFd::from(client_socket));
    let client = ClientSetup::new(geometry)?;
    let requests = client.requests().try_clone_to_owned()?;
    let mailboxes = client.mailboxes().try_clone_to_owned()?;
    let mut server = ServerSetup::new(geometry, requests, mailboxes, registers)?;
    for (channel, doorbell) in (0..).zip(client.doorbells()) {
        server.add_doorbells(channel, vec![doorbell.try_clone_to_owned()?])?;
    }
    let device = server.device().try_clone_to_owned()?;
    let doorbell = server.doorbell().try_clone_to_owned()?;
    let watch = PeerWatch::Socket(Arc::clone(&client_socket));
    let mirror = server.mirror_bytes();
    let clients = client.finish(device, doorbell, mirror, &watch, Duration::from_secs(5))?;
    Ok(Session {
        client: clients.into_iter().next().context("no channel")?,
        server,
        client_socket,
        server_socket,
    })
}

/// Sets the flag when it goes: the client's end, however it came.
pub(super) struct Leaving<'a>(pub(super) &'a AtomicBool);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs a session: what `drive` does with the client.
fn run<T: Send>(
    cpus: Cpus,
    place: Place,
    waiting: Waiting,
    drive: impl FnOnce(&mut Client) -> Result<T> + Send,
) -> Result<T> {
    let Session {
        mut client,
        server,
        client_socket,
        server_socket,
    } = connect(0)?;
    let stop = &AtomicBool::new(false);
    cpus.pair(
        place,
        // Finished on its own thread: that is where the server learns its CPU.
        move || serve(server.finish()?, &server_socket, waiting, stop),
        move || {
            let _leaving = Leaving(stop);
            let result = drive(&mut client);
            drop((client, client_socket));
            result
        },
    )
}

fn serve(
    mut server: Server,
    socket: &UnixStream,
    waiting: Waiting,
    stop: &AtomicBool,
) -> Result<()> {
    // As the emulator waits: the doorbell's edges, and the client's end.
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mark = EventData::new_u64(0);
    epoll::add(&epoll, &server, mark, EventFlags::IN | EventFlags::ET)?;
    epoll::add(&epoll, socket, mark, EventFlags::RDHUP)?;
    let mut register = 0;
    let mut idle_since = None;
    loop {
        let found = server.turn(|request| match request {
            Request::Read(_) => register,
            Request::Write(_, value) => {
                register = value;
                0
            }
        })?;
        if found {
            idle_since = None;
            continue;
        }
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let now = Instant::now();
        let idle = now - *idle_since.get_or_insert(now);
        let spin = match waiting {
            Waiting::Spinning => true,
            Waiting::Sleeping => false,
            Waiting::Adaptive => server.polling_pays() && idle < wake_cost(),
        };
        if spin {
            continue;
        }
        if server.prepare_sleep() {
            epoll::wait(&epoll, &mut [MaybeUninit::uninit(); 2], None)?;
        }
        server.awake();
        idle_since = None;
    }
}

/// Crossings: reads through the mailbox.
pub(super) fn reads(cpus: Cpus, place: Place, waiting: Waiting, budget: Duration) -> Result<Timed> {
    run(cpus, place, waiting, |client| {
        time(budget, || {
            std::hint::black_box(client.read(ACCESS)?);
            Ok(())
        })
    })
}

/// Posted writes per second, `batch` of them at a time; the worker spins.
pub(super) fn posts(cpus: Cpus, batch: usize, budget: Duration) -> Result<f64> {
    run(cpus, Place::TwoCpus, Waiting::Spinning, |client| {
        let writes = vec![(ACCESS, 0x1234_5678); batch];
        let start = Instant::now();
        let mut sent = 0_u64;
        while start.elapsed() < budget {
            for _ in 0..BURST / batch {
                client.post_all(writes.iter().copied())?;
                sent += batch as u64;
            }
        }
        client.fence()?;
        #[expect(clippy::cast_precision_loss, reason = "messages of a short run")]
        Ok(sent as f64 / start.elapsed().as_secs_f64())
    })
}

/// How long `count` crossings take, both ends spinning.
pub(crate) fn time_reads(cpus: Cpus, count: u64) -> Result<Duration> {
    run(cpus, Place::TwoCpus, Waiting::Spinning, |client| {
        let start = Instant::now();
        for _ in 0..count {
            std::hint::black_box(client.read(ACCESS)?);
        }
        Ok(start.elapsed())
    })
}

/// How long `count` posted writes take, `batch` of them at a time, until the worker has them all.
pub(crate) fn time_posts(cpus: Cpus, batch: usize, count: u64) -> Result<Duration> {
    run(cpus, Place::TwoCpus, Waiting::Spinning, |client| {
        let writes = vec![(ACCESS, 0x1234_5678); batch];
        let start = Instant::now();
        for _ in 0..count.div_ceil(batch as u64) {
            client.post_all(writes.iter().copied())?;
        }
        client.fence()?;
        Ok(start.elapsed())
    })
}
