//! A reader's side: from the socket's path to the page.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_ring::{CounterView, SetupError};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, recvmsg, socket_with,
};

use super::{GREETING_BYTES, MAGIC, Sample};

/// An emulator that has not answered by then does not: its first thread has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(3);
/// A worker that has not written the page by then is in the middle of something long: what is there must do.
const FRESH: Duration = Duration::from_secs(1);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// There is no such file.
    #[error("there is no such socket: give the one of stats= in --export of an emulator that runs")]
    Absent,
    /// There is a socket and nobody behind it.
    #[error("nobody listens there: the emulator has ended")]
    Ended,
    /// The socket's file is not for this user.
    #[error("no permission to connect: ask as the user that runs the emulator")]
    Permission,
    /// Somebody listens and says nothing.
    #[error("no statistics came within {} seconds: give the socket of stats= in --export, not the one of path=", .0.as_secs())]
    Silent(Duration),
    /// The socket failed.
    #[error(transparent)]
    Socket(io::Error),
    /// Who answered is no emulator.
    #[error("what answers there hands out no statistics: give the socket of stats= in --export")]
    Answer,
    /// What came with the answer is no page.
    #[error("no page of statistics")]
    Page(#[from] SetupError),
}

/// A worker's page, mapped to read. The worker does not know of it.
#[derive(Debug)]
pub struct Page {
    view: CounterView,
}

impl PageError {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Ended,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent(PATIENCE),
            _ => Self::Socket(error),
        }
    }
}

/// Connects; neither this nor a read from the socket takes longer than [`PATIENCE`], also where the backlog is full.
fn connect(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(PATIENCE))?;
    }
    retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(socket)
}

impl Page {
    /// Asks the emulator that listens at `path` for its page, and waits until the worker has written it once more: what is read
    /// from it then is not older than this call.
    ///
    /// # Errors
    /// [`PageError`]; within a few seconds.
    pub fn open(path: &Path) -> Result<Self, PageError> {
        let socket = connect(path).map_err(PageError::of)?;
        let mut bytes = [0; GREETING_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(|errno| PageError::of(errno.into()))?;
        if received.bytes == 0 {
            return Err(PageError::Ended);
        }
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let Some(updates) = bytes.strip_prefix(&MAGIC) else {
            return Err(PageError::Answer);
        };
        let (Ok(updates), GREETING_BYTES, Some(page)) =
            (updates.try_into(), received.bytes, fds.pop())
        else {
            return Err(PageError::Answer);
        };
        let updates = u64::from_le_bytes(updates);
        let view = CounterView::new(page)?;
        let begin = Instant::now();
        while view.read().0 <= updates && begin.elapsed() < FRESH {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { view })
    }

    /// The counters now: while the worker is busy at most 100 microseconds old, else as of when it went to sleep.
    #[must_use]
    pub fn read(&self) -> Sample {
        Sample::new(&self.view.read().1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Whatever answers, a reader ends with an error.
    #[test]
    fn what_is_no_emulator_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let missing = Page::open(&path).unwrap_err();
        assert!(matches!(missing, PageError::Absent));
        let listener = UnixListener::bind(&path).unwrap();
        for answer in [
            &b"OUTRSTA1"[..],
            b"OUTRSTA1\0\0\0\0\0\0\0\0",
            b"HTTP/1.1 400 Bad",
        ] {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut reader, _) = listener.accept().unwrap();
                    reader.write_all(answer).unwrap();
                });
                let refused = Page::open(&path).unwrap_err();
                assert!(matches!(refused, PageError::Answer), "{answer:?}");
            });
        }
        // A VMM's socket: it is the client's turn to speak there.
        let silent = Page::open(&path).unwrap_err();
        assert!(matches!(silent, PageError::Silent(_)), "{silent}");
        drop(listener);
        let ended = Page::open(&path).unwrap_err();
        assert!(matches!(ended, PageError::Ended), "{ended}");
    }
}
