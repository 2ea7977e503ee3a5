//! The front from outside: real sockets, real messages, a small device.

mod access_map;
mod clear;
mod device;
mod dma_map;
mod gather;
mod hostile;
mod independent_client;
mod interrupt;
mod latch;
mod rings;
mod serving;
mod wiring;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use outrigger_vfio_user::{
    Message, Received, Receiver, RegionData, RegionRange, Reply, Request, Version, Wait, send,
};

use super::*;
use crate::device::Device;

/// The loop, as the emulator has it, in the test's own thread.
#[derive(Debug)]
struct Worker {
    poll: Poll,
    events: Events,
    export: Export,
    function: Function,
    /// The loop's clock: it stands still unless the test moves it.
    now: Instant,
}

impl Worker {
    fn new(endpoint: Endpoint, device: Box<dyn Device>) -> Self {
        let poll = Poll::new().unwrap();
        let mut export = Export::new(endpoint, "test".into());
        export.register(poll.registry()).unwrap();
        let function = Function::new(device);
        Self {
            poll,
            events: Events::with_capacity(16),
            export,
            function,
            now: Instant::now(),
        }
    }

    /// Serves until nothing is left to do, waiting at most `timeout` for the first event.
    fn turn(&mut self, timeout: Duration) {
        let mut timeout = timeout;
        loop {
            let idle = self.export.prepare_sleep();
            let wait = if idle { timeout } else { Duration::ZERO };
            self.poll.poll(&mut self.events, Some(wait)).unwrap();
            self.export.awake();
            timeout = Duration::ZERO;
            for event in &self.events {
                self.export
                    .ready(self.poll.registry(), event, &mut self.function);
            }
            let more = self.export.intake(&mut self.function, true);
            self.export.run(&mut self.function, self.now);
            self.export.settle(&mut self.function, self.now, more);
            if self.events.is_empty() && !more && idle {
                return;
            }
        }
    }
}

/// A worker that listens, and where.
#[derive(Debug)]
struct Server {
    worker: Worker,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        Self::of(Box::new(device::Scratch::default()))
    }

    /// One that serves this device.
    fn of(device: Box<dyn Device>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let worker = Worker::new(Endpoint::Listening(listener.into()), device);
        Self {
            worker,
            path,
            _directory: directory,
        }
    }

    fn turn(&mut self) {
        self.worker.turn(Duration::ZERO);
    }

    /// Time passes, and what was due by then happens.
    fn pass(&mut self, time: Duration) {
        self.worker.now += time;
        self.turn();
    }

    /// A client that has not said anything yet.
    fn connect(&mut self) -> Client {
        let client = Client::new(UnixStream::connect(&self.path).unwrap());
        self.turn();
        client
    }

    /// A client that has exchanged VERSION.
    fn attach(&mut self) -> Client {
        let mut client = self.connect();
        let version = Request::Version(Version {
            major: 0,
            minor: 1,
            data: b"{\"capabilities\":{}}\0",
        });
        let reply = client.ask(self, &version, &[]);
        assert!(matches!(reply.parse(), Reply::Version(_)), "{reply:?}");
        client
    }
}

/// A reply and what came with it.
#[derive(Debug)]
struct Answered {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Answered {
    fn message(&self) -> Message<'_> {
        Message::new(&self.bytes).unwrap()
    }

    fn parse(&self) -> Reply<'_> {
        Reply::parse(self.message()).unwrap()
    }

    /// The errno; 0 for success.
    fn errno(&self) -> i32 {
        match self.parse() {
            Reply::Error { errno, .. } => i32::try_from(errno).unwrap(),
            _ => 0,
        }
    }
}

#[derive(Debug)]
struct Client {
    socket: UnixStream,
    receiver: Receiver,
    id: u16,
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            receiver: Receiver::new(1 << 20),
            id: 0,
        }
    }

    fn send(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>], no_reply: bool) {
        self.id = self.id.wrapping_add(1);
        send(&self.socket, &request.emit(self.id, no_reply), fds).unwrap();
    }

    /// What has come by now, if a message has.
    fn receive(&mut self) -> Option<Answered> {
        match self.receiver.receive(&self.socket, Wait::Never).unwrap() {
            Received::Message { bytes, fds } => Some(Answered { bytes, fds }),
            _ => None,
        }
    }

    /// The server has closed the connection. What it had not read must not make that a reset.
    fn is_closed(&mut self) -> bool {
        loop {
            match self.receiver.receive(&self.socket, Wait::Never).unwrap() {
                Received::Message { .. } => {}
                Received::WouldBlock => return false,
                Received::Closed => return true,
            }
        }
    }

    fn ask(
        &mut self,
        server: &mut Server,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> Answered {
        self.send(request, fds, false);
        server.turn();
        let answered = self.receive().expect("a reply");
        let header = answered.message().header();
        assert_eq!((header.id, header.command), (self.id, request.command()));
        answered
    }

    fn read(&mut self, server: &mut Server, region: u32, offset: u64, count: u32) -> Vec<u8> {
        let range = RegionRange {
            region,
            offset,
            count,
        };
        let answered = self.ask(server, &Request::RegionRead(range), &[]);
        match answered.parse() {
            Reply::RegionRead(read) => {
                assert_eq!((read.region, read.offset), (region, offset));
                read.data.to_vec()
            }
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, server: &mut Server, region: u32, offset: u64, data: &[u8]) {
        let write = RegionData {
            region,
            offset,
            data,
        };
        let answered = self.ask(server, &Request::RegionWrite(write), &[]);
        assert!(matches!(answered.parse(), Reply::RegionWrite(_)));
    }
}

fn eventfd() -> OwnedFd {
    use rustix::event::EventfdFlags;
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// What an eventfd has counted since the last call.
fn count(fd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(fd, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(rustix::io::Errno::AGAIN) => 0,
        Err(error) => panic!("{}", io::Error::from(error)),
    }
}

/// A file that can back guest RAM.
fn memory(bytes: u64) -> std::fs::File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    file
}
