//! Step 5, intake: the io_uring in which one poll waits.
#![expect(
    unsafe_code,
    reason = "an entry of an io_uring may name memory; these name none"
)]

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use io_uring::register::Restriction;
use io_uring::{IoUring, cqueue, opcode, types};

/// One poll, and room for what it reports between two looks.
const ENTRIES: u32 = 8;

/// An io_uring that can poll and nothing else.
pub(super) struct Ring(IoUring);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// # Errors
    /// It is not allowed, or the kernel is older than 5.19.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .dontfork()
            // What is to be done for the poll waits for this thread's next system call, and a flag says so.
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_r_disabled()
            .build(ENTRIES)?;
        // A system call filter does not see what is asked through it.
        let mut restrictions = [Restriction::sqe_op(opcode::PollAdd::CODE)];
        ring.submitter().register_restrictions(&mut restrictions)?;
        ring.submitter().register_enable_rings()?;
        Ok(Self(ring))
    }

    /// Polls `fd` until the ring is dropped or the kernel ends it.
    pub(super) fn watch(&mut self, fd: RawFd) -> io::Result<()> {
        let events = libc::POLLIN.unsigned_abs().into();
        let poll = opcode::PollAdd::new(types::Fd(fd), events)
            .multi(true)
            .build();
        // SAFETY: the entry names no memory, and a descriptor that is not open is answered with an error.
        let pushed = unsafe { self.0.submission().push(&poll) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        self.enter()
    }

    /// Hands over what was asked for, and fetches answers that there was no room for.
    fn enter(&mut self) -> io::Result<()> {
        loop {
            match self.0.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }

    /// Whether the poll has fired: the kernel has something to do for it, or has done it.
    pub(super) fn has_news(&mut self) -> bool {
        let queue = self.0.submission();
        let raised = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        raised || !self.0.completion().is_empty()
    }

    /// Forgets what the poll has reported, and polls on if the kernel has ended it, as it does after an event that came from
    /// another io_uring, or for which there was no room. Whether it had reported anything.
    pub(super) fn go_on(&mut self, fd: RawFd) -> io::Result<bool> {
        let (mut any, mut ended) = self.answers()?;
        if self.0.submission().cq_overflow() {
            // The poll has ended with an answer that the kernel keeps.
            self.enter()?;
            let more = self.answers()?;
            any |= more.0;
            ended |= more.1;
        }
        if ended {
            self.watch(fd)?;
        }
        Ok(any)
    }

    /// Takes the answers that are there: whether there were any, and whether one was the poll's last.
    fn answers(&mut self) -> io::Result<(bool, bool)> {
        let (mut any, mut ended) = (false, false);
        for answer in self.0.completion() {
            if answer.result() < 0 {
                return Err(io::Error::from_raw_os_error(
                    answer.result().saturating_neg(),
                ));
            }
            any = true;
            ended |= !cqueue::more(answer.flags());
        }
        Ok((any, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_refuses_what_it_was_not_made_for() {
        let Ok(Ring(mut ring)) = Ring::new() else {
            outrigger_skip::skipped("no io_uring here");
            return;
        };
        let path = c"/";
        let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is a constant.
        unsafe { ring.submission().push(&open) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        let answer = ring.completion().next().unwrap();
        assert_eq!(answer.result(), -libc::EACCES);
    }
}
