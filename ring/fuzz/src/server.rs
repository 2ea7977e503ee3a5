//! The worker's end against clients that write anything, also while the worker is in the middle of a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use outrigger_fuzz::{Input, meanwhile};
use outrigger_ring::{
    Access, Error, Geometry, MAX_READ_TO_CLEAR, Mirrored, Request, Serve, Server, ServerSetup,
    Snapshot, Snapshots, Width,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;

use crate::layout::{
    CHANNELS, MAILBOXES_SIZE, REGISTERS, REQUESTS_SIZE, SLOTS, clear_group, client_flag, header,
    mailbox, slot,
};
use crate::memory::Memory;

/// The most requests of one call: 1024 posted ones, and for each mailbox what comes before it.
const MOST: usize = 1024 + CHANNELS as usize * (1 + 2 * CHANNELS as usize * SLOTS as usize);

/// What the clients have, kept from input to input.
struct Peer {
    requests: Memory,
    mailboxes: Memory,
    doorbells: Vec<OwnedFd>,
}

thread_local! {
    static PEER: RefCell<Peer> = RefCell::new(Peer {
        requests: Memory::new(&header(b"OUTRREQ1", 0, REQUESTS_SIZE), REQUESTS_SIZE, true),
        mailboxes: Memory::new(&header(b"OUTRBOX1", 0, MAILBOXES_SIZE), MAILBOXES_SIZE, false),
        doorbells: (0..CHANNELS)
            .map(|_| {
                let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
                eventfd(0, flags).expect("an eventfd")
            })
            .collect(),
    });
}

/// What an honest client has sent and the worker has not served.
#[derive(Default)]
struct Channel {
    position: u64,
    stamp: u64,
    waiting: VecDeque<Request>,
}

/// The device, which lets the peer write whenever it is asked something.
struct Device<'a, 'b> {
    peer: &'a Peer,
    input: &'a mut Input<'b>,
    /// While all clients were honest: what they have sent, by ticket, in order.
    expected: Option<VecDeque<Request>>,
    served: usize,
    events: u32,
}

impl Serve for Device<'_, '_> {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        let access = request.access();
        assert!(access.is_encodable());
        if let Request::Write(_, value) = request {
            assert_eq!(value & !access.width.mask(), 0);
        }
        self.served += 1;
        assert!(self.served <= MOST, "a turn without end");
        if let Some(expected) = &mut self.expected {
            assert_eq!(
                expected.pop_front(),
                Some(request),
                "out of order, or nobody's"
            );
        }
        // The device's registers change with what it is asked.
        self.events = self.events.wrapping_add(u32::from(access.offset & 1 != 0));
        if self.input.u8() & 0xc0 == 0xc0 {
            self.expected = None;
            scribble(self.peer, self.input);
        }
        u64::MAX
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register < REGISTERS).then_some(Mirrored {
            value: self.events.to_le_bytes()[0],
            events: self.events,
        })
    }

    fn snapshots(&self) -> Snapshots {
        let snapshot = Snapshot {
            value: 0x1234,
            residual: 0x80,
        };
        [
            Some(snapshot),
            None,
            (self.events & 1 != 0).then_some(snapshot),
            None,
        ]
    }

    fn claim(&mut self, group: u32) {
        assert!(group < MAX_READ_TO_CLEAR);
        self.events = self.events.wrapping_add(1);
    }
}

/// Sets a session up and lets both sides do what the input says.
///
/// # Panics
/// If the worker serves what cannot be, serves honest clients in another order than theirs, or does not stay failed.
pub fn run(input: &[u8]) {
    PEER.with_borrow(|peer| {
        peer.requests.clear();
        peer.mailboxes.clear();
        let expected = Some(VecDeque::new());
        session(peer, &mut Input::new(input), expected);
    });
}

/// The same while another thread writes what the clients share with the worker.
///
/// # Panics
/// If the worker serves what cannot be, or does not stay failed.
pub fn race(input: &[u8]) {
    PEER.with_borrow(|peer| {
        peer.requests.clear();
        peer.mailboxes.clear();
        meanwhile(
            input,
            |choices| scribble(peer, choices),
            || session(peer, &mut Input::new(input), None),
        );
    });
}

