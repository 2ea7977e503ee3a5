//! Writing without a wait, also from within a signal handler.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};

/// What a pipe takes whole or not at all, and has room for when it says that it is writable.
const PIECE: usize = 4096;

/// Writes as much of `bytes` as `to` takes without a wait: how much, and the error that came in the
/// way.
///
/// It makes nothing but system calls: no lock, no allocation. The descriptor's own flags stay as
/// they are, because whoever holds the same terminal or pipe shares them.
pub(crate) fn write_now(to: BorrowedFd<'_>, bytes: &[u8]) -> (usize, Option<Errno>) {
    let how = How::of(to);
    let mut done = 0;
    while let Some(rest) = bytes.get(done..)
        && !rest.is_empty()
    {
        let piece = rest.get(..PIECE).unwrap_or(rest);
        match how.write(to, piece) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// How to keep a write from waiting.
#[derive(Clone, Copy)]
enum How {
    /// It waits for a disk at most.
    Plain,
    /// The kernel is told with each write.
    NoWait,
    /// The kernel is asked before each write.
    Ask,
}

impl How {
    fn of(to: BorrowedFd<'_>) -> Self {
        let kind = rustix::fs::fstat(to).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::RegularFile) => Self::Plain,
            Ok(FileType::Fifo | FileType::Socket) => Self::NoWait,
            _ => Self::Ask,
        }
    }

    fn write(self, to: BorrowedFd<'_>, piece: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Plain => rustix::io::write(to, piece),
            Self::NoWait => {
                /// Where the descriptor is, which for these is nowhere.
                const HERE: u64 = u64::MAX;
                let slices = [IoSlice::new(piece)];
                match rustix::io::pwritev2(to, &slices, HERE, ReadWriteFlags::NOWAIT) {
                    // Linux before 6.5 does not know it for pipes.
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                        Self::Ask.write(to, piece)
                    }
                    answer => answer,
                }
            }
            Self::Ask => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                match poll(&mut fds, Some(&Timespec::default()))? {
                    0 => Err(Errno::AGAIN),
                    // Also for a reader that has gone: the write says so.
                    _ => rustix::io::write(to, piece),
                }
            }
        }
    }
}
