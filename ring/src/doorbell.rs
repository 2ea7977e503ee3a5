//! Step 4, ring: eventfds that wake a peer, written only when it says that it sleeps.

#[cfg(not(loom))]
pub(crate) use kernel::Doorbell;
#[cfg(not(loom))]
pub use kernel::PeerWatch;
#[cfg(loom)]
pub(crate) use modelled::{Doorbell, PeerWatch};

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    loom,
    expect(dead_code, reason = "the model neither times out nor dies")
)]
pub(crate) enum Wake {
    /// By the doorbell, or by a signal: look again.
    Rung,
    /// The watched peer is gone.
    PeerGone,
    /// The time ran out.
    TimedOut,
}

#[cfg(not(loom))]
mod kernel {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::fs::{OFlags, fcntl_getfl, fstat};
    use rustix::io::{Errno, read, write};

    use super::Wake;
    use crate::error::SetupError;

    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    /// An eventfd. Clones share it.
    ///
    /// The peer holds the same open file. It can saturate the counter and, where its seccomp filter does not forbid
    /// `fcntl(F_SETFL)`, clear `O_NONBLOCK`: a write would then block for ever. So each write and read polls first, and a
    /// saturated counter counts as rung, as it is readable. What remains is a peer that clears the flag *and* saturates (or
    /// drains) the counter between the poll and the write: this is why the emulator's filter forbids `F_SETFL`.
    #[derive(Clone, Debug)]
    pub(crate) struct Doorbell {
        eventfd: Arc<OwnedFd>,
    }

    impl Doorbell {
        /// A new one, not rung.
        pub(crate) fn new() -> Result<Self, SetupError> {
            let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
            Ok(Self {
                eventfd: Arc::new(eventfd),
            })
        }

        /// Takes an eventfd that the peer made, if it is a non-blocking one.
        pub(crate) fn adopt(eventfd: OwnedFd) -> Result<Self, SetupError> {
            // An eventfd is an anonymous inode, which has no file type, and it alone of those refuses a short write and yet
            // polls writable. A file, pipe or socket would not be asked to write anything: its type gives it away.
            let anonymous = fstat(&eventfd)?.st_mode & 0o170_000 == 0;
            let non_blocking = fcntl_getfl(&eventfd)?.contains(OFlags::NONBLOCK | OFlags::RDWR);
            if !anonymous || !non_blocking || write(&eventfd, &[0; 4]) != Err(Errno::INVAL) {
                return Err(SetupError::Doorbell);
            }
            Ok(Self {
                eventfd: Arc::new(eventfd),
            })
        }

        /// Rings. Never blocks; a failure is the doing of the peer that gave the descriptor, and costs its own wake-up.
        pub(crate) fn ring(&self) {
            if self.polls(PollFlags::OUT) {
                let _ = write(&self.eventfd, &1_u64.to_ne_bytes());
            }
        }

        /// Forgets that it was rung.
        pub(crate) fn drain(&self) {
            if self.polls(PollFlags::IN) {
                let _ = read(&self.eventfd, &mut [0; 8]);
            }
        }

        fn polls(&self, flags: PollFlags) -> bool {
            let mut fds = [PollFd::new(&self.eventfd, flags)];
            poll(&mut fds, Some(&NOW)).is_ok()
                && fds.iter().any(|fd| fd.revents().intersects(flags))
        }

        /// Sleeps until it is rung, the peer dies, or `timeout` is over; then forgets that it was rung.
        pub(crate) fn wait(&self, watch: &PeerWatch, timeout: Duration) -> Result<Wake, Errno> {
            let timeout = Timespec {
                tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: timeout.subsec_nanos().into(),
            };
            let (peer, gone) = watch.what();
            let mut fds = [
                PollFd::new(&self.eventfd, PollFlags::IN),
                PollFd::from_borrowed_fd(peer, gone),
            ];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(Wake::TimedOut),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let [bell, peer] = fds.map(|fd| fd.revents());
            // The bell goes first: what the peer did before it died counts.
            if bell.is_empty() && !peer.is_empty() {
                return Ok(Wake::PeerGone);
            }
            self.drain();
            Ok(Wake::Rung)
        }
    }

    impl AsFd for Doorbell {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.eventfd.as_fd()
        }
    }

    /// What tells that the peer is gone: eventfds and shared memory do not.
    #[derive(Clone, Debug)]
    pub enum PeerWatch {
        /// A connected socket: the peer is gone when it hangs up. Messages on it are ignored.
        Socket(Arc<OwnedFd>),
        /// A pidfd: the peer is gone when the process has ended.
        Process(Arc<OwnedFd>),
    }

    impl PeerWatch {
        fn what(&self) -> (BorrowedFd<'_>, PollFlags) {
            match self {
                Self::Socket(socket) => (socket.as_fd(), PollFlags::RDHUP),
                Self::Process(pidfd) => (pidfd.as_fd(), PollFlags::IN),
            }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::time::Duration;

    use loom::sync::{Arc, Condvar, Mutex};
    use rustix::io::Errno;

    use super::Wake;

    /// An eventfd in loom's world. A wake-up that never comes is a deadlock, which loom reports.
    #[derive(Clone, Debug)]
    pub(crate) struct Doorbell {
        state: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Doorbell {
        pub(crate) fn new() -> Self {
            Self {
                state: Arc::new((Mutex::new(false), Condvar::new())),
            }
        }

        pub(crate) fn ring(&self) {
            let (rung, condition) = &*self.state;
            *rung.lock().unwrap() = true;
            condition.notify_one();
        }

        pub(crate) fn drain(&self) {
            *self.state.0.lock().unwrap() = false;
        }

        pub(crate) fn wait(&self, _: &PeerWatch, _: Duration) -> Result<Wake, Errno> {
            let (rung, condition) = &*self.state;
            let mut rung = rung.lock().unwrap();
            while !*rung {
                rung = condition.wait(rung).unwrap();
            }
            *rung = false;
            Ok(Wake::Rung)
        }
    }

    /// The model's peers do not die.
    #[derive(Clone, Debug)]
    pub(crate) struct PeerWatch;
}
