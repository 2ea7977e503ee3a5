//! All workers of the process, and its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::Worker;
use super::readers::Readers;
use crate::signals::{Order, Signals};

/// Why the process could not serve on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A thread or descriptor could not be had, or waiting failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A worker failed.
    #[error("the worker of '{label}' failed")]
    Worker {
        /// Its device.
        label: String,
        /// Why.
        source: io::Error,
    },
    /// A worker panicked: an error in this program.
    #[error("the worker of '{0}' panicked")]
    Panicked(String),
}

/// Tells the main thread that a worker has ended, however it did.
struct Leaving(Arc<OwnedFd>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // A counter of workers does not overflow, and nothing else can go wrong with it.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// How serving has come to its end.
#[derive(Debug)]
pub struct Ended {
    /// A signal has asked for it; otherwise the last client has gone.
    pub asked: bool,
    /// Devices whose clients were connected.
    pub cut_off: Vec<String>,
}

/// Runs each worker on a thread of its own until a signal asks the process to end, or all workers have ended.
///
/// The threads exist when `close` is called and begin to serve only when it has returned: that is the moment for
/// the last layer of the sandbox. `ready` is called when they begin.
///
/// # Errors
/// The error of `close`; or the first worker's that failed, after the others have ended.
pub fn serve<E: From<Failure>>(
    workers: Vec<Worker>,
    signals: &Signals,
    wake_cost: Duration,
    close: impl FnOnce() -> Result<(), E>,
    ready: impl FnOnce(),
) -> Result<Ended, E> {
    let io = |error: io::Error| E::from(Failure::from(error));
    let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let ended = Arc::new(ended.map_err(|error| io(error.into()))?);
    let start = Arc::new(OnceLock::new());
    let mut threads = Vec::with_capacity(workers.len());
    let mut readers = Vec::new();
    let mut started = Ok(());
    for mut worker in workers {
        let (label, stop) = (worker.label().to_owned(), worker.stop());
        readers.extend(worker.readers.take());
        let (may_serve, leaving) = (Arc::clone(&start), Leaving(Arc::clone(&ended)));
        let thread = thread::Builder::new().name(label.clone()).spawn(move || {
            let _leaving = leaving;
            // Where the sandbox could not be closed nothing is served: the worker's clients find the end of their connections.
            match may_serve.wait() {
                true => worker.run(wake_cost).map(|()| worker.has_client()),
                false => Ok(false),
            }
        });
        match thread {
            Ok(thread) => threads.push((label, stop, thread)),
            Err(error) => {
                started = Err(io(error));
                break;
            }
        }
    }
    let started = started.and_then(|()| close());
    start.get_or_init(|| started.is_ok());
    if let Err(error) = started {
        for (_, _, thread) in threads {
            // What has failed before is what is reported.
            let _ = thread.join();
        }
        return Err(error);
    }
    ready();

    let refresh = || {
        let mut stops = threads.iter().map(|(_, stop, _)| stop);
        stops.try_for_each(|stop| stop.ask_to_refresh())
    };
    let outcome = wait(signals, &ended, threads.len(), refresh, &readers);
    let (asked, mut failure) = match outcome {
        Ok(asked) => (asked, None),
        Err(error) => (false, Some(Failure::from(error))),
    };
    let mut cut_off = Vec::new();
    for (_, stop, _) in &threads {
        if let Err(error) = stop.ask() {
            failure.get_or_insert(error.into());
        }
    }
    for (label, _, thread) in threads {
        match thread.join() {
            Ok(Ok(true)) => cut_off.push(label),
            Ok(Ok(false)) => {}
            Ok(Err(source)) => {
                failure.get_or_insert(Failure::Worker { label, source });
            }
            Err(_) => {
                failure.get_or_insert(Failure::Panicked(label));
            }
        }
    }
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(Ended { asked, cut_off }),
    }
}

/// Readers of statistics are served one at a time, this far apart: each wakes a worker.
const READERS_APART: Duration = Duration::from_millis(10);

/// Waits for a signal that asks for the end, or until `running` workers have ended. Meanwhile has `refresh` called at the other
/// signal, and hands out pages of statistics. Whether a signal has come.
fn wait(
    signals: &Signals,
    ended: &OwnedFd,
    mut running: usize,
    refresh: impl Fn() -> io::Result<()>,
    readers: &[Readers],
) -> io::Result<bool> {
    let mut not_before = Instant::now();
    while running > 0 {
        let mut fds = vec![
            PollFd::new(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
        ];
        let pause = not_before.saturating_duration_since(Instant::now());
        let pause = Timespec::try_from(pause).map_err(io::Error::other)?;
        let mut timeout = None;
        if pause == Timespec::default() {
            fds.extend(readers.iter().map(|it| PollFd::new(it, PollFlags::IN)));
        } else {
            timeout = Some(&pause);
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            match signals.take()? {
                Some(Order::End) => return Ok(true),
                Some(Order::Refresh) => refresh()?,
                None => {}
            }
        }
        if ready.next() == Some(true) {
            let mut count = [0; 8];
            match rustix::io::read(ended, &mut count) {
                Ok(_) => {
                    let count = usize::try_from(u64::from_ne_bytes(count));
                    running = running.saturating_sub(count.unwrap_or(0));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (readers, ready) in readers.iter().zip(ready) {
            if ready {
                readers.serve();
                not_before = Instant::now() + READERS_APART;
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
