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

/// Puts messages together. One per connection.
#[derive(Debug)]
pub struct Receiver {
    limit: usize,
    /// As long as what is being read for: a header, or the whole message.
    bytes: Vec<u8>,
    filled: usize,
    fds: Vec<OwnedFd>,
}

impl Receiver {
    /// A receiver that refuses messages longer than `limit` bytes, header included.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: vec![0; HEADER_SIZE],
            filled: 0,
            fds: Vec::new(),
        }
    }

    /// Reads until a message is whole, the socket has no more, or the stream ends.
    ///
    /// # Errors
    /// [`ReceiveError`]: the connection is of no more use.
    pub fn receive(&mut self, socket: impl AsFd, wait: Wait) -> Result<Received, ReceiveError> {
        loop {
            if self.filled == self.bytes.len() {
                let size = message::announced_size(&self.bytes, self.limit)?;
                if size == self.filled {
                    return Ok(self.take());
                }
                self.bytes.resize(size, 0);
            }
            match self.read(&socket, wait) {
                Ok(0) if self.filled == 0 => return Ok(Received::Closed),
                Ok(0) => return Err(ReceiveError::CutOff),
                Ok(count) => self.filled += count,
                Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::WouldBlock);
                }
                Err(ReceiveError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One call to the kernel: bytes up to the end of what is wanted now, and the descriptors with them.
    fn read(&mut self, socket: impl AsFd, wait: Wait) -> Result<usize, ReceiveError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if wait == Wait::Never {
            flags |= RecvFlags::DONTWAIT;
        }
        let wanted = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let received = recvmsg(socket, &mut [IoSliceMut::new(wanted)], &mut control, flags)
            .map_err(|errno: Errno| io::Error::from(errno))?;
        for ancillary in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = ancillary {
                self.fds.extend(fds);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MAX_FDS {
            self.fds.clear();
            return Err(WireError::TooManyFds.into());
        }
        Ok(received.bytes)
    }

    fn take(&mut self) -> Received {
        self.filled = 0;
        let bytes = std::mem::replace(&mut self.bytes, vec![0; HEADER_SIZE]);
        Received::Message {
            bytes,
            fds: std::mem::take(&mut self.fds),
        }
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
