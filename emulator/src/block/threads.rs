//! Step 9, block: the thread engine, where io_uring is not allowed: a few threads that make blocking calls.
//!
//! All threads start when the image is opened, because the sandbox forbids it later.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;

use super::job::{Files, Job};
use super::{BlockError, Completion};

/// Threads per image.
const THREADS: usize = 4;

/// The engine.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Jobs since the last kick.
    fresh: bool,
}

#[derive(Debug)]
struct Shared {
    files: Arc<Files>,
    state: Mutex<State>,
    /// There is work, or it is time to stop.
    work: Condvar,
    /// A job has ended.
    ended: Condvar,
    /// Written when `done` has something new.
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    running: usize,
    done: Vec<Completion>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            let Some(mut job) = state.queue.pop_front() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running += 1;
            drop(state);
            let result = job.perform(&self.files);
            let completion = job.complete(result);
            state = self.lock();
            state.running -= 1;
            state.done.push(completion);
            self.ended.notify_all();
            // It can only fail when the counter is full, and then the reader is awake already.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Threads {
    /// Starts the threads.
    pub(super) fn new(files: Arc<Files>) -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            files,
            state: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            wake,
        });
        let mut engine = Self {
            shared,
            workers: Vec::with_capacity(THREADS),
            fresh: false,
        };
        for index in 0..THREADS {
            let shared = Arc::clone(&engine.shared);
            let name = format!("block-{}-{index}", engine.shared.wake.as_raw_fd());
            let worker = std::thread::Builder::new()
                .name(name)
                .spawn(move || shared.work())?;
            engine.workers.push(worker);
        }
        Ok(engine)
    }

    /// Queues a job; [`Threads::kick`] starts it.
    pub(super) fn start(&mut self, job: Job) {
        self.shared.lock().queue.push_back(job);
        self.fresh = true;
    }

    pub(super) fn kick(&mut self) {
        if std::mem::take(&mut self.fresh) {
            self.shared.work.notify_all();
        }
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        // First the counter, then the list: what comes in between is announced again.
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        into.append(&mut self.shared.lock().done);
    }

    /// Waits for all that was started; a call that runs cannot be cancelled.
    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        self.kick();
        let mut state = self.shared.lock();
        if cancel {
            into.extend(
                state
                    .queue
                    .drain(..)
                    .map(|j| j.complete(Err(BlockError::Cancelled))),
            );
        }
        while state.running > 0 || !state.queue.is_empty() {
            state = self
                .shared
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.reap(into);
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker does not panic; if it did, there is nothing left to wait for.
            let _ = worker.join();
        }
    }
}
