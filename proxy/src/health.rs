//! Whether the device still answers, and the one event that tells the VMM that it does not.
//!
//! Any vCPU's port, the control connection or the watch thread may find out first. The first report
//! wins; the others change nothing. From then on every access is answered without asking: the check
//! is one load of a flag that never changes again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{Shutdown, shutdown};

/// Why a device stopped answering.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The emulator closed its connection or ended; how, if the proxy started it and it has ended
    /// already.
    Exited(Option<ExitStatus>),
    /// The emulator did not answer within the deadline. It may still run and still have guest RAM
    /// mapped: kill it before you reuse that RAM.
    TimedOut,
    /// The emulator broke the protocol. As for [`Event::TimedOut`], it may still run.
    Corrupt(String),
}

#[derive(Debug)]
pub(crate) struct Health {
    dead: AtomicBool,
    event: Mutex<Option<Event>>,
    /// Readable while an event waits. The emulator never gets a copy of it.
    notify: OwnedFd,
    /// The control connection: shut down on failure, so that the emulator lets go of the guest's
    /// RAM. None for a device in this process.
    connection: Option<OwnedFd>,
}

impl Health {
    pub(crate) fn new(connection: Option<OwnedFd>) -> io::Result<Self> {
        let notify = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            dead: AtomicBool::new(false),
            event: Mutex::new(None),
            notify,
            connection,
        })
    }

    pub(crate) fn is_dead(&self) -> bool {
        // Nothing is read because of this flag that another thread wrote, so no order is needed.
        self.dead.load(Ordering::Relaxed)
    }

    /// The device is dead, because of `event` if nothing was reported before.
    pub(crate) fn fail(&self, event: Event) {
        let mut slot = self
            .event
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.dead.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(
            ?event,
            "the device has failed: its reads are all ones from now on, its writes are dropped"
        );
        *slot = Some(event);
        // The counter is far from full, as this is its only write.
        let _ = rustix::io::write(&self.notify, &1_u64.to_ne_bytes());
        self.hang_up();
    }

    /// The device is gone because the VMM wants it so: no event.
    pub(crate) fn close(&self) {
        let _slot = self
            .event
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.dead.store(true, Ordering::Relaxed);
        self.hang_up();
    }

    fn hang_up(&self) {
        if let Some(connection) = &self.connection {
            // Fails only where the emulator has hung up already.
            let _ = shutdown(connection, Shutdown::Both);
        }
    }

    pub(crate) fn take(&self) -> Option<Event> {
        let event = self
            .event
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if event.is_some() {
            let _ = rustix::io::read(&self.notify, &mut [0_u8; 8]);
        }
        event
    }

    pub(crate) fn notify_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn health() -> Health {
        Health::new(None).unwrap()
    }

    #[test]
    fn many_reports_make_one_event() {
        let health = Arc::new(health());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let health = Arc::clone(&health);
                thread::spawn(move || health.fail(Event::TimedOut))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(health.is_dead());
        assert_eq!(health.take(), Some(Event::TimedOut));
        health.fail(Event::Exited(None));
        assert_eq!(health.take(), None);
    }

    #[test]
    fn closing_is_no_event() {
        let health = health();
        health.close();
        health.fail(Event::Exited(None));
        assert!(health.is_dead());
        assert_eq!(health.take(), None);
    }
}
