//! Step 9, block: the io_uring engine: reads and writes straight between the file and guest RAM, one
//! `io_uring_enter` for all that a run of the device collected.

mod sys;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::sys::Ring;
use super::Completion;
use super::job::{Files, Job};

/// When to offer the kernel again what it had no memory for.
const RETRY: Duration = Duration::from_millis(1);

/// The engine.
#[derive(Debug)]
pub(super) struct Uring {
    ring: Ring,
    /// Jobs that never got into the ring.
    failed: Vec<Completion>,
    retry: Option<Instant>,
}

impl Uring {
    /// # Errors
    /// What `io_uring_setup` says: EPERM or ENOSYS where it is not allowed.
    pub(super) fn new(files: Arc<Files>, entries: u32) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(files, entries)?,
            failed: Vec::new(),
            retry: None,
        })
    }

    /// Queues a job; [`Uring::kick`] starts it. The caller keeps to the number of entries.
    pub(super) fn start(&mut self, job: Job) {
        if let Some(job) = self.ring.start(job) {
            let result = Err(super::BlockError::Io {
                offset: None,
                source: io::ErrorKind::ResourceBusy.into(),
            });
            self.failed.push(job.complete(result));
        }
    }

    pub(super) fn kick(&mut self) {
        self.retry = match self.ring.submit() {
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(%error, "io_uring_enter will be repeated");
                Some(Instant::now() + RETRY)
            }
        };
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        into.append(&mut self.failed);
        while let Some((mut job, answer)) = self.ring.next_answer() {
            match job.answer(answer) {
                Some(result) => into.push(job.complete(result)),
                None => self.start(job),
            }
        }
        if self.ring.has_unsubmitted() {
            self.kick();
        }
    }

    /// Waits for all that was started.
    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        if cancel {
            self.ring.cancel_all();
        }
        self.reap(into);
        while self.ring.is_busy() {
            if let Err(error) = self.ring.wait() {
                // Not for want of memory or time: the kernel refuses the call itself.
                tracing::error!(%error, "io_uring_enter failed, requests are left behind");
                break;
            }
            self.reap(into);
        }
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry
    }
}
