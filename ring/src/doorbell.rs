//! Step 4, ring: eventfds that wake a peer, written only when it says that it sleeps.

#[cfg(all(test, not(loom)))]
pub(crate) use kernel::CALLS;
#[cfg(not(loom))]
pub use kernel::PeerWatch;
#[cfg(not(loom))]
pub(crate) use kernel::{Alarm, Doorbell};
#[cfg(loom)]
pub(crate) use modelled::{Alarm, Doorbell};

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
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::fs::{OFlags, fcntl_getfl, fstat};
    use rustix::io::{Errno, read, write};

    use super::Wake;
    use crate::error::SetupError;

    #[cfg(test)]
    thread_local! {
        /// System calls that this thread has made for doorbells.
        pub(crate) static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    fn count_call() {
        CALLS.set(CALLS.get() + 1);
    }

    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    /// An eventfd. Clones share it.
    ///
    /// The peer holds the same open file. It can saturate the counter and, where its seccomp filter
    /// does not forbid `fcntl(F_SETFL)`, clear `O_NONBLOCK`: a write would then block for ever.
    /// (`RWF_NOWAIT` would be the kernel's own answer, but an eventfd takes it for reads only.) So
    /// each write and read looks at the flag first, and polls if it was cleared. What remains is a
    /// peer that clears the flag *and* saturates (or drains) the counter between the look and the
    /// write: this is why the emulator's filter forbids `F_SETFL`.
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
            // An eventfd is an anonymous inode, which has no file type, and it alone of those
            // refuses a short write and yet polls writable. A file, pipe or socket would not be
            // asked to write anything: its type gives it away.
            let anonymous = fstat(&eventfd)?.st_mode & 0o170_000 == 0;
            let non_blocking = fcntl_getfl(&eventfd)?.contains(OFlags::NONBLOCK | OFlags::RDWR);
            let doorbell = Self {
                eventfd: Arc::new(eventfd),
            };
            if !anonymous
                || !non_blocking
                || write(&doorbell.eventfd, &[0; 4]) != Err(Errno::INVAL)
                || !doorbell.polls(PollFlags::OUT)
            {
                return Err(SetupError::Doorbell);
            }
            Ok(doorbell)
        }

        /// Rings. Never blocks; a failure is the doing of the peer that gave the descriptor, and
        /// costs its own wake-up.
        pub(crate) fn ring(&self) {
            if self.cannot_block(PollFlags::OUT) {
                #[cfg(test)]
                count_call();
                let _ = write(&self.eventfd, &1_u64.to_ne_bytes());
            }
        }

        /// Forgets that it was rung.
        pub(crate) fn drain(&self) {
            if self.cannot_block(PollFlags::IN) {
                #[cfg(test)]
                count_call();
                let _ = read(&self.eventfd, &mut [0; 8]);
            }
        }

        fn cannot_block(&self, flags: PollFlags) -> bool {
            #[cfg(test)]
            count_call();
            fcntl_getfl(&self.eventfd).is_ok_and(|status| status.contains(OFlags::NONBLOCK))
                || self.polls(flags)
        }

        fn polls(&self, flags: PollFlags) -> bool {
            #[cfg(test)]
            count_call();
            let mut fds = [PollFd::new(&self.eventfd, flags)];
            poll(&mut fds, Some(&NOW)).is_ok()
                && fds.iter().any(|fd| fd.revents().intersects(flags))
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
        fn what(&self) -> (BorrowedFd<'_>, EventFlags) {
            match self {
                Self::Socket(socket) => (socket.as_fd(), EventFlags::RDHUP),
                Self::Process(pidfd) => (pidfd.as_fd(), EventFlags::IN),
            }
        }
    }

    /// What wakes a side that sleeps: its doorbell, and its peer's end.
    ///
    /// The doorbell is watched edge-triggered. Each write to an eventfd is an edge, whatever its
    /// counter says, so a sleep is one system call: nothing has to be read for the next edge to be
    /// heard. The counter only grows; to fill it by ringing takes longer than machines last.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        epoll: OwnedFd,
        /// Kept open: what is closed is watched no longer.
        _bell: Doorbell,
        _peer: PeerWatch,
    }

    impl Alarm {
        const BELL: u64 = 0;
        const PEER: u64 = 1;

        /// An alarm that rings when `bell` does, or when the peer is gone.
        pub(crate) fn new(bell: Doorbell, peer: PeerWatch) -> Result<Self, SetupError> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let edges = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &bell, EventData::new_u64(Self::BELL), edges)?;
            let (fd, gone) = peer.what();
            epoll::add(&epoll, fd, EventData::new_u64(Self::PEER), gone)?;
            Ok(Self {
                epoll,
                _bell: bell,
                _peer: peer,
            })
        }

        /// Sleeps until the bell has been rung since the last sleep, the peer has died, or
        /// `timeout` (rounded up to milliseconds) is over.
        pub(crate) fn sleep(&self, timeout: Duration) -> Result<Wake, Errno> {
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
            // No longer than a plain epoll_wait can: epoll_pwait2 is not in every filter of a VMM.
            let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
            let timeout = Timespec {
                tv_sec: (milliseconds / 1000).into(),
                tv_nsec: (milliseconds % 1000 * 1_000_000).into(),
            };
            #[cfg(test)]
            count_call();
            let mut events = [MaybeUninit::uninit(); 2];
            match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
                Ok(([], _)) => Ok(Wake::TimedOut),
                // The bell goes first: what the peer did before it died counts.
                Ok(([event], _)) if event.data.u64() == Self::PEER => Ok(Wake::PeerGone),
                Ok(_) | Err(Errno::INTR) => Ok(Wake::Rung),
                Err(errno) => Err(errno),
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

        /// As an edge-triggered watcher sleeps: one ring, or several since the last sleep, end one
        /// sleep.
        pub(crate) fn sleep(&self) {
            let (rung, condition) = &*self.state;
            let mut rung = rung.lock().unwrap();
            while !*rung {
                rung = condition.wait(rung).unwrap();
            }
            *rung = false;
        }
    }

    /// The model's peers do not die, and its time does not run out.
    #[derive(Debug)]
    pub(crate) struct Alarm(pub(crate) Doorbell);

    impl Alarm {
        pub(crate) fn sleep(&self, _: Duration) -> Result<Wake, Errno> {
            self.0.sleep();
            Ok(Wake::Rung)
        }
    }
}
