//! Which descriptors a child inherits.
#![expect(
    unsafe_code,
    reason = "CommandExt::pre_exec and close_range have no safe form"
)]

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

/// Lets the child of `command` inherit `fd`, under the same number, and nothing else but the
/// standard streams.
///
/// The flag that closes a descriptor at exec is changed in the child, after the fork: a spawn on
/// another thread of the VMM never sees `fd` without it.
pub(super) fn inherit_only(command: &mut Command, fd: OwnedFd) {
    let prepare = move || {
        // A C library in the VMM may have opened descriptors without the flag. Linux 5.10 does not
        // know this call's flag and refuses; then what the VMM left open stays open.
        //
        // SAFETY: close_range with CLOSE_RANGE_CLOEXEC takes three integers, touches no memory and closes nothing
        // now; at exec, when the flag counts, no code of this process is left that could use a
        // descriptor.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3_u32,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        fcntl_setfd(&fd, FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes two system calls and
    // neither allocates, nor locks, nor unwinds; `fd` is owned by the closure, so it is open in the
    // child.
    unsafe { command.pre_exec(prepare) };
}
