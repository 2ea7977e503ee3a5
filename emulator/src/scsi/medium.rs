//! Step 8, SCSI: a unit's medium: the block backend and the block size, and the tasks' way to them.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::TaskId;
use super::cdb::Range;
use super::sense::Sense;
use super::task::Phase;
use super::work::sweep::Extent;
use crate::block::{Backend, BlockError, Completion, Geometry, Op, Request};
use crate::dma::Segment;

/// Block requests of one task that are made in one go, if each is done at once.
const STEPS: u32 = 16;

/// What becomes of a failed block request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The initiator is told.
    #[default]
    Report,
    /// Nobody is told: the command goes on as if the request had succeeded.
    Ignore,
}

/// What becomes of the medium's errors. It is about the medium alone: what the initiator has asked for wrongly is
/// always refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Of reads.
    pub read: OnError,
    /// Of all the others: write, flush, discard.
    pub write: OnError,
}

/// What has been read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    /// Bytes of the requests that succeeded.
    pub(crate) bytes: u64,
    /// Requests that failed.
    pub(crate) errors: u64,
}

/// Since power-on, or since they were last forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) read: Counter,
    pub(crate) write: Counter,
}

/// A backend, seen as logical blocks.
#[derive(Debug)]
pub(crate) struct Medium {
    backend: Backend,
    geometry: Geometry,
    block_size: u32,
    errors: ErrorPolicy,
    counters: Counters,
    /// Room for the next list of segments.
    pub(crate) spare: Vec<Segment>,
}

impl Medium {
    pub(crate) fn new(backend: Backend, block_size: u32, errors: ErrorPolicy) -> Self {
        let geometry = backend.geometry();
        Self {
            backend,
            geometry,
            block_size,
            errors,
            counters: Counters::default(),
            spare: Vec::new(),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Looks whether the backend is still what it was, such as after a resize. `true` if not.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = self.backend.geometry();
        let before = std::mem::replace(&mut self.geometry, now);
        before != now
    }

    #[cfg(test)]
    pub(crate) fn replace_backend(&mut self, backend: Backend) {
        self.backend = backend;
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn forget_counters(&mut self) {
        self.counters = Counters::default();
    }

    pub(crate) fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of logical blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.geometry.bytes / u64::from(self.block_size.max(1))
    }

    /// The bytes of a range of blocks. It must start on the medium even if it is empty.
    pub(crate) fn extent(&self, range: Range) -> Result<Extent, Sense> {
        let left = self
            .blocks()
            .checked_sub(range.lba)
            .filter(|&left| left > 0);
        match left {
            None => Err(Sense::out_of_range(range.lba)),
            Some(left) if left < u64::from(range.count) => Err(Sense::out_of_range(self.blocks())),
            Some(_) => {
                let size = u64::from(self.block_size);
                Ok(Extent {
                    offset: range.lba * size,
                    length: u64::from(range.count) * size,
                })
            }
        }
    }

    /// Does what the task's work can do without a wait, up to a limit. `true`: it could do more.
    pub(crate) fn advance(&mut self, task: TaskId, phase: &mut Phase) -> bool {
        for _ in 0..STEPS {
            let Phase::Work {
                work,
                in_flight: in_flight @ None,
            } = phase
            else {
                return false;
            };
            let Some(step) = work.next() else {
                if work.is_over() {
                    *phase = Phase::GOOD;
                }
                return false;
            };
            *in_flight = Some(step.op);
            let request = Request {
                cookie: task.cookie(),
                op: step.op,
                offset: step.offset,
                length: step.length,
                data: step.data,
            };
            match self.backend.submit(request) {
                Some(completion) => self.complete(phase, completion),
                None => return false,
            }
        }
        matches!(phase, Phase::Work { .. })
    }

    /// The task's block request has ended.
    pub(crate) fn complete(&mut self, phase: &mut Phase, completion: Completion) {
        let Phase::Work { work, in_flight } = phase else {
            return;
        };
        let Some(op) = in_flight.take() else { return };
        let failed = matches!(
            completion.result,
            Err(BlockError::NoSpace | BlockError::Io { .. })
        );
        let (counter, policy) = match op {
            Op::Read => (&mut self.counters.read, self.errors.read),
            _ => (&mut self.counters.write, self.errors.write),
        };
        if failed {
            counter.errors = counter.errors.saturating_add(1);
        } else if matches!(op, Op::Read | Op::Write { .. }) {
            counter.bytes = counter.bytes.saturating_add(completion.data.len());
        }
        let result = match completion.result {
            Err(error) if !(failed && policy == OnError::Ignore) => {
                Err(Sense::of_block_error(&error, op, self.block_size))
            }
            _ => work.done(completion.data, &mut self.spare),
        };
        if let Err(sense) = result {
            *phase = Phase::check(sense);
        }
    }

    pub(crate) fn kick(&mut self) {
        self.backend.kick();
    }

    pub(crate) fn reap(&mut self, into: &mut Vec<Completion>) {
        self.backend.reap(into);
    }

    pub(crate) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        self.backend.drain(cancel, into);
    }

    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.backend.wake_fd()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.backend.deadline()
    }
}
