//! How a run is stopped from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vmm_sys_util::eventfd::EventFd;

/// Stops a machine's run from another thread, as when its device has gone.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// The run that is on, or else the next one, ends soon, with [`Failure::Stopped`](crate::Failure::Stopped).
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a stop was asked for since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// How vCPUs are told to stop: the flag, and for those that sleep in a poll the eventfd.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) flag: AtomicBool,
    pub(super) event: EventFd,
}
