//! Descriptors that are known by their numbers only: taken over, or closed.
#![expect(
    unsafe_code,
    reason = "a number becomes an owned descriptor, or a closed one"
)]

use std::ops::RangeInclusive;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// Closes all descriptors with these numbers, before the process has opened anything itself.
pub(super) fn close(numbers: RangeInclusive<u32>) -> Result<(), Errno> {
    // SAFETY: the call takes three numbers, and no memory. What it closes was inherited: nothing in this process owns it, as the
    // process has opened nothing itself.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, *numbers.start(), *numbers.end(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Closes the descriptor with this number, if there is one, before the process has opened anything itself.
pub(super) fn close_one(number: u32) {
    if let Ok(number) = RawFd::try_from(number) {
        // SAFETY: the call takes a number, and no memory. What it closes was inherited: nothing in this process owns it, as
        // the process has opened nothing itself.
        unsafe { libc::close(number) };
    }
}

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
