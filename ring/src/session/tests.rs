//! A hostile peer: what it hands over at setup, and what it writes afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_setfl};

use super::*;
use crate::error::{Error, Violation};
use crate::layout::LINE;
use crate::message::{Access, Body, Message, Request, Width};

const SHORT: Duration = Duration::from_millis(5);
const ACCESS: Access = Access {
    region: 1,
    offset: 8,
    width: Width::Dword,
};

fn geometry() -> Geometry {
    Geometry::new(2, 16).unwrap()
}

fn own(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().unwrap()
}

/// A session whose memories stay reachable to misuse, and the socket that keeps the clients' peer alive.
struct Session {
    clients: Vec<Client>,
    server: Server,
    requests: Arc<Mapping>,
    mailboxes: Arc<Mapping>,
    device: Arc<Mapping>,
    _socket: UnixStream,
}

fn session() -> Session {
    let (ours, socket) = UnixStream::pair().unwrap();
    let client = ClientSetup::new(geometry()).unwrap();
    let mut server = ServerSetup::new(
        geometry(),
        own(client.requests()),
        own(client.mailboxes()),
        0,
    )
    .unwrap();
    let doorbells = client.doorbells().into_iter().map(own).collect();
    server.add_doorbells(0, doorbells).unwrap();
    let (requests, mailboxes) = (
        client.requests.mapping.clone(),
        client.mailboxes.mapping.clone(),
    );
    let device = server.device.mapping.clone();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let (memory, doorbell) = (own(server.device()), own(server.doorbell()));
    let clients = client.finish(memory, doorbell, 0, &watch, SHORT).unwrap();
    let server = server.finish().unwrap();
    Session {
        clients,
        server,
        requests,
        mailboxes,
        device,
        _socket: socket,
    }
}

fn put(mapping: &Arc<Mapping>, offset: u64, stamp: u64, body: Body) {
    let lines = mapping.own(offset, 1).unwrap();
    lines.at(0).fill(body);
    lines.at(0).release(stamp);
}

fn write(order: u64) -> Body {
    Message {
        request: Request::Write(ACCESS, 1),
        order,
        seen: None,
    }
    .encode()
}

/// A memfd with these bytes, size and seals.
fn memfd(bytes: &[u8], size: u64, seals: &[FileSeal]) -> OwnedFd {
    let memfd = MemfdOptions::new()
        .allow_sealing(true)
        .create("test")
        .unwrap();
    memfd.as_file().set_len(size).unwrap();
    rustix::io::pwrite(memfd.as_file(), bytes, 0).unwrap();
    memfd.add_seals(seals).unwrap();
    memfd.into_file().into()
}

const ALL: [FileSeal; 4] = [
    FileSeal::SealShrink,
    FileSeal::SealGrow,
    FileSeal::SealFutureWrite,
    FileSeal::SealSeal,
];

fn adopt(fd: OwnedFd, memory: Memory) -> Result<Shared, SetupError> {
    Shared::adopt(fd, memory, geometry())
}

#[test]
fn every_seal_is_needed() {
    let size = geometry().size(Memory::Requests);
    let bytes = header(Memory::Requests, geometry());
    assert!(adopt(memfd(&bytes, size, &ALL), Memory::Requests).is_ok());
    for missing in ALL {
        let seals: Vec<_> = ALL.into_iter().filter(|seal| *seal != missing).collect();
        let refused = adopt(memfd(&bytes, size, &seals), Memory::Requests);
        assert!(matches!(refused, Err(SetupError::Seals(_))), "{missing:?}");
    }
    let bytes = header(Memory::Mailboxes, geometry());
    let refused = adopt(memfd(&bytes, size, &ALL), Memory::Mailboxes);
    assert!(matches!(refused, Err(SetupError::Seals(_))));
}

