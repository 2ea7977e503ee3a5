//! Step 5, intake: one client's connection, from bytes to answers and back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use outrigger_ring::Statistics;
use outrigger_vfio_user::{
    HeaderFlags, Message, ReceiveError, Received, Receiver, Reply, Request, Sender, Wait, WireError,
};
use rustix::io::Errno;
use tracing::{debug, warn};

use super::super::CLIENT;
use super::super::counts::Counts;
use super::super::endpoint::Connection;
use super::super::ring::{RingFront, SLICE};
use super::MAX_MESSAGE;
use super::intx::Intx;
use crate::pci::Function;

/// Messages that are served in one go, if they take no longer than [`SLICE`], before the device and the other fronts get their turn.
const PORTION: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::front) enum End {
    /// The client closed it.
    #[error("closed by the client")]
    Closed,
    /// What came is no message, or the socket failed.
    #[error("{0}")]
    Receive(#[source] ReceiveError),
    /// A message is not what its command says.
    #[error("malformed message: {0}")]
    Malformed(#[from] WireError),
    /// The client broke the ring protocol.
    #[error("ring: {0}")]
    Ring(#[from] outrigger_ring::Error),
    /// The client has cut a file of guest RAM short, or the file has no memory for a page.
    #[error("guest RAM at {0:#x} is gone: its file was cut short, or has no memory for a page")]
    GuestRam(u64),
    /// A reply could not be sent.
    #[error("cannot send: {0}")]
    Send(#[source] io::Error),
}

impl End {
    /// A socket has failed. A client that goes with replies unread, or while one is sent, has closed it like any other.
    fn of_socket(error: io::Error, otherwise: impl FnOnce(io::Error) -> Self) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => otherwise(error),
        }
    }
}

impl From<ReceiveError> for End {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Io(error) => {
                Self::of_socket(error, |error| Self::Receive(ReceiveError::Io(error)))
            }
            error => Self::Receive(error),
        }
    }
}

/// Whether a portion left something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) enum Progress {
    /// The socket says when there is more to do.
    Idle,
    /// Serve again without waiting for the socket.
    More,
}

/// A connection. What it keeps is public to the modules that answer its commands.
#[derive(Debug)]
pub(in crate::front) struct Session {
    socket: Connection,
    receiver: Receiver,
    sender: Sender,
    /// The socket took only a part: the loop tells when it takes more.
    blocked: bool,
    /// The client sends no more: what is left to be read ends with the stream's end, and nothing announces that again.
    ending: bool,
    /// A message that waits until the writes that were posted before it are applied.
    held: Option<(Vec<u8>, Vec<OwnedFd>)>,
    /// The log says that resources run out.
    wants: bool,
    /// VERSION has been exchanged.
    pub(super) negotiated: bool,
    /// The rings were part of the agreement.
    pub(super) ring_agreed: bool,
    pub(super) ring: Option<RingFront>,
    pub(super) intx: Intx,
    /// Of rings that are no more.
    pub(super) past: Counts,
    /// Accesses that came as messages. A client that may have rings is not counted: what it asks over its socket is no guest's access.
    messages: Statistics,
    /// The client was found to share no memory.
    unshared: bool,
}

impl Session {
    /// A client that has just connected.
    pub(in crate::front) fn new(socket: Connection) -> Self {
        Self {
            socket,
            receiver: Receiver::new(MAX_MESSAGE),
            sender: Sender::new(),
            blocked: false,
            ending: false,
            held: None,
            wants: false,
            negotiated: false,
            ring_agreed: false,
            ring: None,
            intx: Intx::default(),
            past: Counts::default(),
            messages: Statistics::default(),
            unshared: false,
        }
    }

    /// Has the socket watched.
    pub(in crate::front) fn register(&self, registry: &Registry) -> io::Result<()> {
        let socket = self.socket.as_raw_fd();
        registry.register(&mut SourceFd(&socket), CLIENT, Interest::READABLE)
    }

