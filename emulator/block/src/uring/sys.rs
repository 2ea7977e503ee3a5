//! Step 9, block: the ring itself, and the table of jobs whose memory the kernel may be using.
//!
//! A job enters the table before the kernel hears of it and leaves it when the kernel has answered;
//! in between nothing touches it. The kernel therefore finds the list, and the memory that the list
//! names, alive and unchanged, also when the engine is dropped: that waits, and if the kernel cannot
//! even be waited for, the table is leaked instead of freed.
#![expect(
    unsafe_code,
    reason = "io_uring is given raw addresses that must outlive the call"
)]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use crate::job::{Call, Files, Job};

/// All that the ring may ever be asked.
const ALLOWED: [u8; 5] = [
    opcode::Readv::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
    opcode::AsyncCancel::CODE,
];

/// Marks the answers to cancellations.
const CANCELLATION: u64 = u64::MAX;

/// An io_uring and the jobs that are in it.
pub(super) struct Ring {
    ring: IoUring,
    files: Arc<Files>,
    /// By user data.
    jobs: Vec<Option<Job>>,
    free: Vec<usize>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("in_flight", &(self.jobs.len() - self.free.len()))
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for `entries` jobs at a time.
    pub(super) fn new(files: Arc<Files>, entries: u32) -> io::Result<Self> {
        // Room for the answer of each job and of its cancellation: the completion queue never overflows.
        let ring = IoUring::builder()
            .dontfork()
            .setup_cqsize(entries * 4)
            .setup_r_disabled()
            .build(entries)?;
        // A system call filter does not see what is asked through the ring, so the ring itself must not open, connect
        // or send anything for whoever takes over the process.
        // (Files are not registered with it: the kernel would keep them, and the image's lock, beyond the process's end.)
        let mut restrictions = ALLOWED.map(Restriction::sqe_op);
        ring.submitter().register_restrictions(&mut restrictions)?;
        ring.submitter().register_enable_rings()?;
        let count = entries as usize;
        Ok(Self {
            ring,
            files,
            jobs: std::iter::repeat_with(|| None).take(count).collect(),
            free: (0..count).rev().collect(),
        })
    }

    /// Puts the job's next call into the submission queue. The job comes back if there is no room.
    #[must_use]
    pub(super) fn start(&mut self, mut job: Job) -> Option<Job> {
        let Some(index) = self.free.pop() else {
            return Some(job);
        };
        let file = types::Fd(job.file(&self.files).as_raw_fd());
        let call = job.next_call();
        let buffers = job.buffers();
        let (list, count) = (buffers.list().as_ptr(), buffers.list().len());
        // At most IOV_MAX, so it fits.
        let count = u32::try_from(count).unwrap_or(0);
        let entry = match call {
            // A list of constants is never read into; an empty one is harmless.
            Call::Read { offset } if buffers.is_writable() => {
                opcode::Readv::new(file, list, count).offset(offset).build()
            }
            Call::Read { offset } => opcode::Readv::new(file, list, 0).offset(offset).build(),
            Call::Write { offset, durable } => opcode::Writev::new(file, list, count)
                .offset(offset)
                .rw_flags(if durable { libc::RWF_DSYNC } else { 0 })
                .build(),
            Call::Sync => opcode::Fsync::new(file)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
            Call::Allocate {
                flags,
                offset,
                length,
            } => opcode::Fallocate::new(file, length)
                .offset(offset)
                .mode(flags.bits().cast_signed())
                .build(),
        };
        if let Some(slot) = self.jobs.get_mut(index) {
            *slot = Some(job);
        }
        if self.push(&entry.user_data(index as u64)) {
            return None;
        }
        self.free.push(index);
        self.jobs.get_mut(index).and_then(Option::take)
    }

    /// Appends an entry whose memory, if any, belongs to the job in the table under its user data. Whether there was
    /// room.
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        for _ in 0..2 {
            // SAFETY: the entry's only addresses are those of a list in `Buffers`, and in it addresses of memory that
            // the same `Buffers` owns (see `block::sys`). It sits in a `Job` that the caller put into `jobs`. Moving it
            // there moved neither the list nor what it names, both on the heap or in mappings. It stays there untouched
            // until `next_answer` has the kernel's one answer for it, or `Drop` has waited for that or leaked it. The
            // descriptor is open as long as `files`, which this ring holds. Reads only go to writable memory (`start`).
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return true;
            }
            if self.submit().is_err() {
                return false;
            }
        }
        false
    }

    /// Hands over what was started. An error means: later.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        while self.has_unsubmitted() {
            match self.ring.submit() {
                Ok(0) => return Err(io::ErrorKind::ResourceBusy.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether a job is in the table.
    pub(super) fn is_busy(&self) -> bool {
        self.free.len() < self.jobs.len()
    }

    /// The kernel's next answer, with the job that it is for.
    pub(super) fn next_answer(&mut self) -> Option<(Job, io::Result<usize>)> {
        loop {
            let answer = self.ring.completion().next()?;
            if answer.user_data() == CANCELLATION {
                continue;
            }
            let index = usize::try_from(answer.user_data()).ok()?;
            let Some(job) = self.jobs.get_mut(index).and_then(Option::take) else {
                continue;
            };
            self.free.push(index);
            let result = usize::try_from(answer.result())
                .map_err(|_| io::Error::from_raw_os_error(answer.result().saturating_neg()));
            return Some((job, result));
        }
    }

    /// Asks the kernel to cancel every job; each is still answered.
    pub(super) fn cancel_all(&mut self) {
        for index in 0..self.jobs.len() {
            // `cancelled` is the emulator's own note in the job: the kernel's list and memory stay as they are.
            let Some(Some(job)) = self.jobs.get_mut(index) else {
                continue;
            };
            job.cancel();
            let entry = opcode::AsyncCancel::new(index as u64)
                .build()
                .user_data(CANCELLATION);
            if !self.push(&entry) {
                // Uncancelled, they complete as they would have.
                break;
            }
        }
    }

    /// Hands over what was started and waits for an answer.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INTR) => Ok(()),
                Some(Errno::AGAIN | Errno::BUSY | Errno::NOMEM) => {
                    std::thread::yield_now();
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring's descriptor is open as long as `ring`, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.cancel_all();
        while self.is_busy() {
            while self.next_answer().is_some() {}
            if self.is_busy() && self.wait().is_err() {
                // The kernel may still write to this memory: better lost than reused.
                std::mem::forget(std::mem::take(&mut self.jobs));
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_refuses_what_it_was_not_made_for() {
        let files = Arc::new(Files {
            main: tempfile::tempfile().unwrap(),
            cached: None,
        });
        let Ok(mut ring) = Ring::new(files, 4) else {
            outrigger_skip::skipped("no io_uring here");
            return;
        };
        let path = c"/";
        let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is a constant.
        unsafe { ring.ring.submission().push(&open) }.unwrap();
        ring.ring.submit_and_wait(1).unwrap();
        let answer = ring.ring.completion().next().unwrap();
        assert_eq!(answer.result(), -libc::EACCES);
    }
}
