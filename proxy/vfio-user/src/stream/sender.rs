//! Sending, also when the socket takes only a part.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{MAX_FDS, Wait};

/// Sends a whole message on a blocking socket. The descriptors go with its first byte.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_FDS`] descriptors; `WriteZero` if the socket takes nothing; what `sendmsg` says. Part of the message may be
/// on its way then: the connection is of no more use.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut rest = bytes;
    let mut fds = fds;
    while !rest.is_empty() {
        match send_part(&socket, rest, fds, Wait::AsSocket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                rest = rest.get(sent..).unwrap_or_default();
                fds = &[];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One call to the kernel. How many bytes it took; the descriptors went with the first of them.
fn send_part(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut flags = SendFlags::NOSIGNAL;
    if wait == Wait::Never {
        flags |= SendFlags::DONTWAIT;
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        flags,
    )?)
}

/// A message that is on its way out.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Empty once the first byte is out.
    fds: Vec<OwnedFd>,
}

/// Messages that wait until the socket takes them, in order. One per connection.
#[derive(Debug, Default)]
pub struct Sender {
    queue: VecDeque<Outgoing>,
}

impl Sender {
    /// A sender with nothing to send.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a message at the end of the queue; [`Sender::flush`] sends it. The queue has no limit of its own: do
    /// not take further commands from a peer while it is not empty.
    pub fn push(&mut self, bytes: Vec<u8>, fds: Vec<OwnedFd>) {
        self.queue.push_back(Outgoing {
            bytes,
            sent: 0,
            fds,
        });
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what the socket takes. `true`: everything is out; `false`: try again when the socket is writable.
    ///
    /// # Errors
    /// As [`send`]: the connection is of no more use.
    pub fn flush(&mut self, socket: impl AsFd, wait: Wait) -> io::Result<bool> {
        while let Some(message) = self.queue.front_mut() {
            let rest = message.bytes.get(message.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.queue.pop_front();
                continue;
            }
            let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
            match send_part(&socket, rest, &fds, wait) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    message.sent += sent;
                    message.fds.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
