//! A worker's call is bounded in requests and in time, whatever the rings hold, and the order of accesses is kept over calls.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use outrigger_ring::{
    Access, Client, ClientSetup, Geometry, Mirrored, PeerWatch, Request, Serve, Server,
    ServerSetup, Width,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

const ACCESS: Access = Access {
    region: 1,
    offset: 0x34,
    width: Width::Dword,
};

const CHANNELS: u32 = Geometry::MAX_CHANNELS;
const SLOTS: u32 = Geometry::MAX_SLOTS;

/// Requests that a call serves at most when the time is never up, and when it always is.
const TURN: u64 = 1024;
const PORTION: u64 = 64;

/// The largest session that there is, and the worker's end of the socket that the clients watch.
fn session() -> (Vec<Client>, Server, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let geometry = Geometry::new(CHANNELS, SLOTS).unwrap();
    let client = ClientSetup::new(geometry).unwrap();
    let dup = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let (requests, mailboxes) = (dup(client.requests()), dup(client.mailboxes()));
    let mut server = ServerSetup::new(geometry, requests, mailboxes, 0).unwrap();
    for (first, doorbell) in (0..).zip(client.doorbells()) {
        server.add_doorbells(first, vec![dup(doorbell)]).unwrap();
    }
    let watch = PeerWatch::Socket(Arc::new(ours));
    let (device, doorbell) = (dup(server.device()), dup(server.doorbell()));
    let deadline = Duration::from_secs(60);
    let clients = client.finish(device, doorbell, 0, &watch, deadline);
    (clients.unwrap(), server.finish().unwrap(), theirs)
}

/// Fills the rings of these clients.
fn fill(clients: &mut [Client]) -> u64 {
    let mut count = 0;
    for client in clients {
        let writes = (0..SLOTS).map(|value| (ACCESS, value.into()));
        client.post_all(writes).unwrap();
        count += u64::from(SLOTS);
    }
    count
}

/// Counts what it serves; a read gives how many writes there were before.
#[derive(Default)]
struct Counter {
    writes: u64,
    reads: u64,
    time_is_up: bool,
}

impl Serve for Counter {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        match request {
            Request::Read(_) => {
                self.reads += 1;
                self.writes
            }
            Request::Write(..) => {
                self.writes += 1;
                0
            }
        }
    }

    fn mirrored(&self, _: u32) -> Option<Mirrored> {
        None
    }

    fn is_time_up(&mut self) -> bool {
        self.time_is_up
    }
}

/// Full rings, and a vCPU that reads: it waits for all of them, and the worker comes back from each call all the same.
#[test]
fn a_read_behind_full_rings_is_answered_over_many_calls() {
    for (time_is_up, most) in [(false, TURN), (true, PORTION)] {
        let (mut clients, mut server, _socket) = session();
        let mut reader = clients.pop().unwrap();
        let posted = fill(&mut clients);
        let reading = std::thread::spawn(move || reader.read(ACCESS));
        let mut device = Counter {
            time_is_up,
            ..Counter::default()
        };
        while !reading.is_finished() {
            let before = device.writes + device.reads;
            let found = server.look_with(&mut device).unwrap();
            let served = device.writes + device.reads - before;
            // The read itself may come on top.
            assert!(served <= most + 1, "{served}");
            assert!(!server.is_in_turn() || time_is_up && found);
            // The time was up, or nothing is left: a worker sleeps only when that is so.
            assert!(!found || served > 0);
        }
        assert_eq!(reading.join().unwrap(), Ok(posted));
        assert_eq!((device.writes, device.reads), (posted, 1));
    }
}

/// A command that came another way waits for what was there when it came, and for nothing more.
#[test]
fn a_command_waits_over_many_calls_for_what_came_before_it() {
    for (time_is_up, most) in [(false, TURN), (true, PORTION)] {
        let (mut clients, mut server, _socket) = session();
        let mut late = clients.pop().unwrap();
        let posted = fill(&mut clients);
        let mut device = Counter {
            time_is_up,
            ..Counter::default()
        };
        let mut calls = 0;
        loop {
            let before = device.writes;
            let done = server.apply_some_with(&mut device).unwrap();
            assert!(device.writes - before <= most);
            calls += 1;
            if done {
                break;
            }
            assert!(!server.prepare_sleep(), "it is not forgotten");
            server.awake();
            // Nothing overtakes it.
            let before = device.writes;
            assert_eq!(server.look_with(&mut device), Ok(true));
            assert_eq!(device.writes, before);
            if calls <= 10 {
                late.post(ACCESS, 0).unwrap();
            }
        }
        assert_eq!(device.writes, posted, "none that came later");
        assert_eq!(server.look_with(&mut device), Ok(true));
        assert_eq!(device.writes, posted + 10);
    }
}

/// The device goes on when a turn is complete, not when its time was up in the middle: it sees all that was written before.
#[test]
fn a_turn_is_complete_after_its_requests_although_the_time_was_up() {
    let (mut clients, mut server, _socket) = session();
    fill(&mut clients[..1]);
    let mut device = Counter {
        time_is_up: true,
        ..Counter::default()
    };
    let mut complete = Vec::new();
    while server.look_with(&mut device).unwrap() {
        if !server.is_in_turn() {
            complete.push(device.writes);
        }
    }
    assert!(!server.is_in_turn());
    assert_eq!(complete, [1, 2, 3, 4].map(|turns| turns * TURN));
    device.time_is_up = false;
    fill(&mut clients[..1]);
    while server.look_with(&mut device).unwrap() {
        assert!(!server.is_in_turn());
    }
    assert_eq!(device.writes, 2 * u64::from(SLOTS));
}
