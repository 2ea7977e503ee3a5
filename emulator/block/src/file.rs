//! Step 9, block: a raw image file or block device.
//!
//! What the page cache (or tmpfs) can answer at once is answered in `submit`; the rest goes to an engine, whose
//! calls move the bytes straight between the file and guest RAM.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::job::{Files, Job, Route};
use super::open::{Alignment, BLOCK, OpenError, Opened};
use super::threads::Threads;
use super::uring::Uring;
use super::{BlockError, Completion, Data, Geometry, Op, Request};

/// Which engine moves what cannot be answered at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// io_uring where it is allowed, threads otherwise.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// Threads that make blocking calls.
    Threads,
}

/// Jobs in the engine at a time; more wait their turn here.
const IN_FLIGHT: u32 = 256;

/// The most that is copied in `submit` from or to a file that lives in memory.
const MAX_COPY: u64 = 1 << 20;

/// A raw image file or block device.
#[derive(Debug)]
pub struct Image {
    files: Arc<Files>,
    engine: Running,
    geometry: Geometry,
    at_once: AtOnce,
    alignment: Option<Alignment>,
    /// Not yet in the engine, in order.
    waiting: VecDeque<Job>,
    in_flight: usize,
    /// What is in flight must stay alone.
    exclusive: bool,
}

#[derive(Debug)]
enum Running {
    Uring(Box<Uring>),
    Threads(Threads<Job>),
}

/// What can be answered without a wait.
#[derive(Clone, Copy, Debug)]
enum AtOnce {
    /// The file lives in memory: short requests of any kind.
    All,
    /// RWF_NOWAIT says.
    Ask {
        /// Reads may succeed.
        reads: bool,
        /// Writes may succeed.
        writes: bool,
    },
    /// Nothing: O_DIRECT always waits for the device.
    Nothing,
}

impl Image {
    pub(super) fn start(opened: Opened) -> Result<Self, OpenError> {
        let Opened {
            engine,
            files,
            geometry,
            alignment,
            in_memory,
        } = opened;
        let files = Arc::new(files);
        let engine = match engine {
            Engine::IoUring => Self::uring(&files).map_err(OpenError::IoUring)?,
            Engine::Threads => Self::threads(&files)?,
            Engine::Auto => match Self::uring(&files) {
                Ok(engine) => engine,
                Err(error) => {
                    tracing::info!(%error, "no io_uring here, block I/O uses threads");
                    Self::threads(&files)?
                }
            },
        };
        let at_once = match alignment {
            Some(_) => AtOnce::Nothing,
            None if in_memory => AtOnce::All,
            None => AtOnce::Ask {
                reads: true,
                writes: true,
            },
        };
        Ok(Self {
            files,
            engine,
            geometry,
            at_once,
            alignment,
            waiting: VecDeque::new(),
            in_flight: 0,
            exclusive: false,
        })
    }

    fn uring(files: &Arc<Files>) -> io::Result<Running> {
        Ok(Running::Uring(Box::new(Uring::new(
            Arc::clone(files),
            IN_FLIGHT,
        )?)))
    }

    fn threads(files: &Arc<Files>) -> Result<Running, OpenError> {
        Ok(Running::Threads(
            Threads::new(Arc::clone(files)).map_err(OpenError::Io)?,
        ))
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Takes over the file's size, in whole blocks; a block device keeps its own.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let stat = rustix::fs::fstat(&self.files.main)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && size >= BLOCK {
            self.geometry.bytes = size - size % BLOCK;
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, request: Request) -> Option<Completion> {
        if let Some(result) = request.foregone(&self.geometry) {
            return Some(request.complete(result));
        }
        let (route, granule) = self.route(&request);
        let mut job = Job::new(request, route, granule);
        if let Some(result) = self.try_at_once(&mut job) {
            return Some(job.complete(result));
        }
        self.waiting.push_back(job);
        self.admit();
        None
    }

