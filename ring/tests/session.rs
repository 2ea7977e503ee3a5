//! Whole sessions between threads, over real memfds and eventfds.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use outrigger_ring::{
    Access, Client, ClientSetup, Error, Geometry, PeerWatch, Request, Server, ServerSetup,
    Statistics, Width,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn access(offset: u64) -> Access {
    Access {
        region: 1,
        offset,
        width: Width::Dword,
    }
}

/// A session, and the worker's end of the socket that the clients watch.
fn session(channels: u32, slots: u32, deadline: Duration) -> (Vec<Client>, Server, OwnedFd) {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let client = ClientSetup::new(Geometry::new(channels, slots).unwrap()).unwrap();
    let dup = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let mut server = ServerSetup::new(
        client.geometry(),
        dup(client.requests()),
        dup(client.mailboxes()),
        0,
    )
    .unwrap();
    server
        .add_doorbells(0, client.doorbells().into_iter().map(dup).collect())
        .unwrap();
    let watch = PeerWatch::Socket(Arc::new(ours));
    let clients = client
        .finish(
            dup(server.device()),
            dup(server.doorbell()),
            0,
            &watch,
            deadline,
        )
        .unwrap();
    (clients, server.finish().unwrap(), theirs)
}

/// A device with one register; serves until `stop`, asleep whenever there is nothing.
fn worker(mut server: Server, stop: Arc<AtomicBool>) -> thread::JoinHandle<Statistics> {
    thread::spawn(move || {
        let mut register = 0;
        while !stop.load(Ordering::Relaxed) {
            let found = server
                .turn(|request| match request {
                    Request::Read(_) => register,
                    Request::Write(_, value) => {
                        register = value;
                        0
                    }
                })
                .unwrap();
            if !found && server.prepare_sleep() {
                let limit = Timespec {
                    tv_sec: 0,
                    tv_nsec: 50_000_000,
                };
                let bell = server.as_fd();
                poll(
                    &mut [PollFd::from_borrowed_fd(bell, PollFlags::IN)],
                    Some(&limit),
                )
                .unwrap();
            }
            server.awake();
            server.drain_doorbell();
        }
        server.statistics()
    })
}

#[test]
fn a_read_sees_the_writes_before_it() {
    let (clients, server, _socket) = session(3, 16, LONG);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = worker(server, Arc::clone(&stop));
    let mut count = 0;
    for (index, mut client) in (0_u64..).zip(clients) {
        for round in 0..200 {
            let last = index << 16 | round << 8 | 0x27;
            let writes = (0..0x28).map(|n| (access(n), index << 16 | round << 8 | n));
            client.post_all(writes).unwrap();
            assert_eq!(client.read(access(0)), Ok(last));
            client.write(access(4), last + 1).unwrap();
            assert_eq!(client.read(access(0)), Ok(last + 1));
            count += 0x28;
        }
        client.post(access(0), 5).unwrap();
        client.fence().unwrap();
        count += 1;
        let statistics = client.counters().snapshot();
        assert_eq!(
            (statistics.posted, statistics.crossings),
            (200 * 0x28 + 1, 600)
        );
    }
    stop.store(true, Ordering::Relaxed);
    let statistics = worker.join().unwrap();
    assert_eq!((statistics.posted, statistics.crossings), (count, 1800));
}

#[test]
fn nobody_serves_within_the_deadline() {
    let (mut clients, _server, _socket) = session(1, 16, SHORT);
    let client = clients.first_mut().unwrap();
    for n in 0..16 {
        client.post(access(n), n).unwrap();
    }
    assert_eq!(client.post(access(0), 0), Err(Error::TimedOut));
    assert_eq!(client.read(access(0)), Err(Error::TimedOut));
}

#[test]
fn a_peer_that_hangs_up_is_gone() {
    let (mut clients, _server, socket) = session(2, 16, LONG);
    drop(socket);
    let [reader, writer] = &mut clients[..] else {
        panic!()
    };
    assert_eq!(reader.read(access(0)), Err(Error::PeerGone));
    assert_eq!(reader.post(access(0), 0), Err(Error::PeerGone));
    let writes = (0..17).map(|n| (access(n), n));
    assert_eq!(writer.post_all(writes), Err(Error::PeerGone));
}

#[test]
fn an_access_that_cannot_travel_leaves_the_session_alone() {
    let (mut clients, server, _socket) = session(1, 16, LONG);
    let client = clients.first_mut().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let worker = worker(server, Arc::clone(&stop));
    for bad in [
        Access {
            region: 9,
            ..access(0)
        },
        access(u64::MAX - 3),
    ] {
        assert_eq!(client.read(bad), Err(Error::Access));
        assert_eq!(client.write(bad, 0), Err(Error::Access));
        assert_eq!(
            client.post_all([(access(0), 0x1_0000_0007), (bad, 0)]),
            Err(Error::Access)
        );
        assert_eq!(client.read(access(0)), Ok(7));
    }
    stop.store(true, Ordering::Relaxed);
    worker.join().unwrap();
}

#[test]
fn sleeping_workers_are_rung_once_for_a_sleep() {
    let (mut clients, mut server, _socket) = session(1, 64, LONG);
    let client = clients.first_mut().unwrap();
    let rung = |server: &Server| {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(
            &mut [PollFd::from_borrowed_fd(server.as_fd(), PollFlags::IN)],
            Some(&now),
        ) == Ok(1)
    };
    client.post(access(0), 0).unwrap();
    assert!(!rung(&server));
    assert!(!server.prepare_sleep());
    server.awake();
    assert_eq!(server.turn(|_| 0), Ok(true));
    for sent in 1..4 {
        assert!(server.prepare_sleep());
        assert!(!rung(&server));
        for n in 0..3 {
            client.post(access(n), n).unwrap();
        }
        assert!(rung(&server));
        assert_eq!(client.counters().snapshot().doorbells_sent, sent);
        server.awake();
        server.drain_doorbell();
        assert!(!rung(&server));
        assert_eq!(server.turn(|_| 0), Ok(true));
    }
    assert_eq!(server.statistics().blocks, 3);
    assert!(server.prepare_sleep());
    assert_eq!(client.worker_statistics().posted, 10);
    // What a client counts, the worker sees without asking.
    assert_eq!(server.client_statistics(), client.counters().snapshot());
}

#[test]
fn posted_writes_come_before_what_came_another_way() {
    let (mut clients, mut server, _socket) = session(2, 16, LONG);
    for (index, client) in (0..).zip(&mut clients) {
        client
            .post_all((0..16).map(|n| (access(0), index * 16 + n)))
            .unwrap();
    }
    let mut values = Vec::new();
    let apply = server.apply_posted(|request| {
        let Request::Write(_, value) = request else {
            panic!()
        };
        values.push(value);
        0
    });
    apply.unwrap();
    assert_eq!(values, (0..32).collect::<Vec<_>>());
    for client in &mut clients {
        assert_eq!(client.fence(), Ok(()));
    }
    assert_eq!(server.turn(|_| 0), Ok(false));
}
