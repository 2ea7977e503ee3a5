//! Step 3, port: the vfio-user client.
//!
//! One UNIX stream socket, one request outstanding. Every exchange has an absolute deadline,
//! however the bytes trickle. A reply is believed when its size, id, command and descriptors are
//! what the request asks for; the caller checks the values. The first failure is final: the
//! connection is shut down, and later requests fail at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_vfio_user::{
    Command, Message, ReceiveError, Received, Receiver, Reply, Request, Sender, Wait, WireError,
    hang_up,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::health::{Event, Health};
use crate::port::PortError;

mod port;

pub(crate) use port::SocketPort;

/// The longest reply that is accepted: a header page of config space or a region's capabilities,
/// with room.
const MAX_REPLY: usize = 4096;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The connection is dead, from now on or since before.
    #[error(transparent)]
    Dead(#[from] PortError),
    /// The emulator said no. The connection is as good as before.
    #[error("{command} was refused with errno {errno}")]
    Refused { command: Command, errno: u32 },
}

impl From<WireError> for RequestError {
    fn from(error: WireError) -> Self {
        Self::Dead(PortError::Corrupt(error.to_string()))
    }
}

/// What came back: the bytes of a reply to the command that was sent, and its descriptors.
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Answer {
    /// The reply as a value: never [`Reply::Error`].
    pub(crate) fn reply(&self) -> Result<Reply<'_>, RequestError> {
        match Reply::parse(Message::new(&self.bytes)?)? {
            Reply::Error { command, errno } => Err(RequestError::Refused { command, errno }),
            reply => Ok(reply),
        }
    }
}

#[derive(Debug)]
struct Exchange {
    receiver: Receiver,
    sender: Sender,
    next_id: u16,
}

/// The control connection of one device. Shared: requests take turns.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    exchange: Mutex<Exchange>,
    deadline: Duration,
    health: Arc<Health>,
}

impl Connection {
    /// A client on this connected stream socket. `health` hears of the connection's end.
    pub(crate) fn new(socket: OwnedFd, deadline: Duration, health: Arc<Health>) -> Self {
        let exchange = Exchange {
            receiver: Receiver::new(MAX_REPLY),
            sender: Sender::new(),
            next_id: 0,
        };
        Self {
            socket,
            exchange: Mutex::new(exchange),
            deadline,
            health,
        }
    }

    /// The socket, to watch for hang-up. Nobody else may read from it.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Reports a peer that answered in form but not in substance; the error to return.
    pub(crate) fn corrupt(&self, reason: String) -> RequestError {
        self.health.fail(Event::Corrupt(reason.clone()));
        PortError::Corrupt(reason).into()
    }

    /// Sends a request with descriptors and waits for its reply, which may carry up to `max_fds`
    /// descriptors.
    pub(crate) fn request(
        &self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        max_fds: usize,
    ) -> Result<Answer, RequestError> {
        self.exchange(|exchange| {
            let deadline = Instant::now() + self.deadline;
            let id = self.send(exchange, request, fds, false, deadline)?;
            self.receive(exchange, id, request.command(), max_fds, deadline)
        })
        .and_then(|answer| {
            match answer.reply() {
                Ok(_) => {}
                Err(RequestError::Dead(error)) => return Err(self.dead(error)),
                Err(_) if !answer.fds.is_empty() => {
                    return Err(self.corrupt("descriptors with an error".into()));
                }
                Err(refused) => return Err(refused),
            }
            Ok(answer)
        })
    }

    /// Sends a request that wants no reply: returns when it is in the socket.
    pub(crate) fn post(&self, request: &Request<'_>) -> Result<(), RequestError> {
        self.exchange(|exchange| {
            let deadline = Instant::now() + self.deadline;
            self.send(exchange, request, &[], true, deadline).map(drop)
        })
    }

    /// One turn on the connection. A failure is reported before the next turn begins.
    fn exchange<T>(
        &self,
        turn: impl FnOnce(&mut Exchange) -> Result<T, PortError>,
    ) -> Result<T, RequestError> {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        if self.health.is_dead() {
            return Err(PortError::PeerGone.into());
        }
        turn(&mut exchange).map_err(|error| self.dead(error))
    }

    fn dead(&self, error: PortError) -> RequestError {
        self.health.fail(error.to_event());
        error.into()
    }

    fn send(
        &self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        no_reply: bool,
        deadline: Instant,
    ) -> Result<u16, PortError> {
        let id = exchange.next_id;
        exchange.next_id = id.wrapping_add(1);
        let fds: Result<Vec<_>, _> = fds.iter().map(BorrowedFd::try_clone_to_owned).collect();
        exchange.sender.push(
            request.emit(id, no_reply),
            fds.map_err(|error| lost(&error))?,
        );
        while !exchange
            .sender
            .flush(&self.socket, Wait::Never)
            .map_err(|error| lost(&error))?
        {
            self.wait(PollFlags::OUT, deadline)?;
        }
        Ok(id)
    }

    fn receive(
        &self,
        exchange: &mut Exchange,
        id: u16,
        command: Command,
        max_fds: usize,
        deadline: Instant,
    ) -> Result<Answer, PortError> {
        loop {
            self.wait(PollFlags::IN, deadline)?;
            let received = exchange.receiver.receive(&self.socket, Wait::Never);
            let (bytes, fds) = match received {
                Ok(Received::Message { bytes, fds }) => (bytes, fds),
                Ok(Received::WouldBlock) => continue,
                Ok(Received::Closed) | Err(ReceiveError::CutOff) => {
                    return Err(PortError::PeerGone);
                }
                Err(ReceiveError::Io(error)) => return Err(lost(&error)),
                Err(error) => return Err(PortError::Corrupt(error.to_string())),
            };
            check(&bytes, id, command).map_err(PortError::Corrupt)?;
            if fds.len() > max_fds {
                let count = fds.len();
                return Err(PortError::Corrupt(format!(
                    "{count} descriptors with the reply to {command}"
                )));
            }
            return Ok(Answer { bytes, fds });
        }
    }

    /// Waits for an event or a hang-up; the read or write after it tells which.
    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), PortError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PortError::TimedOut);
            }
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.socket, flags)], timeout.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(lost(&errno.into())),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A reply that nobody has read must not look like a failure to the emulator.
        hang_up(&self.socket);
    }
}

/// Whether these bytes are a reply to that request.
fn check(bytes: &[u8], id: u16, command: Command) -> Result<(), String> {
    let header = Message::new(bytes)
        .map_err(|error| error.to_string())?
        .header();
    if header.kind != outrigger_vfio_user::Kind::Reply {
        return Err(format!(
            "the command {} where the reply to {command} is due",
            header.command
        ));
    }
    if header.id != id || header.command != command {
        return Err(format!(
            "a reply to {} with id {} where the reply to {command} with id {id} is due",
            header.command, header.id
        ));
    }
    Ok(())
}

/// A socket that fails has lost its peer as far as anyone here can tell.
fn lost(error: &std::io::Error) -> PortError {
    tracing::debug!(%error, "the control connection failed");
    PortError::PeerGone
}

#[cfg(test)]
mod tests;