#[test]
fn size_and_header_must_be_exact() {
    for memory in [Memory::Requests, Memory::Device { mirror_bytes: 5000 }] {
        let size = geometry().size(memory);
        let bytes = header(memory, geometry());
        assert!(adopt(memfd(&bytes, size, &ALL), memory).is_ok());
        for wrong in [64, size - 4096, size - 1, size + 1, size + 4096, 1 << 40] {
            let refused = adopt(memfd(&bytes, wrong, &ALL), memory);
            assert!(matches!(refused, Err(SetupError::Size { .. })), "{wrong}");
        }
        for at in 0..HEADER_BYTES {
            let mut bytes = bytes;
            bytes[at] ^= 0x81;
            let refused = adopt(memfd(&bytes, size, &ALL), memory);
            assert!(matches!(refused, Err(SetupError::Header(_))), "byte {at}");
        }
    }
}

#[test]
fn only_memfds_are_mapped() {
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    for fd in [pipe, file.into(), bell] {
        assert!(matches!(
            adopt(fd, Memory::Requests),
            Err(SetupError::NotMemfd(_))
        ));
    }
}

#[test]
fn sealed_memories_can_neither_shrink_nor_be_written_by_the_peer() {
    let setup = ClientSetup::new(geometry()).unwrap();
    for fd in [setup.requests(), setup.mailboxes()] {
        let file = File::from(own(fd));
        assert!(file.set_len(0).is_err());
        assert!(file.set_len(1 << 30).is_err());
    }
    assert!(Mapping::new(setup.requests(), 4096, true).is_err());
    let mut file = File::from(own(setup.requests()));
    assert!(file.write_all(b"x").is_err());
    let adopted = adopt(own(setup.requests()), Memory::Requests).unwrap();
    assert!(adopted.mapping.own(0, 1).is_none());
    let size = geometry().size(Memory::Requests);
    for (offset, lines) in [
        (size, 1),
        (0, size),
        (u64::MAX - 63, 1),
        (0, u64::MAX),
        (0, 0),
        (32, 1),
        (0, 3),
    ] {
        assert!(
            adopted.mapping.peer(offset, lines).is_none(),
            "{offset:#x} {lines}"
        );
    }
}

#[test]
fn swapped_memories_are_refused() {
    let setup = ClientSetup::new(geometry()).unwrap();
    assert!(
        ServerSetup::new(geometry(), own(setup.mailboxes()), own(setup.requests()), 0).is_err()
    );
    for other in [(1, 16), (3, 16), (2, 32)] {
        let other = Geometry::new(other.0, other.1).unwrap();
        let refused = ServerSetup::new(other, own(setup.requests()), own(setup.mailboxes()), 0);
        assert!(refused.is_err(), "{other:?}");
    }
    let large = ServerSetup::new(
        geometry(),
        own(setup.requests()),
        own(setup.mailboxes()),
        MAX_MIRRORED + 1,
    );
    assert!(matches!(large, Err(SetupError::Mirror(_))));
}

#[test]
fn doorbells_are_non_blocking_eventfds_in_order() {
    let setup = ClientSetup::new(geometry()).unwrap();
    let mut server =
        ServerSetup::new(geometry(), own(setup.requests()), own(setup.mailboxes()), 0).unwrap();
    let bell = || eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let (_reader, pipe) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let blocking = eventfd(0, EventfdFlags::empty()).unwrap();
    let file = memfd(b"", 64, &[]);
    for bad in [pipe, socket.into(), blocking, file] {
        assert!(matches!(Doorbell::adopt(bad), Err(SetupError::Doorbell)));
    }
    // Nothing was written to find out.
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    for (first, count) in [(1, 1), (u32::MAX, 1), (0, 3), (u32::MAX, 0)] {
        let bells = (0..count).map(|_| bell()).collect();
        assert!(matches!(
            server.add_doorbells(first, bells),
            Err(SetupError::DoorbellRange { .. })
        ));
    }
    assert!(!server.is_complete());
    server.add_doorbells(0, vec![bell()]).unwrap();
    assert!(server.add_doorbells(0, vec![bell()]).is_err());
    server.add_doorbells(1, vec![bell()]).unwrap();
    assert!(server.is_complete());
    assert!(server.add_doorbells(2, vec![bell()]).is_err());
    server.finish().unwrap();
}

