//! Rings beside the socket: attached, in order with it, and gone when they have to be.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_ring::{Access, ClientSetup, Geometry, PeerWatch, Width};
use outrigger_vfio_user::{Capabilities, RingDoorbells, RingSetup};
use rustix::fs::{MemfdFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;

use super::device::LINE;
use super::*;

const EINVAL: i32 = Errno::INVAL.raw_os_error();
const OFFER: &[u8] = b"{\"capabilities\":{\"outrigger_ring\":{\"version\":1}}}\0";
const SETUP: RingSetup = RingSetup {
    version: 1,
    channels: 2,
    slots: 64,
    reserved: 0,
};

fn geometry() -> Geometry {
    Geometry::new(SETUP.channels, SETUP.slots).unwrap()
}

fn byte(offset: u64) -> Access {
    Access {
        region: 1,
        offset,
        width: Width::Byte,
    }
}

/// A client that has offered the rings and was confirmed.
pub(super) fn offered(server: &mut Server) -> Client {
    let mut client = server.connect();
    let version = Version {
        major: 0,
        minor: 1,
        data: OFFER,
    };
    let answered = client.ask(server, &Request::Version(version), &[]);
    let Reply::Version(reply) = answered.parse() else {
        panic!("{answered:?}")
    };
    let capabilities = Capabilities::parse(reply.data).unwrap();
    assert_eq!(
        capabilities.outrigger_ring.map(|ring| ring.version),
        Some(1)
    );
    client
}

/// A client with rings that it does not use.
pub(super) fn attached(server: &mut Server) -> Client {
    let mut client = offered(server);
    attach(server, &mut client);
    client
}

fn doorbells(first: u32, count: u32) -> Request<'static> {
    Request::RingDoorbells(RingDoorbells { first, count })
}

/// Rings, live, one client for each channel.
pub(super) fn attach(server: &mut Server, client: &mut Client) -> Vec<outrigger_ring::Client> {
    let setup = ClientSetup::new(geometry()).unwrap();
    let memories = [setup.requests(), setup.mailboxes()];
    let mut answered = client.ask(server, &Request::RingSetup(SETUP), &memories);
    let Reply::RingReady(ready) = answered.parse() else {
        panic!("{answered:?}")
    };
    assert_eq!(ready.version, 1);
    let doorbell = answered.fds.pop().unwrap();
    let device = answered.fds.pop().unwrap();
    assert!(answered.fds.is_empty());
    // One by one, as a client with more than 16 has to do it.
    for (channel, fd) in (0..).zip(setup.doorbells()) {
        assert_eq!(client.ask(server, &doorbells(channel, 1), &[fd]).errno(), 0);
    }
    let socket = client.socket.try_clone().unwrap();
    let watch = PeerWatch::Socket(Arc::new(socket.into()));
    setup
        .finish(
            device,
            doorbell,
            ready.mirror_bytes,
            &watch,
            Duration::from_secs(10),
        )
        .unwrap()
}

/// Runs `work` on a thread while the worker serves, sleeping whenever there is nothing to do.
fn meanwhile<T: Send + 'static>(
    server: &mut Server,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let done = Arc::new(AtomicBool::new(false));
    let waker = mio::Waker::new(server.worker.poll.registry(), Token(0)).unwrap();
    let thread = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let result = work();
            done.store(true, Ordering::Release);
            waker.wake().unwrap();
            result
        }
    });
    while !done.load(Ordering::Acquire) && !thread.is_finished() {
        server.worker.turn(Duration::from_millis(200));
    }
    thread.join().unwrap()
}

#[test]
fn what_was_posted_comes_before_the_next_command() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let mut rings = attach(&mut server, &mut client);
    for value in 1..=20_u8 {
        for ring in &mut rings {
            ring.post(byte(0x40), value.into()).unwrap();
        }
    }
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [20]);
    rings[0].post(byte(0x40), 21).unwrap();
    assert_eq!(
        client.ask(&mut server, &Request::DeviceReset, &[]).errno(),
        0
    );
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [0]);
    // The rings outlive the reset.
    rings[1].post(byte(0x40), 22).unwrap();
    server.turn();
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [22]);
}

