//! Whole connections on a live export: messages with descriptors, in any portions, posted writes over rings, hang-ups.

mod messages;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use outrigger_block::Backend;
use outrigger_device::front::{Endpoint, Export};
use outrigger_device::pci::Function;
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_fuzz::Input;
use outrigger_ring::{Access, Client, ClientSetup, Geometry, PeerWatch, Width};
use outrigger_vfio_user::{Header, HeaderFlags, Message, Received, Receiver, Wait, send};

/// The longest reply.
const LIMIT: usize = 2 << 20;

/// Has a client do what the input says.
///
/// # Panics
/// If a request is not answered exactly once and in order, or if the export does not end with its client.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    theirs.set_nonblocking(true).expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    let mut worker = Worker::new(input.u8(), theirs.into());
    let mut client = Peer {
        receiver: Receiver::new(LIMIT),
        waiting: VecDeque::new(),
        exact: true,
        partial: false,
        rings: None,
        socket: ours,
    };
    if input.u8() & 7 != 0 {
        // Most clients begin as the protocol has it.
        let ring = input.u8() & 1 != 0;
        client.send(&messages::version(ring), &[]);
        worker.turn();
        client.replies();
    }
    while !input.is_empty() && !worker.export.is_over() {
        client.step(&mut input, &mut worker);
        client.replies();
    }
    drop(client);
    worker.turn();
    assert!(worker.export.is_over(), "the client has gone");
}

/// The emulator's loop.
struct Worker {
    poll: Poll,
    events: Events,
    export: Export,
    function: Function,
    now: Instant,
}

impl Worker {
    fn new(choices: u8, socket: OwnedFd) -> Self {
        let mut bus = Bus::new();
        let backend = Backend::memory(vec![0x3c; 64 * 512], false);
        let disk = Disk::new(backend, DiskOptions::default()).expect("a disk");
        bus.attach(0, 0, disk.into()).expect("a place");
        let model = match choices & 1 {
            0 => Model::Lsi53c895a,
            _ => Model::Lsi53c810,
        };
        let poll = Poll::new().expect("an epoll");
        let mut export = Export::new(Endpoint::Connected(socket.into()), "fuzz".into());
        export.register(poll.registry()).expect("a watch");
        Self {
            poll,
            events: Events::with_capacity(16),
            export,
            function: Function::new(Box::new(Lsi::new(model, bus))),
            now: Instant::now(),
        }
    }

    /// Until nothing is left to do.
    fn turn(&mut self) {
        for _ in 0..1000 {
            let idle = self.export.prepare_sleep();
            self.poll
                .poll(&mut self.events, Some(Duration::ZERO))
                .expect("a poll");
            self.export.awake();
            for event in &self.events {
                self.export
                    .ready(self.poll.registry(), event, &mut self.function);
            }
            let more = self.export.intake(&mut self.function, true);
            self.export.run(&mut self.function, self.now);
            self.export.settle(&mut self.function, self.now, more);
            let _ = (self.export.deadline(), self.export.counts());
            if self.events.is_empty() && !more && idle {
                return;
            }
        }
        panic!("the worker does not come to rest");
    }
}

/// The client.
struct Peer {
    socket: UnixStream,
    receiver: Receiver,
    /// Requests that wait for their reply.
    waiting: VecDeque<Header>,
    /// All that was sent are whole messages, so that it is known what is to be answered.
    exact: bool,
    /// A part of a message was sent.
    partial: bool,
    rings: Option<Rings>,
}

/// Rings, before and after the server's answer.
enum Rings {
    Offered(ClientSetup),
    Attached(Vec<Client>),
}

