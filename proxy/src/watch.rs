//! Notices that the emulator has gone although no vCPU asks it for anything.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::health::{Event, Health};

/// A thread that sleeps until the connection hangs up or the process ends. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the connection and, if the VMM has started the emulator, its process.
    pub(crate) fn start(
        connection: BorrowedFd<'_>,
        process: Option<BorrowedFd<'_>>,
        health: Arc<Health>,
    ) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stopped = stop.try_clone()?;
        let connection = connection.try_clone_to_owned()?;
        let process = process.map(|fd| fd.try_clone_to_owned()).transpose()?;
        let thread = Builder::new()
            .name("outrigger-watch".into())
            .spawn(move || watch(&stopped, &connection, process.as_ref(), &health))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

fn watch(stop: &OwnedFd, connection: &OwnedFd, process: Option<&OwnedFd>, health: &Health) {
    loop {
        // Not for input: that is for whoever waits for a reply. A hang-up is reported unasked.
        let mut fds = vec![
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(connection, PollFlags::RDHUP),
        ];
        fds.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => tracing::warn!(%error, "the emulator is not watched any more"),
            Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => {}
            Ok(_) => health.fail(Event::Exited(None)),
        }
        return;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The counter is far from full, as this is its only write.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it had, the watch would be over all the same.
            let _ = thread.join();
        }
    }
}
