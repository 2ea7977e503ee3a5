//! Step 5, intake: tells a worker that is awake that one of its descriptors is ready, without a system call.
//!
//! A worker that polls its rings would have to ask the kernel for everything else. Instead a poll of the loop's epoll instance
//! waits in an io_uring. When a descriptor becomes ready the kernel raises a flag in the io_uring's shared memory, and
//! does not interrupt the worker; the worker looks at the flag at each turn, and asks the kernel only if it is up.
//!
//! It is an invitation to look and nothing more: who sleeps in epoll needs none, and one too many costs a look. The kernel
//! lowers the flag at the end of the look itself, and with it what came after epoll was asked: so a look that has lowered it is
//! followed by another one.

mod sys;

use std::os::fd::RawFd;

use self::sys::Ring;

/// The flag, where the kernel has one to offer.
#[derive(Debug)]
pub(super) struct Alert {
    /// The loop's epoll instance.
    epoll: RawFd,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody polls yet.
    Idle(Ring),
    Armed {
        ring: Ring,
        /// The last look has lowered the flag.
        doubtful: bool,
    },
    /// The kernel has refused something: the worker must look for itself.
    Unavailable,
}

impl Alert {
    /// To be made before the process forbids itself to make an io_uring. `epoll` stays open as long as this is used.
    pub(super) fn new(epoll: RawFd) -> Self {
        let state = match Ring::new() {
            Ok(ring) => State::Idle(ring),
            Err(error) => {
                tracing::debug!(%error, "no io_uring: a worker that polls looks at its descriptors again and again");
                State::Unavailable
            }
        };
        Self { epoll, state }
    }

    /// Begins to watch, if it does not yet. From the first call on it belongs to the calling thread.
    pub(super) fn arm(&mut self) {
        if let State::Idle(ring) = &mut self.state {
            let armed = ring.watch(self.epoll);
            self.state = match (
                armed,
                std::mem::replace(&mut self.state, State::Unavailable),
            ) {
                (Ok(()), State::Idle(ring)) => State::Armed {
                    ring,
                    doubtful: false,
                },
                _ => State::Unavailable,
            };
        }
    }

    /// Whether a look at the descriptors may find something; `None`: nobody knows.
    pub(super) fn is_raised(&mut self) -> Option<bool> {
        match &mut self.state {
            State::Armed { ring, doubtful } => Some(*doubtful || ring.has_news()),
            State::Idle(_) | State::Unavailable => None,
        }
    }

    /// After a look at all descriptors: lowers the flag, unless something may have come meanwhile.
    pub(super) fn looked(&mut self) {
        let lowered = self.lower();
        if let State::Armed { doubtful, .. } = &mut self.state {
            *doubtful = lowered;
        }
    }

    /// After a system call that has found what the flag was about: lowers it. What came with that is seen with the next event, or
    /// with a look that is due without one.
    pub(super) fn explained(&mut self) {
        self.lower();
    }

    /// Whether there was anything to lower.
    fn lower(&mut self) -> bool {
        let State::Armed { ring, .. } = &mut self.state else {
            return false;
        };
        ring.go_on(self.epoll).unwrap_or_else(|error| {
            tracing::debug!(%error, "the poll in the io_uring has ended");
            self.state = State::Unavailable;
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    /// Rung, looked twice, rung again: also where nobody drains the eventfd, and where several rings come before a look, more than
    /// there is room for.
    #[test]
    fn each_ring_raises_it_until_the_look() {
        let mut poll = Poll::new().unwrap();
        let mut alert = Alert::new(poll.as_raw_fd());
        assert_eq!(alert.is_raised(), None, "not armed");
        alert.arm();
        let Some(raised) = alert.is_raised() else {
            outrigger_skip::skipped("no io_uring here");
            return;
        };
        assert!(!raised);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        poll.registry()
            .register(
                &mut SourceFd(&bell.as_raw_fd()),
                Token(7),
                Interest::READABLE,
            )
            .unwrap();
        let mut events = Events::with_capacity(4);
        for rings in [1, 1, 3, 1, 16, 17, 1, 100, 1] {
            for _ in 0..rings {
                rustix::io::write(&bell, &1_u64.to_ne_bytes()).unwrap();
            }
            for found in [1, 0] {
                assert_eq!(alert.is_raised(), Some(true));
                poll.poll(&mut events, Some(std::time::Duration::ZERO))
                    .unwrap();
                assert_eq!(events.iter().count(), found);
                alert.looked();
            }
            assert_eq!(alert.is_raised(), Some(false));
        }
    }
}
