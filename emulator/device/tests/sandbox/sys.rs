//! System calls as they come.
#![expect(
    unsafe_code,
    reason = "the acts are bare system calls, so that no library's check comes first"
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

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

/// Reads where nothing is.
pub(crate) fn touch_nothing() -> io::Result<()> {
    // SAFETY: there is nothing that could be read wrongly: the kernel ends the process.
    let byte = unsafe { std::ptr::without_provenance::<u8>(16).read_volatile() };
    Err(io::Error::other(format!("there is {byte}")))
}

/// Maps a page beyond the file's end, and reads it.
pub(crate) fn touch_past_the_end(file: impl AsFd) -> io::Result<()> {
    let (protection, flags) = (ProtFlags::READ, MapFlags::SHARED);
    // SAFETY: the kernel chooses the place, and nothing else refers to it.
    let place =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, flags, file, 1 << 30) }?;
    // SAFETY: as in `touch_nothing`.
    let byte = unsafe { place.cast::<u8>().read_volatile() };
    Err(io::Error::other(format!("there is {byte}")))
}

/// Goes on until the stack ends.
#[expect(unconditional_recursion, reason = "that is what it is for")]
#[inline(never)]
pub(crate) fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + frame[63]
}

/// What no processor knows.
pub(crate) fn illegal_instruction() -> io::Result<()> {
    // SAFETY: it does nothing but raise its fault, which ends the process.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("udf #0");
    }
    Err(io::Error::other("it is known"))
}
