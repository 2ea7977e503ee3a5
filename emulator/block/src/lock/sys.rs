//! Step 9, block: the calls for locks of open files, which no safe library has.
#![expect(
    unsafe_code,
    reason = "fcntl with a lock structure has no safe view for locks of open files"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes a shared lock on one byte, for this open file.
pub(super) fn mark(file: &File, byte: i64) -> io::Result<()> {
    ask(file, libc::F_OFD_SETLK, libc::F_RDLCK, byte).map(|_| ())
}

/// Whether another open file has a lock on the byte.
pub(super) fn is_marked(file: &File, byte: i64) -> io::Result<bool> {
    let found = ask(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn ask(file: &File, command: i32, kind: i32, byte: i64) -> io::Result<libc::flock> {
    let bad = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut lock = libc::flock {
        l_type: kind.try_into().map_err(bad)?,
        l_whence: libc::SEEK_SET.try_into().map_err(bad)?,
        l_start: byte,
        l_len: 1,
        // Must be zero for a lock of an open file.
        l_pid: 0,
    };
    // SAFETY: `lock` is a live, initialised flock, which both commands take a pointer to; the kernel writes at most
    // one flock there, and nothing else refers to it during the call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock),
    }
}
