//! Notices that the emulator has gone although no vCPU asks it for anything.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::health::{Event, Health};

/// A thread that sleeps until the connection hangs up or the process ends. Dropping it ends the
/// thread.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the connection and, if the VMM has started the emulator, its process. Whoever finds
    /// out first that the device is dead hangs up, so `dead` is called here in any case, but for a
    /// stop.
    pub(crate) fn start(
        connection: BorrowedFd<'_>,
        process: Option<BorrowedFd<'_>>,
        health: Arc<Health>,
        dead: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let stopped = stop.try_clone()?;
        let connection = connection.try_clone_to_owned()?;
        let process = process.map(|fd| fd.try_clone_to_owned()).transpose()?;
        let thread = Builder::new()
            .name("outrigger-watch".into())
            .spawn(move || {
                if gone(&stopped, &connection, process.as_ref()) {
                    health.fail(Event::Exited(None));
                    dead();
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Waits for the emulator's end, or for the stop: then `false`.
fn gone(stop: &OwnedFd, connection: &OwnedFd, process: Option<&OwnedFd>) -> bool {
    loop {
        // Not for input: that is for whoever waits for a reply. A hang-up is reported unasked.
        let mut fds = vec![
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(connection, PollFlags::RDHUP),
        ];
        fds.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "the emulator is not watched any more");
                return false;
            }
            Ok(_) => return fds.first().is_some_and(|stop| stop.revents().is_empty()),
        }
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
