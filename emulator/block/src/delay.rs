//! Step 9, block: a decorator that holds requests back, for tests.
//!
//! A held request is not started: its bytes move, at the earliest, when it is let go.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, epoll};

use super::{Backend, BlockError, Completion, Request};

/// How long requests are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For a time, or until [`DelayHandle::release`].
    For(Duration),
    /// Until [`DelayHandle::release`].
    UntilReleased,
}

/// Lets held requests go, from any thread.
#[derive(Clone, Debug)]
pub struct DelayHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Requests that may go and have not gone yet.
    released: AtomicU64,
    held: AtomicUsize,
    wake: OwnedFd,
}

impl DelayHandle {
    /// The next `count` requests may go, the oldest first, whether they are held already or come later. They go in
    /// the backend's next [`Backend::reap`], for which its wake descriptor becomes readable.
    pub fn release(&self, count: u64) {
        let add = |released: u64| Some(released.saturating_add(count));
        // It always adds.
        let _ = self
            .0
            .released
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        // It can only fail when the counter is full, and then the reader is awake already.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    /// How many requests are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Acquire)
    }
}

/// A backend whose requests are held back.
#[derive(Debug)]
pub struct Delay {
    inner: Backend,
    hold: Hold,
    /// In order, with the time when each goes by itself.
    held: VecDeque<(Option<Instant>, Request)>,
    shared: Arc<Shared>,
    /// Readable when `shared.wake` or the inner backend's descriptor is.
    either: OwnedFd,
}

impl Delay {
    pub(super) fn new(inner: Backend, hold: Hold) -> io::Result<(Self, DelayHandle)> {
        let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for fd in [Some(wake.as_fd()), inner.wake_fd()].into_iter().flatten() {
            epoll::add(
                &either,
                fd,
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )?;
        }
        let shared = Arc::new(Shared {
            released: 0.into(),
            held: 0.into(),
            wake,
        });
        let handle = DelayHandle(Arc::clone(&shared));
        Ok((
            Self {
                inner,
                hold,
                held: VecDeque::new(),
                shared,
                either,
            },
            handle,
        ))
    }

    pub(super) fn inner_mut(&mut self) -> &mut Backend {
        &mut self.inner
    }

    pub(super) fn inner(&self) -> &Backend {
        &self.inner
    }

    pub(super) fn submit(&mut self, request: Request) -> Option<Completion> {
        let due = match self.hold {
            Hold::For(time) => Instant::now().checked_add(time),
            Hold::UntilReleased => None,
        };
        if self.held.is_empty() && self.take_release() {
            return self.inner.submit(request);
        }
        self.held.push_back((due, request));
        self.count();
        None
    }

    pub(super) fn kick(&mut self) {
        self.inner.kick();
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        // First the counter, then the number: what comes in between is announced again.
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        let now = Instant::now();
        while let Some((due, _)) = self.held.front() {
            if !due.is_some_and(|due| due <= now) && !self.take_release() {
                break;
            }
            let Some((_, request)) = self.held.pop_front() else {
                break;
            };
            into.extend(self.inner.submit(request));
        }
        self.count();
        self.inner.kick();
        self.inner.reap(into);
    }

    /// Held requests are cancelled, or let go at once.
    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        for (_, request) in self.held.drain(..) {
            if cancel {
                into.push(request.complete(Err(BlockError::Cancelled)));
            } else {
                into.extend(self.inner.submit(request));
            }
        }
        self.count();
        self.inner.kick();
        self.inner.drain(cancel, into);
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = self.held.front().and_then(|(due, _)| *due);
        [own, self.inner.deadline()].into_iter().flatten().min()
    }

    fn take_release(&self) -> bool {
        let take = |released: u64| released.checked_sub(1);
        self.shared
            .released
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    fn count(&self) {
        self.shared.held.store(self.held.len(), Ordering::Release);
    }
}
