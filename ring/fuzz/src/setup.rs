//! Setting a session up with what a peer sends: memories of any size, seals and header, doorbells that are none.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use outrigger_fuzz::Input;
use outrigger_ring::{ClientSetup, Geometry, PeerWatch, ServerSetup};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{SealFlags, fcntl_add_seals};

use crate::layout::{
    CHANNELS, DEVICE_SIZE, MAILBOXES_SIZE, REGISTERS, REQUESTS_SIZE, SLOTS, header,
};
use crate::memory::memfd;

/// Lets a worker or a client, as the first byte says, attach to what the rest describes.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    match input.below(3) {
        0 => {
            let numbers = [input.near(64), input.near(4096)];
            let [channels, slots] = numbers.map(|it| u32::try_from(it).unwrap_or(u32::MAX));
            if let Ok(geometry) = Geometry::new(channels, slots) {
                assert!((1..=64).contains(&geometry.channels()));
                assert!(geometry.slots().is_power_of_two());
            }
        }
        1 => worker(&mut input),
        _ => client(&mut input),
    }
}

fn geometry() -> Geometry {
    Geometry::new(CHANNELS, SLOTS).expect("a geometry")
}

fn worker(input: &mut Input<'_>) {
    let requests = memory(input, b"OUTRREQ1", REQUESTS_SIZE, 0);
    let mailboxes = memory(input, b"OUTRBOX1", MAILBOXES_SIZE, 0);
    let registers = u32::from(input.u8() % 20);
    let Ok(mut setup) = ServerSetup::new(geometry(), requests, mailboxes, registers) else {
        return;
    };
    assert!(registers <= 16);
    while !input.is_empty() && !setup.is_complete() {
        let first = u32::from(input.u8() % 4);
        let count = input.below(4);
        let doorbells = (0..count).map(|_| doorbell(input)).collect();
        if setup.add_doorbells(first, doorbells).is_err() {
            return;
        }
    }
    if let Ok(mut server) = setup.finish() {
        assert_eq!(server.turn(|_| 0), Ok(false));
    }
}

fn client(input: &mut Input<'_>) {
    let setup = ClientSetup::new(geometry()).expect("a setup");
    let mirror_bytes = match input.u8() {
        registers @ 0..20 => u32::from(registers) * 64,
        20..40 => REGISTERS * 64,
        _ => input.u32(),
    };
    let device = memory(input, b"OUTRDEV1", DEVICE_SIZE, mirror_bytes);
    let doorbell = doorbell(input);
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    drop(theirs);
    if let Ok(clients) = setup.finish(device, doorbell, mirror_bytes, &watch, Duration::ZERO) {
        assert_eq!(u32::try_from(clients.len()), Ok(CHANNELS));
    }
}

/// A memory as it should be, but for what the input changes.
fn memory(input: &mut Input<'_>, magic: &[u8; 8], size: usize, mirror_bytes: u32) -> OwnedFd {
    let changes = input.u8();
    let mut header = header(magic, mirror_bytes, size);
    let mut real = size;
    let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    if magic != b"OUTRBOX1" {
        seals |= SealFlags::FUTURE_WRITE;
    }
    if changes & 1 != 0 {
        header[input.below(64)] ^= input.u8();
    }
    if changes & 2 != 0 {
        real = usize::from(input.u16());
    }
    if changes & 4 != 0 {
        seals ^= SealFlags::from_bits_truncate(u32::from(input.u8()));
    }
    if changes & 8 != 0 {
        return doorbell(input);
    }
    let fd = memfd(&header, real.max(64));
    let _ = rustix::fs::ftruncate(&fd, real as u64);
    let _ = fcntl_add_seals(&fd, seals);
    fd
}

/// A doorbell, or something else.
fn doorbell(input: &mut Input<'_>) -> OwnedFd {
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    match input.u8() {
        0..128 => eventfd(0, flags).expect("an eventfd"),
        128..150 => eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"),
        150..170 => {
            // Full: a write would have to wait.
            let fd = eventfd(0, flags).expect("an eventfd");
            let _ = rustix::io::write(&fd, &(u64::MAX - 1).to_ne_bytes());
            fd
        }
        170..190 => UnixStream::pair().expect("a socket").0.into(),
        190..210 => memfd(&[0], 64),
        210..230 => {
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                .expect("a pipe")
                .1
        }
        230..245 => rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
            .expect("an epoll"),
        _ => std::fs::File::open("/dev/null").expect("a file").into(),
    }
}
