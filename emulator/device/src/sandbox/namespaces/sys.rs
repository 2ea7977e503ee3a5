//! The system call that is unsafe to reach.
#![expect(
    unsafe_code,
    reason = "rustix marks unshare unsafe for the sake of one flag"
)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Leaves the namespaces in `flags`. The descriptor table stays shared between threads, whatever `flags` has.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the only hazard is FILES, with which one thread would not see another's descriptors; it is masked out.
    Ok(unsafe { unshare_unsafe(flags.difference(UnshareFlags::FILES)) }?)
}