    /// Ends the watching of everything that is the client's: its descriptors live on in other processes, so closing
    /// ours would not. What was counted; and the connection, which ends when it is dropped.
    pub(in crate::front) fn close(mut self, registry: &Registry) -> (Counts, Connection) {
        self.intx.disable(registry);
        self.drop_ring(registry);
        if let Err(error) = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd())) {
            debug!(%error, "cannot stop watching the client");
        }
        (self.counts(), self.socket)
    }

    /// The client's interrupt.
    pub(in crate::front) fn intx(&mut self) -> &mut Intx {
        &mut self.intx
    }

    /// What was counted in this connection.
    pub(in crate::front) fn counts(&self) -> Counts {
        let (interrupts, unmasks) = self.intx.counts();
        let rings = self.ring.as_ref().map(Counts::of).unwrap_or_default();
        let now = Counts {
            clients: 1,
            interrupts,
            unmasks,
            // Both ends of a message are the worker's to count.
            worker: rings.worker.plus(self.messages),
            vcpus: rings.vcpus.plus(self.messages),
        };
        now.plus(self.past)
    }

    /// Notes that the client shares no memory. Whether that is news.
    pub(in crate::front) fn first_unshared(&mut self) -> bool {
        !std::mem::replace(&mut self.unshared, true)
    }

    /// Counts an access of a guest that came as a message.
    fn count(&mut self, request: &Request<'_>, posted: bool) {
        let counter = match request {
            Request::RegionWrite(_) if posted => &mut self.messages.posted,
            Request::RegionRead(_) | Request::RegionWrite(_) => &mut self.messages.crossings,
            _ => return,
        };
        *counter = counter.wrapping_add(1);
    }

    /// The client's rings.
    pub(in crate::front) fn ring(&mut self) -> Option<&mut RingFront> {
        self.ring.as_mut()
    }

    /// Whether polling the rings before a sleep can pay.
    pub(in crate::front) fn polling_pays(&self) -> bool {
        self.ring.as_ref().is_some_and(RingFront::polling_pays)
    }

    /// The socket is readable, for the last time if the client is `ending` its stream.
    pub(in crate::front) fn announced(&mut self, ending: bool) {
        self.receiver.announced();
        self.ending |= ending;
    }

    /// Answers what the socket holds, at most [`PORTION`] messages. While replies wait for the client to read
    /// them, nothing more is read from it.
    ///
    /// # Errors
    /// [`End`]: close the session.
    pub(in crate::front) fn serve(
        &mut self,
        registry: &Registry,
        function: &mut Function,
    ) -> Result<Progress, End> {
        let begin = Instant::now();
        for _ in 0..PORTION {
            let (bytes, fds) = match self.held.take() {
                Some(held) => held,
                None if !self.flush(registry)? => return Ok(Progress::Idle),
                None if self.receiver.is_drained() && !self.ending => return Ok(Progress::Idle),
                None => match self.receiver.receive(&self.socket, Wait::Never)? {
                    Received::WouldBlock => return Ok(Progress::Idle),
                    Received::Closed => return Err(End::Closed),
                    Received::Message { bytes, fds } => (bytes, fds),
                },
            };
            // Accesses that the client posted before it sent this message come first.
            if let Some(ring) = &mut self.ring
                && !ring.apply_posted(function)?
            {
                self.held = Some((bytes, fds));
                return Ok(Progress::More);
            }
            self.handle(registry, Message::new(&bytes)?, fds, function)?;
            if begin.elapsed() >= SLICE {
                break;
            }
        }
        self.flush(registry)?;
        Ok(Progress::More)
    }

    /// Sends what the socket takes; whether that was all. Writability is watched only while it was not: otherwise
    /// every reply that the client takes would wake the worker.
    fn flush(&mut self, registry: &Registry) -> Result<bool, End> {
        let done = self
            .sender
            .flush(&self.socket, Wait::Never)
            .map_err(|error| End::of_socket(error, End::Send))?;
        if self.blocked == done {
            self.blocked = !done;
            let interest = if done {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let socket = self.socket.as_raw_fd();
            registry
                .reregister(&mut SourceFd(&socket), CLIENT, interest)
                .map_err(End::Send)?;
        }
        Ok(done)
    }

    /// Answers one message.
    fn handle(
        &mut self,
        registry: &Registry,
        message: Message<'_>,
        fds: Vec<OwnedFd>,
        function: &mut Function,
    ) -> Result<(), End> {
        let header = message.header();
        let request = Request::parse(message)?;
        if !self.ring_agreed {
            self.count(&request, header.flags.contains(HeaderFlags::NO_REPLY));
        }
        let answer = self.answer(registry, header.id, &request, fds, function)?;
        // What the command has changed shows before its reply.
        if let Some(ring) = &mut self.ring {
            ring.refresh(function);
        }
        let (bytes, fds) = match answer {
            Ok(answer) => (answer.bytes, answer.fds),
            Err(errno) => {
                debug!(command = %header.command, %errno, "refused");
                // The client cannot help it, so whoever runs this process must know; once is enough.
                let wants = matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM);
                if wants && !std::mem::replace(&mut self.wants, true) {
                    warn!(command = %header.command, %errno, "a client's request fails for want of resources");
                }
                let errno = errno.raw_os_error().unsigned_abs();
                let reply = Reply::Error {
                    command: header.command,
                    errno,
                };
                (reply.emit(header.id), Vec::new())
            }
        };
        if !header.flags.contains(HeaderFlags::NO_REPLY) {
            self.sender.push(bytes, fds);
        }
        Ok(())
    }
}