impl Peer {
    fn step(&mut self, input: &mut Input<'_>, worker: &mut Worker) {
        match input.u8() {
            0..180 => {
                let (bytes, fds) = messages::message(input);
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                self.send(&bytes, &fds);
            }
            180..190 => {
                // A part of one; the rest may follow.
                let (bytes, fds) = messages::message(input);
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                let part = &bytes[..input.below(bytes.len().min(256))];
                if !part.is_empty() {
                    self.exact = false;
                    let _ = send(&self.socket, part, &fds);
                    self.partial = true;
                }
            }
            190..196 => {
                self.exact = false;
                let count = input.below(64);
                let _ = send(&self.socket, input.bytes(count), &[]);
            }
            196..206 => self.offer_rings(),
            206..216 => self.post(input),
            216..224 => {
                worker.now += Duration::from_micros(1 << (input.u8() % 24));
                worker.turn();
            }
            224 => {
                let how = [
                    std::net::Shutdown::Write,
                    std::net::Shutdown::Read,
                    std::net::Shutdown::Both,
                ];
                self.exact = false;
                let _ = self.socket.shutdown(input.of(&how));
                worker.turn();
            }
            _ => worker.turn(),
        }
    }

    /// Sends a whole message.
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let header = Message::new(bytes).map(|message| message.header());
        if self.partial || send(&self.socket, bytes, fds).is_err() {
            // The server has gone, or reads no more.
            self.exact = false;
            return;
        }
        match header {
            Ok(header) if !header.flags.contains(HeaderFlags::NO_REPLY) => {
                self.waiting.push_back(header);
            }
            Ok(_) => {}
            Err(_) => self.exact = false,
        }
    }

    /// Takes what has come.
    fn replies(&mut self) {
        while let Ok(Received::Message { bytes, fds }) =
            self.receiver.receive(&self.socket, Wait::Never)
        {
            let header = Message::new(&bytes).expect("a message").header();
            if self.exact {
                let request = self.waiting.pop_front().expect("a request for each reply");
                assert_eq!(
                    (header.id, header.command),
                    (request.id, request.command),
                    "replies come in order"
                );
            }
            self.attach(&header, &bytes, fds);
        }
    }

    fn offer_rings(&mut self) {
        if self.rings.is_some() {
            return;
        }
        let setup = ClientSetup::new(Geometry::new(1, 16).expect("a geometry")).expect("a setup");
        let memories = [setup.requests(), setup.mailboxes()];
        let memories = memories.map(|fd| fd.try_clone_to_owned().expect("a descriptor"));
        self.send(
            &messages::ring_setup(),
            &memories.each_ref().map(AsFd::as_fd),
        );
        let doorbell = setup.doorbells()[0]
            .try_clone_to_owned()
            .expect("a descriptor");
        self.send(&messages::ring_doorbells(), &[doorbell.as_fd()]);
        self.rings = Some(Rings::Offered(setup));
    }

    /// Goes on where the server has taken the rings.
    fn attach(&mut self, header: &Header, bytes: &[u8], fds: Vec<OwnedFd>) {
        let Ok([device, doorbell]) = <[OwnedFd; 2]>::try_from(fds) else {
            return;
        };
        if !messages::is_ring_ready(header) {
            return;
        }
        let Some(Rings::Offered(setup)) = self.rings.take() else {
            return;
        };
        let size = bytes.get(20..24).expect("two numbers").try_into();
        let mirror_bytes = u32::from_le_bytes(size.expect("four bytes"));
        let socket = self.socket.try_clone().expect("a descriptor");
        let watch = PeerWatch::Socket(Arc::new(socket.into()));
        let clients = setup.finish(device, doorbell, mirror_bytes, &watch, Duration::ZERO);
        self.rings = Some(Rings::Attached(clients.expect("an honest server")));
    }

    fn post(&mut self, input: &mut Input<'_>) {
        let access = Access {
            region: input.u8() % 9,
            offset: input.u16().into(),
            width: input.of(&[Width::Byte, Width::Word, Width::Dword, Width::Qword]),
        };
        let value = input.u32().into();
        if let Some(Rings::Attached(clients)) = &mut self.rings {
            // A full ring is no error of the server's: nobody has let it turn.
            let _ = clients[0].post(access, value);
        }
    }
}
