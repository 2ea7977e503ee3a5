//! Signals as something to wait for, instead of something that interrupts or kills.

mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM, SIGINT: the process is to end.
    End,
    /// SIGHUP: images may have grown or got space.
    Refresh,
}

/// Has writes fail at most, in this thread and those that it starts: one beyond a limit of file sizes does not kill the process
/// (SIGXFSZ), and a log line to a terminal that another job has does not stop it (SIGTTOU).
///
/// # Errors
/// What the kernel says.
pub fn outlive_writes() -> io::Result<()> {
    sys::block(&[libc::SIGXFSZ, libc::SIGTTOU])
}

/// The signals that ask the process for something.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals in this thread and those that it starts from now on, and catches them here.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn catch() -> io::Result<Self> {
        sys::catch(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]).map(Self)
    }

    /// The next order that has come.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take(&self) -> io::Result<Option<Order>> {
        // struct signalfd_siginfo: 128 bytes, of which the first four are the signal's number.
        let mut record = [0; 128];
        match rustix::io::read(&self.0, &mut record) {
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let [a, b, c, d, ..] = record;
        Ok(Some(match i32::from_ne_bytes([a, b, c, d]) {
            libc::SIGHUP => Order::Refresh,
            _ => Order::End,
        }))
    }
}

/// Readable when one has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
