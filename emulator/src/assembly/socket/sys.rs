//! Taking over a descriptor that is known by its number only.
#![expect(unsafe_code, reason = "a number becomes an owned descriptor")]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// Takes over an inherited descriptor. Called at most once for a number, and before the process has
/// opened anything itself.
pub(super) fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < 3 {
        return Err(Errno::BADF);
    }
    // SAFETY: used for one call that asks whether it is open; nothing is closed meanwhile, and `number` is not -1.
    let probe = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(probe)?;
    // SAFETY: it is open. Nothing in this process owns it: it is none of the standard ones, the process has opened
    // nothing itself, so it was inherited, and the caller names each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
