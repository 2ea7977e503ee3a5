//! Step 9, block: one request to a file, as the sequence of kernel calls that it takes. Engines make the calls.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::bounce::MAX_BOUNCE;
use super::sys::{self, Buffers};
use super::threads::Task;
use super::{BlockError, Completion, Op, Request};

/// The image, as engines reach it.
#[derive(Debug)]
pub(super) struct Files {
    /// What most requests use; O_DIRECT if that was asked for.
    pub(super) main: std::fs::File,
    /// Without O_DIRECT; only where `main` has it.
    pub(super) cached: Option<std::fs::File>,
}

/// How a job's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Between the file and the data.
    Straight,
    /// Through an aligned buffer: O_DIRECT, and the data are not aligned.
    Bounced,
    /// Through the page cache: O_DIRECT, and the range on the disk is not aligned. Alone in flight, because the cache
    /// works on whole pages.
    Cached,
}

/// One kernel call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    /// `preadv2`.
    Read {
        /// Where in the file.
        offset: u64,
    },
    /// `pwritev2`.
    Write {
        /// Where in the file.
        offset: u64,
        /// RWF_DSYNC.
        durable: bool,
    },
    /// `fdatasync`.
    Sync,
    /// `fallocate`.
    Allocate {
        /// Its mode.
        flags: FallocateFlags,
        /// Where in the file.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Job {
    cookie: u64,
    op: Op,
    offset: u64,
    length: u64,
    route: Route,
    /// What O_DIRECT wants file offsets to be multiples of; 1 without it.
    granule: u64,
    /// Bytes moved so far.
    done: u64,
    /// WRITE ZEROES: the file system cannot; write them.
    by_hand: bool,
    cancelled: bool,
    buffers: Buffers,
}

impl Job {
    /// A request that [`Request::check`] has passed.
    pub(super) fn new(request: Request, route: Route, granule: u64) -> Self {
        let Request {
            cookie,
            op,
            offset,
            length,
            data,
        } = request;
        let buffers = Buffers::new(data);
        Self {
            cookie,
            op,
            offset,
            length,
            route,
            granule,
            done: 0,
            by_hand: false,
            cancelled: false,
            buffers,
        }
    }

    /// Nothing else may be in flight with it.
    pub(super) fn is_exclusive(&self) -> bool {
        self.route == Route::Cached
    }