    pub(super) fn kick(&mut self) {
        match &mut self.engine {
            Running::Uring(uring) => uring.kick(),
            Running::Threads(threads) => threads.kick(),
        }
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        let before = into.len();
        match &mut self.engine {
            Running::Uring(uring) => uring.reap(into),
            Running::Threads(threads) => threads.reap(into),
        }
        self.retire(into.len() - before);
        if !self.waiting.is_empty() {
            self.admit();
            self.kick();
        }
    }

    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        if cancel {
            into.extend(
                self.waiting
                    .drain(..)
                    .map(|j| j.complete(Err(BlockError::Cancelled))),
            );
        }
        loop {
            let before = into.len();
            match &mut self.engine {
                Running::Uring(uring) => uring.drain(cancel, into),
                Running::Threads(threads) => threads.drain(cancel, into),
            }
            let ended = into.len() - before;
            self.retire(ended);
            self.admit();
            // Without progress the engine has given up, and has said so.
            if self.in_flight == 0 || ended == 0 {
                break;
            }
        }
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        match &self.engine {
            Running::Uring(uring) => uring.wake_fd(),
            Running::Threads(threads) => threads.wake_fd(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.engine {
            Running::Uring(uring) => uring.deadline(),
            Running::Threads(_) => None,
        }
    }

    /// How the bytes travel, and what file offsets must be multiples of on the way.
    fn route(&self, request: &Request) -> (Route, u64) {
        let Some(alignment) = self.alignment else {
            return (Route::Straight, 1);
        };
        let granule = alignment.offset;
        let ranged = request.op != Op::Flush;
        if ranged
            && !(request.offset.is_multiple_of(granule) && request.length.is_multiple_of(granule))
        {
            return (Route::Cached, granule);
        }
        let fits = |address: *const u8, length: usize| {
            (address.addr() as u64).is_multiple_of(alignment.memory)
                && (length as u64).is_multiple_of(granule)
        };
        let aligned = match &request.data {
            Data::None => true,
            Data::Owned(bytes) => fits(bytes.as_ptr(), bytes.len()),
            Data::Guest(segments) => segments.iter().all(|s| fits(s.as_ptr(), s.len())),
        };
        (
            if aligned {
                Route::Straight
            } else {
                Route::Bounced
            },
            granule,
        )
    }

    /// Does the job, or a part of it, where that takes no wait. `None`: it is for the engine, which goes on from
    /// where this left it.
    fn try_at_once(&mut self, job: &mut Job) -> Option<Result<(), BlockError>> {
        match &mut self.at_once {
            AtOnce::All if job.length() <= MAX_COPY => Some(job.perform(&self.files)),
            AtOnce::Ask { reads, writes } if job.moves_data() => {
                let worth = if job.is_write() { writes } else { reads };
                if !*worth {
                    return None;
                }
                let answer = match job.call(&self.files, libc::RWF_NOWAIT) {
                    Err(error) if would_wait(&error) => return None,
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {
                        *worth = false;
                        return None;
                    }
                    answer => answer,
                };
                job.answer(answer)
            }
            AtOnce::All | AtOnce::Ask { .. } | AtOnce::Nothing => None,
        }
    }

    /// Moves what may go from the queue to the engine.
    fn admit(&mut self) {
        while self.in_flight < IN_FLIGHT as usize && !self.exclusive {
            match self.waiting.front() {
                Some(job) if job.is_exclusive() && self.in_flight > 0 => break,
                _ => {}
            }
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            self.exclusive = job.is_exclusive();
            self.in_flight += 1;
            match &mut self.engine {
                Running::Uring(uring) => uring.start(job),
                Running::Threads(threads) => threads.start(job),
            }
        }
    }

    fn retire(&mut self, ended: usize) {
        self.in_flight = self.in_flight.saturating_sub(ended);
        if self.in_flight == 0 {
            self.exclusive = false;
        }
    }
}

fn would_wait(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::INTR)
    )
}
