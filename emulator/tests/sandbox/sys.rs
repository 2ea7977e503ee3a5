//! System calls as they come.
#![expect(
    unsafe_code,
    reason = "the acts are bare system calls, so that no library's check comes first"
)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::mm::{MapFlags, ProtFlags};

/// Makes a system call. Only for calls that the sandbox denies, or that touch nothing of this process's memory.
pub(crate) fn call(number: i64, arguments: [usize; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the acts either pass no address, or that of a constant, or are denied before the kernel looks at any.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Maps the file's first page, and takes the mapping away again.
pub(crate) fn map_and_unmap(
    file: &OwnedFd,
    protection: ProtFlags,
    flags: MapFlags,
) -> io::Result<()> {
    // SAFETY: the kernel chooses the place, nothing refers to it, and it is gone before anything else runs.
    unsafe {
        let place = rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, flags, file, 0)?;
        rustix::mm::munmap(place, 4096)?;
    }
    Ok(())
}
