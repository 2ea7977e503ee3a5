//! Two processes play ping-pong over a session: round trips as a multiple of what a bare cache line takes.
//!
//! The parent is the client, the child (the same program, with a socket as its standard input) the worker. For
//! figures that mean something: two idle CPUs and a release build.

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_ring::{
    Access, ClientSetup, Geometry, PeerWatch, Request, ServerSetup, Width, wake_cost,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

const ROUNDS: u32 = 20_000;
const ACCESS: Access = Access {
    region: 0,
    offset: 0,
    width: Width::Qword,
};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker();
    }
    let (socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("worker")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;

    let setup = ClientSetup::new(Geometry::new(1, 64)?)?;
    let mut fds = vec![setup.requests(), setup.mailboxes()];
    fds.extend(setup.doorbells());
    send(socket.as_fd(), &fds)?;
    let [device, doorbell] = receive(socket.as_fd())?;
    let watch = PeerWatch::Socket(Arc::new(socket.into()));
    let mut clients = setup.finish(device, doorbell, 0, &watch, Duration::from_secs(5))?;
    let client = clients.first_mut().ok_or("no channel")?;

    let line = line_round_trip();
    let mut trips = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let pong = client.read(ACCESS)?;
        trips.push(start.elapsed());
        assert_eq!(pong, u64::from(round));
    }
    trips.sort_unstable();
    println!("cache line: {line:?} there and back");
    for (name, trip) in [
        ("p50", trips[trips.len() / 2]),
        ("p99", trips[trips.len() / 100 * 99]),
    ] {
        println!(
            "{name}: {trip:?}, {:.2} x the line",
            trip.as_secs_f64() / line.as_secs_f64()
        );
    }
    println!("{:?}", client.counters().snapshot());

    // The worker sees the socket's end, and ends.
    drop((clients, watch));
    child.wait()?;
    Ok(())
}

/// Answers each read with the number of reads before it, until the client hangs up.
fn worker() -> Result<(), Box<dyn Error>> {
    let socket = io::stdin();
    let [requests, mailboxes, doorbell] = receive(socket.as_fd())?;
    let mut setup = ServerSetup::new(Geometry::new(1, 64)?, requests, mailboxes, 0)?;
    setup.add_doorbells(0, vec![doorbell])?;
    send(socket.as_fd(), &[setup.device(), setup.doorbell()])?;
    let mut server = setup.finish()?;
    let mut count = 0;
    let mut last = Instant::now();
    loop {
        let found = server.turn(|request| match request {
            Request::Read(_) => {
                count += 1;
                count - 1
            }
            Request::Write(..) => 0,
        })?;
        if found {
            last = Instant::now();
        } else if !server.polling_pays() || last.elapsed() > wake_cost() {
            if server.prepare_sleep() {
                let bell = PollFd::from_borrowed_fd(server.as_fd(), PollFlags::IN);
                let mut fds = [bell, PollFd::new(&socket, PollFlags::RDHUP)];
                poll(&mut fds, None)?;
                let [_, hang_up] = fds.map(|fd| fd.revents());
                if !hang_up.is_empty() {
                    return Ok(());
                }
            }
            server.awake();
            server.drain_doorbell();
        }
    }
}

/// The machine's own limit: two threads pass one line back and forth.
fn line_round_trip() -> Duration {
    let ball = AtomicU64::new(0);
    let pass = |from| {
        while ball.load(Ordering::Acquire) != from {}
        ball.store(from + 1, Ordering::Release);
    };
    thread::scope(|scope| {
        scope.spawn(|| (0..u64::from(ROUNDS)).for_each(|round| pass(2 * round + 1)));
        let start = Instant::now();
        (0..u64::from(ROUNDS)).for_each(|round| pass(2 * round));
        start.elapsed() / ROUNDS
    })
}

fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(
        socket,
        &[io::IoSlice::new(b"!")],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn receive<const N: usize>(socket: BorrowedFd<'_>) -> Result<[OwnedFd; N], Box<dyn Error>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    fds.try_into()
        .map_err(|_| "other descriptors than expected came".into())
}
