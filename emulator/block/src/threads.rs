//! Step 9, block: the thread engine: a few threads that make blocking calls, for image formats and for raw images where
//! io_uring is not allowed.
//!
//! All threads start when the image is opened, because the sandbox forbids it later.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;

use super::Completion;
use outrigger_device::crash::or_abort;

/// Threads per image.
const THREADS: usize = 4;

/// One piece of work for a thread. It must not panic: the request would be lost, so the process ends
/// then.
pub(super) trait Task: fmt::Debug + Send + 'static {
    /// What the work is done on.
    type On: fmt::Debug + Send + Sync + 'static;

    /// Does it; may block.
    fn run(self, on: &Self::On) -> Completion;

    /// Ends it undone.
    fn abandon(self) -> Completion;
}

/// The engine.
#[derive(Debug)]
pub(super) struct Threads<T: Task> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
    /// Tasks since the last kick.
    fresh: usize,
}

#[derive(Debug)]
struct Shared<T: Task> {
    on: Arc<T::On>,
    state: Mutex<State<T>>,
    /// There is work, or it is time to stop.
    work: Condvar,
    /// A job has ended.
    ended: Condvar,
    /// Written when `done` has something new.
    wake: OwnedFd,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    running: usize,
    done: Vec<Completion>,
    stop: bool,
}

impl<T: Task> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            let Some(task) = state.queue.pop_front() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running += 1;
            drop(state);
            let completion = or_abort(|| task.run(&self.on));
            state = self.lock();
            state.running -= 1;
            state.done.push(completion);
            self.ended.notify_all();
            // It can only fail when the counter is full, and then the reader is awake already.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl<T: Task> Threads<T> {
    /// Starts the threads.
    pub(super) fn new(on: Arc<T::On>) -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            on,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                running: 0,
                done: Vec::new(),
                stop: false,
            }),
            work: Condvar::new(),
            ended: Condvar::new(),
            wake,
        });
        let mut engine = Self {
            shared,
            workers: Vec::with_capacity(THREADS),
            fresh: 0,
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

    /// Queues a task; [`Threads::kick`] starts it.
    pub(super) fn start(&mut self, task: T) {
        self.shared.lock().queue.push_back(task);
        self.fresh += 1;
    }

    pub(super) fn kick(&mut self) {
        // A thread that is not waiting looks into the queue before it does.
        for _ in 0..std::mem::take(&mut self.fresh).min(THREADS) {
            self.shared.work.notify_one();
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
            into.extend(state.queue.drain(..).map(Task::abandon));
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

impl<T: Task> Drop for Threads<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A task does not panic; if it did, there is nothing left to wait for.
            let _ = worker.join();
        }
    }
}
