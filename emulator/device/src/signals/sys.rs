//! signalfd.
#![expect(
    unsafe_code,
    reason = "no safe wrapper of signalfd is among the dependencies"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Blocks `signals` in this thread and those that it starts.
pub(super) fn block(signals: &[libc::c_int]) -> io::Result<()> {
    block_set(&set(signals)?)
}

/// Blocks `signals` likewise; the descriptor becomes readable when one has come.
pub(super) fn catch(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    let set = set(signals)?;
    block_set(&set)?;
    // SAFETY: -1 asks for a new descriptor; `set` is valid.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the whole set, and cannot fail for a valid pointer.
    let mut set: libc::sigset_t = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signal in signals {
        // SAFETY: `set` is a valid set.
        if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}

fn block_set(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is valid, and the old mask is not asked for.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const *set, std::ptr::null_mut()) };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
