//! The borrowed descriptor of an [`EventFd`], which has no safe way to give one.
#![expect(unsafe_code, reason = "EventFd does not implement AsFd")]

use std::os::fd::{AsRawFd, BorrowedFd};

use vmm_sys_util::eventfd::EventFd;

/// The descriptor, for as long as the eventfd is borrowed.
pub(super) fn as_fd(eventfd: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: an EventFd owns its descriptor and closes it only when it is dropped; the result's lifetime is that of
    // the reference to it, so it is open all the while. It is never -1: EventFd::new fails instead.
    unsafe { BorrowedFd::borrow_raw(eventfd.as_raw_fd()) }
}
