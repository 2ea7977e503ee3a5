//! A client's end against a worker that writes anything, also while the client waits.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use outrigger_fuzz::{Input, meanwhile};
use outrigger_ring::{
    Access, Client, ClientSetup, Effect, Error, Geometry, PeerWatch, Summary, Width,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::fcntl_dupfd_cloexec;

use crate::layout::{
    CHANNELS, DEVICE_SIZE, MAILBOXES_SIZE, MIRROR, MIRROR_BYTES, SLOTS, WORKER_FLAG, clear_group,
    consumed, header, mailbox,
};
use crate::memory::{Memory, map_mailboxes};

/// How long a client waits for a worker that does not answer.
const DEADLINE: Duration = Duration::from_micros(100);

/// The worker: what it writes when its doorbell rings, and whom it wakes then.
#[derive(Default)]
struct Worker {
    /// Places in the device memory, in the mailboxes, and what goes there.
    script: Vec<(Place, usize, u64)>,
    mailboxes: Option<Memory>,
    doorbells: Vec<OwnedFd>,
}

#[derive(Clone, Copy)]
enum Place {
    Device,
    Mailboxes,
}

/// What is kept from input to input.
struct Peer {
    device: Memory,
    doorbell: OwnedFd,
    worker: Mutex<Worker>,
}

impl Peer {
    fn lock(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker's thread: what is to happen while a client waits.
    fn serve(&self) {
        loop {
            let mut fds = [PollFd::new(&self.doorbell, PollFlags::IN)];
            if poll(&mut fds, None).is_err() {
                continue;
            }
            let _ = rustix::io::read(&self.doorbell, &mut [0; 8]);
            let mut worker = self.lock();
            for (place, at, value) in std::mem::take(&mut worker.script) {
                worker.write(&self.device, place, at, value);
            }
            for doorbell in &worker.doorbells {
                let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
            }
        }
    }
}

impl Worker {
    fn write(&self, device: &Memory, place: Place, at: usize, value: u64) {
        match (place, &self.mailboxes) {
            (Place::Device, _) => device.store(at, value),
            (Place::Mailboxes, Some(mailboxes)) => mailboxes.store(at, value),
            (Place::Mailboxes, None) => {}
        }
    }
}

fn peer() -> &'static Peer {
    static PEER: OnceLock<Peer> = OnceLock::new();
    static THREAD: OnceLock<()> = OnceLock::new();
    let peer = PEER.get_or_init(|| {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Peer {
            device: Memory::new(
                &header(b"OUTRDEV1", MIRROR_BYTES, DEVICE_SIZE),
                DEVICE_SIZE,
                true,
            ),
            doorbell: eventfd(0, flags).expect("an eventfd"),
            worker: Mutex::default(),
        }
    });
    THREAD.get_or_init(|| drop(std::thread::spawn(|| peer.serve())));
    peer
}

/// Sets a session up and lets both sides do what the input says.
///
/// # Panics
/// If a client believes what cannot be, or does not stay failed.
pub fn run(input: &[u8]) {
    attached(|peer, clients, theirs| session(peer, clients, theirs, &mut Input::new(input)));
}

/// The same while another thread writes what the worker shares with the clients.
///
/// # Panics
/// If a client believes what cannot be, or does not stay failed.
pub fn race(input: &[u8]) {
    attached(|peer, clients, theirs| {
        meanwhile(
            input,
            |choices| {
                let (place, at, value) = write(peer, choices);
                peer.lock().write(&peer.device, place, at, value);
            },
            || session(peer, clients, theirs, &mut Input::new(input)),
        );
    });
}

/// Sets a session up for `work`.
fn attached(work: impl FnOnce(&Peer, &mut [Client], Option<UnixStream>)) {
    let peer = peer();
    peer.device.clear();
    let geometry = Geometry::new(CHANNELS, SLOTS).expect("a geometry");
    let setup = ClientSetup::new(geometry).expect("a setup");
    {
        let mut worker = peer.lock();
        worker.mailboxes = Some(map_mailboxes(setup.mailboxes(), MAILBOXES_SIZE));
        let doorbells = setup.doorbells().into_iter();
        worker.doorbells = doorbells
            .map(|fd| fcntl_dupfd_cloexec(fd, 0).expect("a descriptor"))
            .collect();
    }
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let (device, doorbell) = (peer.device.descriptor(), &peer.doorbell);
    let doorbell = fcntl_dupfd_cloexec(doorbell, 0).expect("a descriptor");
    let mut clients = setup
        .finish(device, doorbell, MIRROR_BYTES, &watch, DEADLINE)
        .expect("a good worker");
    work(peer, &mut clients, Some(theirs));
    *peer.lock() = Worker::default();
}

const SUMMARIES: [Summary; 2] = [
    Summary {
        group: 0,
        register: 0,
        bits: 1,
    },
    Summary {
        group: 2,
        register: 0,
        bits: 2,
    },
];

fn session(
    peer: &Peer,
    clients: &mut [Client],
    mut theirs: Option<UnixStream>,
    input: &mut Input<'_>,
) {
    let mut failed: [Option<Error>; CHANNELS as usize] = Default::default();
    let mut stamps = [0_u64; CHANNELS as usize];
    let mut sleeps = 0;
    while !input.is_empty() {
        let choice = input.below(16);
        if choice < 6 {
            let (place, at, value) = write(peer, input);
            peer.lock().write(&peer.device, place, at, value);
            continue;
        }
        let index = input.below(clients.len());
        let client = &mut clients[index];
        let access = access(input);
        let outcome = match choice {
            6 => client.post(access, input.u64()),
            7 => {
                let count = input.below(64);
                let mut writes = 0..count;
                client.post_all(std::iter::from_fn(|| {
                    let number = writes.next()?;
                    if input.u8() & 7 == 7 {
                        let (place, at, value) = write(peer, input);
                        peer.lock().write(&peer.device, place, at, value);
                    }
                    Some((access, number as u64))
                }))
            }
            8 => {
                let effect = Effect {
                    register: u32::from(input.u8() % 5),
                    through: input.u8(),
                    clears: input.of(&[0, 1, 2, 0x80]),
                };
                client.post_effect(access.region, access.offset, input.u8(), effect)
            }
            9 | 10 => client
                .mirrored(u32::from(input.u8() % 5), &SUMMARIES)
                .map(drop),
            11 => {
                let mask = input.u16();
                let claimed = client.claim(u32::from(input.u8() % 6), mask);
                assert!(
                    claimed.is_ok_and(|it| it.is_none_or(|value| value & !mask == 0))
                        || claimed.is_err()
                );
                claimed.map(drop)
            }
            12 => {
                prepare(peer, input, index, stamps[index], &mut sleeps);
                client.fence()
            }
            13 if input.u8() > 0xf0 => {
                theirs = None;
                continue;
            }
            13 => {
                let counters = client.counters();
                let _ = (client.worker_statistics(), counters.snapshot());
                continue;
            }
            _ => {
                prepare(peer, input, index, stamps[index], &mut sleeps);
                let answer = client.read(access);
                if let Ok(value) = answer {
                    assert_eq!(value & !access.width.mask(), 0, "wider than the access");
                    stamps[index] += 2;
                }
                answer.map(drop)
            }
        };
        peer.lock().script.clear();
        if let Some(error) = failed[index] {
            assert_eq!(outcome, Err(error), "an error is final");
        }
        failed[index] = outcome.err().filter(|error| *error != Error::Access);
    }
    drop(theirs);
}

/// What the worker does once the client has rung.
fn prepare(peer: &Peer, input: &mut Input<'_>, index: usize, stamp: u64, sleeps: &mut u64) {
    let control = input.u8();
    if control & 0x80 == 0 {
        // Asleep: the client rings.
        *sleeps += 1;
        peer.device.store(WORKER_FLAG, *sleeps);
    }
    let mut script = Vec::new();
    for _ in 0..control & 3 {
        script.push(write(peer, input));
    }
    if control & 0x40 == 0 {
        let value = input.near(0);
        script.push((Place::Mailboxes, mailbox(index) + 8, value));
        script.push((Place::Mailboxes, mailbox(index), stamp + 2));
    }
    peer.lock().script = script;
}

fn access(input: &mut Input<'_>) -> Access {
    let choice = input.u8();
    Access {
        region: choice % 10,
        offset: if choice < 0xf8 {
            input.u8().into()
        } else {
            u64::MAX - 3
        },
        width: [Width::Byte, Width::Word, Width::Dword, Width::Qword][usize::from(choice >> 6)],
    }
}

/// Something that the worker writes.
fn write(peer: &Peer, input: &mut Input<'_>) -> (Place, usize, u64) {
    let choice = input.u8();
    let channel = usize::from(choice & 1);
    let (place, at) = match choice >> 1 & 7 {
        0 | 1 => (Place::Device, consumed(channel)),
        2 => (Place::Device, WORKER_FLAG + 8 * channel),
        3 | 4 => (Place::Device, MIRROR + 64 * (usize::from(choice >> 4) % 4)),
        5 => (
            Place::Mailboxes,
            mailbox(channel) + 8 * usize::from(choice >> 4 & 7),
        ),
        6 => (Place::Mailboxes, clear_group(usize::from(choice >> 4 & 3))),
        _ => (
            Place::Device,
            64 + usize::from(input.u16()) % (DEVICE_SIZE - 64),
        ),
    };
    let old = match place {
        Place::Device => peer.device.load(at),
        Place::Mailboxes => peer.lock().mailboxes.as_ref().map_or(0, |it| it.load(at)),
    };
    // A mirrored register's word has its parts at several places.
    let value = match choice >> 1 & 7 {
        3 | 4 => {
            let low = input.u16();
            u64::from(low) | 0x100 | u64::from(input.u8()) << 32
        }
        _ => input.near(old),
    };
    (place, at, value)
}