#[test]
fn a_saturated_doorbell_that_was_made_blocking_blocks_nobody() {
    let bell = Doorbell::new().unwrap();
    let peers = own(bell.as_fd());
    rustix::io::write(&peers, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    fcntl_setfl(&peers, OFlags::empty()).unwrap();
    bell.ring();
    bell.drain();
    bell.drain();
    bell.ring();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    assert_eq!(bell.wait(&watch, SHORT), Ok(crate::doorbell::Wake::Rung));
    assert_eq!(
        bell.wait(&watch, SHORT),
        Ok(crate::doorbell::Wake::TimedOut)
    );
}

#[test]
fn a_slots_stamp_is_the_old_or_the_next_one() {
    for stamp in [2, 3, 15, 16, 17, 18, 1 << 32, u64::MAX - 1, u64::MAX] {
        let mut session = session();
        put(&session.requests, geometry().slots_at(1), stamp, write(0));
        assert!(!session.server.prepare_sleep());
        let corrupt = Error::Corrupt(Violation::Stamp {
            expected: 1,
            found: stamp,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt), "{stamp:#x}");
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
    let mut session = session();
    put(
        &session.requests,
        geometry().slots_at(1),
        1,
        write(u64::MAX),
    );
    assert_eq!(session.server.turn(|_| 0), Ok(true));
    // The second slot still says what it said before.
    put(
        &session.requests,
        geometry().slots_at(1) + LINE,
        1,
        write(0),
    );
    assert!(session.server.turn(|_| 0).is_err());
}

#[test]
fn a_mailbox_names_the_end_of_its_own_ring() {
    for position in [1, 2, 17, u64::MAX] {
        let mut session = session();
        put(&session.mailboxes, Geometry::mailbox(0), 1, write(position));
        let corrupt = Error::Corrupt(Violation::Position {
            position,
            published: 0,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
    for stamp in [2, 3, u64::MAX] {
        let mut session = session();
        put(&session.mailboxes, Geometry::mailbox(1), stamp, write(0));
        let corrupt = Error::Corrupt(Violation::Stamp {
            expected: 1,
            found: stamp,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
}

#[test]
fn a_client_believes_no_impossible_counter_or_reply() {
    for consumed in [17, u64::MAX] {
        let mut session = session();
        put(&session.device, Geometry::consumed(0), consumed, [0; 7]);
        let client = &mut session.clients[0];
        client
            .post_all((0..16).map(|value| (ACCESS, value)))
            .unwrap();
        assert_eq!(
            client.post(ACCESS, 0),
            Err(Violation::Consumed(consumed).into())
        );
        assert_eq!(
            client.read(ACCESS),
            Err(Violation::Consumed(consumed).into())
        );
    }
    let mut session = session();
    put(&session.device, Geometry::consumed(0), 3, [0; 7]);
    let client = &mut session.clients[0];
    client
        .post_all((0..4).map(|value| (ACCESS, value)))
        .unwrap();
    assert_eq!(client.fence(), Err(Error::TimedOut));
}

#[test]
fn a_reply_is_no_wider_than_the_access() {
    for (reply, stamp) in [(0x1_0000_0000, 2), (1, 3), (1, 4), (1, u64::MAX)] {
        let mut session = session();
        let mailboxes = Arc::clone(&session.mailboxes);
        let client = &mut session.clients[0];
        // The reply that will be there, in place of the worker's.
        client.mailbox.send(Message {
            request: Request::Read(ACCESS),
            order: 0,
            seen: None,
        });
        put(
            &mailboxes,
            Geometry::mailbox(0),
            stamp,
            [reply, 0, 0, 0, 0, 0, 0],
        );
        let answer = client.mailbox.reply();
        if stamp == 2 {
            assert_eq!(answer, Ok(Some(reply)));
            assert_ne!(reply & !Request::Read(ACCESS).reply_mask(), 0);
        } else {
            assert_eq!(
                answer,
                Err(Violation::Stamp {
                    expected: 2,
                    found: stamp
                })
            );
        }
    }
}

fn near() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..40,
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(1 << 63),
        any::<u64>()
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let head = (0_u64..4, 0_u64..10, 0_u64..10)
        .prop_map(|(kind, width, region)| kind | width << 8 | region << 16);
    let reserved = prop_oneof![9 => Just(0_u64), 1 => any::<u64>()];
    (head, near(), near(), near(), reserved).prop_map(|(head, offset, value, order, reserved)| {
        [head, offset, value, order, reserved, 0, 0]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a client writes, the worker ends each turn, and an error is final.
    #[test]
    fn the_worker_survives_any_client(
        writes in prop::collection::vec((0_u32..4, 0_u64..20, near(), any_body()), 1..60)
    ) {
        let mut session = session();
        let mut failed = None;
        for (place, slot, stamp, body) in writes {
            let (mapping, offset) = match place {
                0 | 1 => (&session.requests, geometry().slots_at(place) + slot % 16 * LINE),
                2 => (&session.mailboxes, Geometry::mailbox((slot % 2) as u32)),
                _ => (&session.requests, Geometry::client_flag((slot % 2) as u32)),
            };
            put(mapping, offset, stamp, body);
            let served = session.server.turn(|request| {
                assert!(request.access().is_encodable());
                u64::MAX
            });
            let _ = session.server.prepare_sleep();
            session.server.awake();
            if let Some(error) = failed {
                prop_assert_eq!(served, Err(error));
            }
            failed = served.err();
        }
    }

    /// Whatever a worker writes, a client's call ends, and an error is final.
    #[test]
    fn a_client_survives_any_worker(
        writes in prop::collection::vec((0_u32..3, near(), near(), 0_u32..3), 1..20)
    ) {
        let mut session = session();
        let client = &mut session.clients[0];
        client.sleeper.deadline = Duration::from_micros(50);
        let mut failed: Option<Error> = None;
        for (place, stamp, value, call) in writes {
            let (mapping, offset) = match place {
                0 => (&session.device, Geometry::consumed(0)),
                1 => (&session.device, Geometry::worker_flag()),
                _ => (&session.mailboxes, Geometry::mailbox(0)),
            };
            put(mapping, offset, stamp, [value, 0, 0, 0, 0, 0, 0]);
            let result = match call {
                0 => client.post(ACCESS, 1),
                1 => client.fence(),
                _ => client.read(ACCESS).map(drop),
            };
            if let Some(error) = failed {
                prop_assert_eq!(result, Err(error));
            }
            failed = result.err();
        }
    }

    /// The ring is a queue of bounded length.
    #[test]
    fn the_ring_is_a_queue(steps in prop::collection::vec((any::<bool>(), 1_usize..24), 1..80)) {
        let session = session();
        let Session { mut clients, mut server, .. } = session;
        let mut client = clients.remove(0);
        let mut model = std::collections::VecDeque::new();
        let mut next = 0;
        let consumer = |server: &mut Server| server.channels.swap_remove(0).consumer;
        let mut consumer = consumer(&mut server);
        for (produce, count) in steps {
            for _ in 0..count {
                if produce {
                    let room = client.producer.has_room().unwrap();
                    prop_assert_eq!(room, model.len() < 16);
                    if room {
                        let request = Request::Write(ACCESS, next);
                        client.producer.push(Message { request, order: next, seen: None });
                        model.push_back(request);
                        next += 1;
                    }
                } else {
                    prop_assert_eq!(consumer.visible_end() - consumer.head(), model.len() as u64);
                    prop_assert_eq!(consumer.anything(), !model.is_empty());
                    prop_assert_eq!(consumer.peek(), Ok(!model.is_empty()));
                    prop_assert_eq!(consumer.take().map(|message| message.request), model.pop_front());
                    consumer.publish();
                    prop_assert_eq!(client.producer.outstanding(), Ok(model.len() as u64));
                }
            }
        }
    }
}