    /// The request's bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file that its calls go to.
    pub(super) fn file<'a>(&self, files: &'a Files) -> BorrowedFd<'a> {
        match (&files.cached, self.route) {
            (Some(cached), Route::Cached) => cached.as_fd(),
            _ => files.main.as_fd(),
        }
    }

    /// The memory of the call that [`Job::next_call`] returned.
    pub(super) fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    /// It ends as cancelled where it would otherwise need another call.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// The next call, its memory set up. To be answered with [`Job::answer`].
    pub(super) fn next_call(&mut self) -> Call {
        let offset = self.offset + self.done;
        let length = self.length - self.done;
        let at = usize::try_from(self.done).unwrap_or(usize::MAX);
        let room = usize::try_from(length).unwrap_or(usize::MAX);
        match self.op {
            Op::Read | Op::Write { .. } => {
                let write = matches!(self.op, Op::Write { .. });
                if self.route == Route::Bounced {
                    self.buffers
                        .aim_at_bounce(room.min(MAX_BOUNCE), write.then_some(at));
                } else {
                    self.buffers.aim_at_data(at);
                }
                match self.op {
                    Op::Write { fua } => Call::Write {
                        offset,
                        durable: fua,
                    },
                    _ => Call::Read { offset },
                }
            }
            Op::Flush => Call::Sync,
            Op::Discard => Call::Allocate {
                flags: PUNCH,
                offset,
                length,
            },
            Op::WriteZeroes { .. } if self.by_hand => {
                self.buffers.aim_at_zeroes(room);
                Call::Write {
                    offset,
                    durable: false,
                }
            }
            Op::WriteZeroes { unmap: true } => Call::Allocate {
                flags: PUNCH,
                offset,
                length,
            },
            Op::WriteZeroes { unmap: false } => Call::Allocate {
                flags: ZERO,
                offset,
                length,
            },
        }
    }

    /// Takes the kernel's answer. `None`: another call is needed.
    pub(super) fn answer(&mut self, answer: io::Result<usize>) -> Option<Result<(), BlockError>> {
        let outcome = match answer {
            Ok(count) => self.advance(count),
            Err(error) => self.refused(error),
        };
        if outcome.is_none() && self.cancelled {
            Some(Err(BlockError::Cancelled))
        } else {
            outcome
        }
    }

    /// Ends it.
    pub(super) fn complete(self, result: Result<(), BlockError>) -> Completion {
        Completion::new(self.cookie, self.buffers.into_data(), result)
    }

    fn advance(&mut self, count: usize) -> Option<Result<(), BlockError>> {
        let moves = match self.op {
            Op::Read | Op::Write { .. } => true,
            Op::WriteZeroes { .. } => self.by_hand,
            Op::Flush | Op::Discard => false,
        };
        if !moves {
            return Some(Ok(()));
        }
        // A short direct transfer goes on from where it can: from the last aligned offset.
        let left = self.length - self.done;
        let mut count = (count as u64).min(left);
        if self.route != Route::Cached && count < left {
            count -= count % self.granule;
        }
        if count == 0 {
            // The file was truncated underneath.
            return Some(Err(self.failed(io::ErrorKind::UnexpectedEof.into())));
        }
        if self.op == Op::Read && self.route == Route::Bounced {
            let at = usize::try_from(self.done).unwrap_or(usize::MAX);
            self.buffers
                .unbounce(at, usize::try_from(count).unwrap_or(usize::MAX));
        }
        self.done += count;
        (self.done == self.length).then_some(Ok(()))
    }

    fn refused(&mut self, error: io::Error) -> Option<Result<(), BlockError>> {
        match Errno::from_io_error(&error) {
            Some(Errno::INTR) => None,
            Some(Errno::CANCELED) if self.cancelled => None,
            Some(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::NODEV) => match self.op {
                Op::Discard => Some(Ok(())),
                Op::WriteZeroes { .. } if !self.by_hand => {
                    self.by_hand = true;
                    None
                }
                _ => Some(Err(self.failed(error))),
            },
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Some(Err(BlockError::NoSpace)),
            Some(Errno::ROFS) => Some(Err(BlockError::ReadOnly)),
            _ => Some(Err(self.failed(error))),
        }
    }

    fn failed(&self, source: io::Error) -> BlockError {
        let offset = (self.op != Op::Flush).then_some(self.offset + self.done);
        BlockError::Io { offset, source }
    }

    /// Makes one call on this thread; `flags` are added to a read's or write's RWF_*.
    pub(super) fn call(&mut self, files: &Files, flags: i32) -> io::Result<usize> {
        let file = self.file(files);
        match self.next_call() {
            Call::Read { offset } => sys::read(file, &mut self.buffers, offset, flags),
            Call::Write { offset, durable } => {
                let durable = if durable { libc::RWF_DSYNC } else { 0 };
                sys::write(file, &self.buffers, offset, flags | durable)
            }
            Call::Sync => Ok(rustix::fs::fdatasync(file).map(|()| 0)?),
            Call::Allocate {
                flags,
                offset,
                length,
            } => Ok(rustix::fs::fallocate(file, flags, offset, length).map(|()| 0)?),
        }
    }

    /// Makes all calls on this thread.
    pub(super) fn perform(&mut self, files: &Files) -> Result<(), BlockError> {
        loop {
            let answer = self.call(files, 0);
            if let Some(result) = self.answer(answer) {
                return result;
            }
        }
    }

    /// A plain read or write, which RWF_NOWAIT can be tried on.
    pub(super) fn moves_data(&self) -> bool {
        matches!(self.op, Op::Read | Op::Write { fua: false })
    }

    /// A plain write.
    pub(super) fn is_write(&self) -> bool {
        matches!(self.op, Op::Write { .. })
    }
}

impl Task for Job {
    type On = Files;

    fn run(mut self, files: &Files) -> Completion {
        let result = self.perform(files);
        self.complete(result)
    }

    fn abandon(self) -> Completion {
        self.complete(Err(BlockError::Cancelled))
    }
}

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const ZERO: FallocateFlags = FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE);
