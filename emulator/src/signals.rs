//! SIGTERM and SIGINT as something to wait for, instead of something that interrupts.

mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The signals that ask the process to end.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals in this thread and those that it starts from now on, and catches them here.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn catch() -> io::Result<Self> {
        sys::catch(&[libc::SIGTERM, libc::SIGINT]).map(Self)
    }
}

/// Readable when one has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