#[test]
fn accesses_wake_a_worker_that_sleeps() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let trigger = eventfd();
    client.ask(
        &mut server,
        &wiring::set(wiring::TRIGGER_FD, 1, &[]),
        &[trigger.as_fd()],
    );
    let rings = attach(&mut server, &mut client);
    meanwhile(&mut server, move || {
        let threads: Vec<_> = (0..)
            .zip(rings)
            .map(|(n, mut ring)| {
                std::thread::spawn(move || {
                    for value in 0..200_u64 {
                        ring.post(byte(0x80 + n), value).unwrap();
                        assert_eq!(ring.read(byte(0x80 + n)).unwrap(), value);
                        ring.write(byte(0x90 + n), value).unwrap();
                    }
                    ring.post(byte(LINE), 1).unwrap();
                    assert_eq!(ring.read(byte(LINE)).unwrap(), 1);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    server.turn();
    assert_eq!(count(&trigger), 1);
    assert_eq!(client.read(&mut server, 1, 0x90, 2), [199, 199]);
}

#[test]
fn no_rings_without_an_agreement() {
    let mut server = Server::new();
    let mut client = server.attach();
    let setup = ClientSetup::new(geometry()).unwrap();
    let memories = [setup.requests(), setup.mailboxes()];
    for request in [Request::RingSetup(SETUP), doorbells(0, 1)] {
        let answered = client.ask(&mut server, &request, &memories);
        assert_eq!(answered.errno(), Errno::OPNOTSUPP.raw_os_error());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let setup = ClientSetup::new(geometry()).unwrap();
    let (requests, mailboxes) = (setup.requests(), setup.mailboxes());
    let file = memory(0x10_0000);
    let event = eventfd();
    let other = |setup: RingSetup| Request::RingSetup(setup);
    let cases: [(Request<'_>, &[BorrowedFd<'_>]); 11] = [
        (doorbells(0, 1), &[event.as_fd()]),
        (other(SETUP), &[]),
        (other(SETUP), &[requests]),
        (other(SETUP), &[mailboxes, requests]),
        (other(SETUP), &[requests, file.as_fd()]),
        (other(SETUP), &[requests, mailboxes, file.as_fd()]),
        (
            other(RingSetup {
                version: 2,
                ..SETUP
            }),
            &[requests, mailboxes],
        ),
        (
            other(RingSetup {
                reserved: 1,
                ..SETUP
            }),
            &[requests, mailboxes],
        ),
        (
            other(RingSetup {
                channels: 0,
                ..SETUP
            }),
            &[requests, mailboxes],
        ),
        (
            other(RingSetup {
                slots: u32::MAX,
                ..SETUP
            }),
            &[requests, mailboxes],
        ),
        (
            other(RingSetup {
                slots: 128,
                ..SETUP
            }),
            &[requests, mailboxes],
        ),
    ];
    for (request, fds) in cases {
        let answered = client.ask(&mut server, &request, fds);
        assert_eq!(answered.errno(), EINVAL, "{request:?}");
    }
    let bells = setup.doorbells();
    let bad: [(Request<'_>, &[BorrowedFd<'_>]); 5] = [
        (doorbells(1, 1), &bells[1..]),
        (doorbells(0, 2), &bells[..1]),
        (doorbells(0, 0), &[]),
        (doorbells(0, 3), &[bells[0], bells[1], bells[0]]),
        (doorbells(0, 1), &[file.as_fd()]),
    ];
    for (request, fds) in bad {
        let ready = client.ask(
            &mut server,
            &Request::RingSetup(SETUP),
            &[requests, mailboxes],
        );
        assert_eq!(ready.errno(), 0);
        assert_eq!(
            client.ask(&mut server, &request, fds).errno(),
            EINVAL,
            "{request:?}"
        );
        // The rings went with it.
        assert_eq!(
            client.ask(&mut server, &doorbells(0, 2), &bells).errno(),
            EINVAL
        );
    }
    // And the same client can still have some.
    let mut rings = attach(&mut server, &mut client);
    rings[0].post(byte(0x40), 5).unwrap();
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [5]);
}

#[test]
fn a_second_setup_ends_the_first() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let mut first = attach(&mut server, &mut client);
    first[0].post(byte(0x40), 1).unwrap();
    let mut second = attach(&mut server, &mut client);
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [1]);
    first[0].post(byte(0x40), 2).unwrap();
    second[0].post(byte(0x41), 3).unwrap();
    assert_eq!(client.read(&mut server, 1, 0x40, 2), [1, 3]);
}

/// A requests memory like this one, header and seals included, whose slots hold stamps and messages that no
/// client writes.
fn spoilt(like: BorrowedFd<'_>) -> OwnedFd {
    let like = std::fs::File::from(like.try_clone_to_owned().unwrap());
    let mut bytes = vec![0xff; usize::try_from(like.metadata().unwrap().len()).unwrap()];
    like.read_exact_at(&mut bytes[..0x1000], 0).unwrap();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = std::fs::File::from(memfd_create("spoilt", flags).unwrap());
    memory.write_all_at(&bytes, 0).unwrap();
    fcntl_add_seals(&memory, fcntl_get_seals(&like).unwrap()).unwrap();
    memory.into()
}

#[test]
fn a_client_that_breaks_the_ring_protocol_is_sent_away() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let setup = ClientSetup::new(geometry()).unwrap();
    let requests = spoilt(setup.requests());
    let memories = [requests.as_fd(), setup.mailboxes()];
    let ready = client.ask(&mut server, &Request::RingSetup(SETUP), &memories);
    assert_eq!(ready.errno(), 0);
    client.send(&doorbells(0, 2), &setup.doorbells(), false);
    server.turn();
    assert!(client.is_closed());
    let mut next = offered(&mut server);
    let mut rings = attach(&mut server, &mut next);
    rings[0].post(byte(0x40), 7).unwrap();
    assert_eq!(next.read(&mut server, 1, 0x40, 1), [7]);
}

#[test]
fn rings_go_with_their_client() {
    let mut server = Server::new();
    let mut client = offered(&mut server);
    let mut rings = attach(&mut server, &mut client);
    rings[0].post(byte(0x40), 1).unwrap();
    // A watch on the socket keeps it open: hang up.
    client.socket.shutdown(std::net::Shutdown::Both).unwrap();
    server.turn();
    assert!(!server.worker.export.has_ring());
    let _ = rings[0].post(byte(0x40), 1);
    let mut next = server.attach();
    assert_eq!(next.read(&mut server, 1, 0x40, 1), [0]);
}
