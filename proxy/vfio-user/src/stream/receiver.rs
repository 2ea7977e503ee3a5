//! Incremental receiving.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::{MAX_FDS, Wait};
use crate::WireError;
use crate::message::{self, HEADER_SIZE, Message};

/// Why a stream is at its end. After any of these, close the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer went away in the middle of a message.
    #[error("the connection ended inside a message")]
    CutOff,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One call's outcome.
#[derive(Debug)]
pub enum Received {
    /// A whole message.
    Message {
        /// Its bytes, for [`Message::new`]: the length is what the header says.
        bytes: Vec<u8>,
        /// The descriptors that came with them, close-on-exec, at most [`MAX_FDS`], in the order of sending.
        fds: Vec<OwnedFd>,
    },
    /// Nothing more for now (or the socket's time-out has passed); what has come of a message is kept.
    WouldBlock,
    /// The peer closed the connection between two messages.
    Closed,
}

/// Bytes that one call asks for where no longer message is expected: many short ones.
const READ_AHEAD: usize = 4096;

/// Puts messages together. One per connection.
#[derive(Debug)]
pub struct Receiver {
    limit: usize,
    bytes: Vec<u8>,
    /// What has come: `bytes[..filled]`.
    filled: usize,
    /// What has been handed out of it: `bytes[..taken]`.
    taken: usize,
    /// Each with the place of a byte of its message.
    fds: Vec<(usize, OwnedFd)>,
    /// The last call to the kernel took all that the socket had.
    short: bool,
}

impl Receiver {
    /// A receiver that refuses messages longer than `limit` bytes, header included.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: vec![0; READ_AHEAD],
            filled: 0,
            taken: 0,
            fds: Vec::new(),
            short: false,
        }
    }

    /// Hands out the next message; reads where none is whole, until one is, the socket has no more, or the stream ends.
    ///
    /// # Errors
    /// [`ReceiveError`]: the connection is of no more use.
    pub fn receive(&mut self, socket: impl AsFd, wait: Wait) -> Result<Received, ReceiveError> {
        loop {
            let rest = self.bytes.get(self.taken..self.filled).unwrap_or_default();
            let mut wanted = HEADER_SIZE;
            if rest.len() >= HEADER_SIZE {
                wanted = message::announced_size(rest, self.limit)?;
                if let Some(message) = rest.get(..wanted) {
                    let bytes = message.to_vec();
                    let fds = self.take(wanted)?;
                    return Ok(Received::Message { bytes, fds });
                }
            }
            // All descriptors so far are this message's.
            if self.fds.len() > MAX_FDS {
                return Err(WireError::TooManyFds.into());
            }
            self.make_room(wanted);
            match self.read(&socket, wait) {
                Ok(0) if self.filled == 0 => return Ok(Received::Closed),
                Ok(0) => return Err(ReceiveError::CutOff),
                Ok(_) => {}
                Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::WouldBlock);
                }
                Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The last look at the socket found no more than what has been handed out, and nothing was announced since: whatever comes
    /// later makes the socket readable anew. The end of the stream is no data, and does not show here.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.short && self.taken == self.filled
    }

    /// The socket has been announced to be readable.
    pub fn announced(&mut self) {
        self.short = false;
    }

    /// Moves the incomplete message, which is all that is kept, to the front of a buffer that has room for all of it.
    fn make_room(&mut self, wanted: usize) {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        for (place, _) in &mut self.fds {
            *place = place.saturating_sub(self.taken);
        }
        self.taken = 0;
        self.bytes.resize(wanted.max(READ_AHEAD), 0);
    }

    /// One call to the kernel.
    fn read(&mut self, socket: impl AsFd, wait: Wait) -> Result<usize, ReceiveError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if wait == Wait::Never {
            flags |= RecvFlags::DONTWAIT;
        }
        let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let length = room.len();
        let received = recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)
            .map_err(|errno: Errno| io::Error::from(errno))?;
        self.filled += received.bytes;
        let last = self.filled.saturating_sub(1);
        let before = self.fds.len();
        for ancillary in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = ancillary {
                self.fds.extend(fds.map(|fd| (last, fd)));
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            self.fds.clear();
            return Err(WireError::TooManyFds.into());
        }
        // Descriptors end a call before the socket is empty.
        self.short = received.bytes < length && self.fds.len() == before;
        Ok(received.bytes)
    }

    /// Hands out the next `size` bytes: the descriptors among them.
    fn take(&mut self, size: usize) -> Result<Vec<OwnedFd>, WireError> {
        self.taken += size;
        if self.fds.is_empty() {
            return Ok(Vec::new());
        }
        let later = self
            .fds
            .iter()
            .position(|(place, _)| *place >= self.taken)
            .unwrap_or(self.fds.len());
        if later > MAX_FDS {
            self.fds.clear();
            return Err(WireError::TooManyFds);
        }
        Ok(self.fds.drain(..later).map(|(_, fd)| fd).collect())
    }
}

impl Received {
    /// The checked view of a message's bytes; `None` if there is no message.
    ///
    /// # Errors
    /// [`WireError::Kind`]: neither a command nor a reply.
    pub fn message(&self) -> Result<Option<Message<'_>>, WireError> {
        match self {
            Self::Message { bytes, .. } => Message::new(bytes).map(Some),
            Self::WouldBlock | Self::Closed => Ok(None),
        }
    }
}