/// `expected`: nobody else writes, so what honest clients send is served in order.
fn session(peer: &Peer, input: &mut Input<'_>, expected: Option<VecDeque<Request>>) {
    let mut server = server(peer);
    let mut channels: [Channel; CHANNELS as usize] = Default::default();
    let mut ticket = 0;
    let mut failed: Option<Error> = None;
    let mut device = Device {
        peer,
        input,
        expected,
        served: 0,
        events: 0,
    };
    while !device.input.is_empty() {
        device.served = 0;
        let outcome = match device.input.below(16) {
            0..=4 => {
                post(&mut device, &mut channels, &mut ticket);
                continue;
            }
            5 => {
                cross(&mut device, &mut channels);
                continue;
            }
            6 | 7 => {
                device.expected = None;
                scribble(peer, device.input);
                continue;
            }
            8 => {
                // An honest claim, if a snapshot stands.
                let at = clear_group(device.input.below(4));
                let word = peer.mailboxes.load(at);
                if word & 1 << 32 != 0 {
                    peer.mailboxes.store(at, word | 1 << 33);
                }
                continue;
            }
            9 => {
                let idle = server.prepare_sleep();
                assert!(!idle || failed.is_none(), "a failed session sleeps");
                server.awake();
                server.drain_doorbell();
                let _ = (server.polling_pays(), server.client_statistics());
                continue;
            }
            10 => {
                server.settle_claims(&mut device);
                continue;
            }
            11 => {
                for group in server.revoke().groups() {
                    device.claim(group);
                }
                server.show_all(&device);
                server.claims_done();
                server.publish_snapshots(&device);
                continue;
            }
            12 => server.apply_posted_with(&mut device),
            13 => server.turn_with(&mut device).map(drop),
            _ => server.look_with(&mut device).map(drop),
        };
        if let Some(error) = failed {
            assert_eq!(outcome, Err(error), "an error is final");
        }
        if device.expected.is_some() {
            assert_eq!(outcome, Ok(()), "the clients are honest");
        }
        failed = outcome.err();
    }
}

fn server(peer: &Peer) -> Server {
    let geometry = Geometry::new(CHANNELS, SLOTS).expect("a geometry");
    let (requests, mailboxes) = (peer.requests.descriptor(), peer.mailboxes.descriptor());
    let mut setup =
        ServerSetup::new(geometry, requests, mailboxes, REGISTERS).expect("good memories");
    let doorbells = peer.doorbells.iter();
    let doorbells = doorbells.map(|fd| fcntl_dupfd_cloexec(fd, 0).expect("a descriptor"));
    setup
        .add_doorbells(0, doorbells.collect())
        .expect("doorbells");
    setup.finish().expect("a session")
}

fn access(input: &mut Input<'_>) -> Access {
    Access {
        region: input.u8() % 9,
        offset: input.u16().into(),
        width: input.of(&[Width::Byte, Width::Word, Width::Dword, Width::Qword]),
    }
}

fn encode(request: Request, order: u64) -> [u64; 7] {
    let (kind, value) = match request {
        Request::Write(_, value) => (1, value),
        Request::Read(_) => (2, 0),
    };
    let access = request.access();
    let head = kind | u64::from(access.width.bytes()) << 8 | u64::from(access.region) << 16;
    [head, access.offset, value, order, 0, 0, 0]
}

/// A client posts a write, if its ring has room.
fn post(device: &mut Device<'_, '_>, channels: &mut [Channel], ticket: &mut u64) {
    let index = device.input.below(channels.len());
    let access = access(device.input);
    let value = device.input.u64() & access.width.mask();
    let channel = &mut channels[index];
    // Without a look at the counter: an honest client has at most a ring's length that is not served.
    let waiting = device.expected.as_ref().map_or(0, VecDeque::len);
    if waiting >= SLOTS as usize {
        return;
    }
    let request = Request::Write(access, value);
    let at = slot(index, channel.position);
    channel.position += 1;
    let requests = &device.peer.requests;
    requests.line(at, channel.position, encode(request, *ticket));
    *ticket += 1;
    channel.waiting.push_back(request);
    if let Some(expected) = &mut device.expected {
        expected.push_back(request);
    }
}

/// A client sends a request that it waits for, if it does not wait for one.
fn cross(device: &mut Device<'_, '_>, channels: &mut [Channel]) {
    let index = device.input.below(channels.len());
    let access = access(device.input);
    let request = match device.input.u8() & 1 {
        0 => Request::Read(access),
        _ => Request::Write(access, device.input.u64() & access.width.mask()),
    };
    let channel = &mut channels[index];
    let at = mailbox(index);
    if device.peer.mailboxes.load(at) != channel.stamp {
        return;
    }
    let body = encode(request, channel.position);
    device.peer.mailboxes.line(at, channel.stamp + 1, body);
    channel.stamp += 2;
    // Its place among the posted ones is the worker's to choose.
    device.expected = None;
}

/// A peer writes what it likes.
fn scribble(peer: &Peer, input: &mut Input<'_>) {
    let place = input.u8();
    let channel = usize::from(place & 1);
    let index = input.u8();
    let (memory, line) = match place >> 1 & 7 {
        0..=2 => (&peer.requests, slot(channel, index.into())),
        3 => (&peer.requests, client_flag(channel)),
        4 | 5 => (&peer.mailboxes, mailbox(channel)),
        6 => (&peer.mailboxes, clear_group(usize::from(index & 3))),
        // Anywhere behind the header.
        _ => (
            &peer.requests,
            64 + usize::from(input.u16()) % (REQUESTS_SIZE - 64),
        ),
    };
    let word = usize::from(place >> 4 & 7);
    let old = memory.load(line + 8 * word);
    if place >> 7 != 0 {
        let mut body = [0; 7];
        for word in &mut body {
            *word = input.near(old);
        }
        memory.line(line, input.near(old), body);
    } else {
        memory.store(line + 8 * word, input.near(old));
    }
}
