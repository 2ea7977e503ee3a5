//! Step 5, intake: where clients come from. Whatever closes one of these sockets lets the other side read its end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use outrigger_vfio_user::hang_up;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};

/// Where clients come from.
#[derive(Debug)]
pub enum Endpoint {
    /// A listening UNIX stream socket: clients one after another. A client that connects while another is
    /// served waits in the backlog.
    Listening(Listener),
    /// One connected UNIX stream socket, inherited: one client, then the export is over.
    Connected(Connection),
}

/// A connected socket. When it is dropped, the peer reads the end of the stream, and never that the connection was reset: a VMM may
/// take that badly.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl From<OwnedFd> for Connection {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<UnixStream> for Connection {
    fn from(socket: UnixStream) -> Self {
        Self(socket.into())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        hang_up(&self.0);
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// Nobody else listens on it: whoever waits there when it is dropped waits for nothing.
    own: bool,
}

impl Listener {
    /// A socket that this process has bound.
    #[must_use]
    pub fn bound(socket: OwnedFd) -> Self {
        Self { socket, own: true }
    }

    /// A socket that a parent has bound, and may listen on again.
    #[must_use]
    pub fn inherited(socket: OwnedFd) -> Self {
        Self { socket, own: false }
    }

    /// Takes the client that has waited longest.
    ///
    /// # Errors
    /// EAGAIN: nobody waits. Else what the kernel says.
    pub fn accept(&self) -> Result<Connection, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        accept_with(&self.socket, flags).map(Connection)
    }
}

impl Listener {
    /// Whether a client waits.
    #[must_use]
    pub fn has_client(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Self {
        Self::bound(socket.into())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        /// More than the longest backlog that a kernel has by default.
        const MOST: usize = 4096;
        // After the shutdown nobody joins those who wait. A listening socket that is closed would reset their connections.
        if self.own && shutdown(&self.socket, Shutdown::Both).is_ok() {
            let waiting = std::iter::from_fn(|| self.accept().ok());
            waiting.take(MOST).for_each(drop);
        }
    }
}
