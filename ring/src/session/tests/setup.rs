//! What a hostile peer hands over at setup.

use std::fs::File;
use std::io::{Read, Write};

use memfd::{FileSeal, MemfdOptions};
use rustix::event::epoll::CreateFlags;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::OFlags;
use rustix::time::{TimerfdClockId, TimerfdFlags};

use super::*;
use crate::layout::{HEADER_BYTES, header};
use crate::memory::Mapping;

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
    Shared::adopt(fd, memory.shape(geometry()))
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
    // Anonymous as an eventfd is, and they refuse a short write too.
    let flags = TimerfdFlags::NONBLOCK;
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).unwrap();
    let epoll = rustix::event::epoll::create(CreateFlags::empty()).unwrap();
    rustix::fs::fcntl_setfl(&epoll, OFlags::NONBLOCK).unwrap();
    for bad in [pipe, socket.into(), blocking, file, timer, epoll] {
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
