//! Step 8, SCSI: a unit's medium: the block backend and the block size, and the tasks' way to them.

mod held;

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::TaskId;
use super::cdb::Range;
use super::sense::Sense;
use super::task::{InFlight, Phase};
use super::work::sweep::Extent;
use held::Held;
use outrigger_block::{Backend, BlockError, Completion, Geometry, Op, Request};
use outrigger_device::dma::Segment;

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
    /// Nobody is told if it was for lack of space: the request is held back, and made again each second until it succeeds. Of
    /// other errors the initiator is told.
    HoldNoSpace,
    /// The same whatever the error. A failed flush is told all the same: what was to be flushed may be lost, and the next
    /// flush would succeed without it.
    Hold,
}

impl OnError {
    fn holds(self, error: &BlockError, op: Op) -> bool {
        op != Op::Flush
            && match self {
                Self::Report | Self::Ignore => false,
                Self::HoldNoSpace => matches!(error, BlockError::NoSpace),
                Self::Hold => true,
            }
    }
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
    /// The block size after a reset.
    default_block_size: u32,
    /// Bytes that there are only together: a disc's sector, a disk's block.
    sector_size: u32,
    errors: ErrorPolicy,
    counters: Counters,
    held: Held,
    /// Requests may be held back. Not while guest RAM is being taken away, as they use it.
    may_hold: bool,
    /// Room for the next list of segments.
    pub(crate) spare: Vec<Segment>,
}

impl Medium {
    /// `name` is for the log.
    pub(crate) fn new(
        backend: Backend,
        block_size: u32,
        errors: ErrorPolicy,
        name: String,
    ) -> Self {
        let geometry = backend.geometry();
        Self {
            backend,
            geometry,
            block_size,
            default_block_size: block_size,
            sector_size: block_size,
            errors,
            counters: Counters::default(),
            held: Held::new(name),
            may_hold: true,
            spare: Vec::new(),
        }
    }

    /// The same with sectors that are larger than a block.
    pub(crate) fn with_sectors(mut self, sector_size: u32) -> Self {
        self.sector_size = sector_size;
        self
    }

    /// Addresses count blocks of this size from now on; it divides the sector's.
    pub(crate) fn set_block_size(&mut self, block_size: u32) {
        self.block_size = block_size;
    }

    /// A reset: blocks have their default size again.
    pub(crate) fn reset(&mut self) {
        self.block_size = self.default_block_size;
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

    pub(crate) fn default_block_size(&self) -> u32 {
        self.default_block_size
    }

    /// Number of logical blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.count(self.block_size)
    }

    /// Number of sectors.
    pub(crate) fn sectors(&self) -> u64 {
        self.count(self.sector_size)
    }

    /// Number of pieces of this size in all whole sectors.
    pub(crate) fn count(&self, size: u32) -> u64 {
        let sector = u64::from(self.sector_size.max(1));
        self.geometry.bytes / sector * sector / u64::from(size.max(1))
    }

    /// The bytes of a range of blocks. It must start on the medium even if it is empty.
    pub(crate) fn extent(&self, range: Range) -> Result<Extent, Sense> {
        self.extent_of(range, self.block_size)
    }

    /// The same for pieces of this size.
    pub(crate) fn extent_of(&self, range: Range, size: u32) -> Result<Extent, Sense> {
        let all = self.count(size);
        match all.checked_sub(range.lba).filter(|&left| left > 0) {
            None => Err(Sense::out_of_range(range.lba)),
            Some(left) if left < u64::from(range.count) => Err(Sense::out_of_range(all)),
            Some(_) => Ok(Extent {
                offset: range.lba * u64::from(size),
                length: u64::from(range.count) * u64::from(size),
            }),
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
            *in_flight = Some(InFlight {
                op: step.op,
                offset: step.offset,
                length: step.length,
                again: false,
            });
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
        let Some(InFlight {
            op,
            offset,
            length,
            again,
        }) = in_flight.take()
        else {
            return;
        };
        let (counter, policy) = match op {
            Op::Read => (&mut self.counters.read, self.errors.read),
            _ => (&mut self.counters.write, self.errors.write),
        };
        let Completion {
            cookie,
            data,
            result,
        } = completion;
        // What is wrong with the medium, and not with the request.
        let failed = matches!(result, Err(BlockError::NoSpace | BlockError::Io { .. }));
        if failed {
            counter.errors = counter.errors.saturating_add(1);
        } else if matches!(op, Op::Read | Op::Write { .. }) {
            counter.bytes = counter.bytes.saturating_add(data.len());
        }
        let result = match result {
            Err(error) if failed && self.may_hold && policy.holds(&error, op) => {
                *in_flight = Some(InFlight {
                    op,
                    offset,
                    length,
                    again: true,
                });
                let request = Request {
                    cookie,
                    op,
                    offset,
                    length,
                    data,
                };
                self.held.keep(request, error);
                return;
            }
            Err(error) if !(failed && policy == OnError::Ignore) => {
                Err(Sense::of_block_error(&error, op, self.block_size))
            }
            _ => work.done(data, &mut self.spare),
        };
        if again {
            self.held.succeeded();
        }
        if let Err(sense) = result {
            *phase = Phase::check(sense);
        }
    }

    /// Whether failed requests may be held back from now on; if not, those that are end with their errors.
    pub(crate) fn set_may_hold(&mut self, may: bool, into: &mut Vec<Completion>) {
        self.may_hold = may;
        if !may {
            self.held.give_up(into);
        }
    }

    /// The task with this cookie has ended: its request is not made again.
    pub(crate) fn forget(&mut self, cookie: u64) {
        self.held.forget(cookie);
    }

    /// The outside of the medium may have changed: its size, or what its requests have failed for.
    pub(crate) fn refresh(&mut self) {
        self.held.hurry();
        let before = self.backend.geometry().bytes;
        let result = self.backend.refresh();
        let (disk, bytes) = (self.held.name(), self.backend.geometry().bytes);
        match result {
            Ok(()) if bytes == before => {}
            Ok(()) => tracing::info!(disk, bytes, before, "the image's size has changed"),
            Err(error) => tracing::warn!(disk, %error, "the image's size cannot be told"),
        }
    }

    pub(crate) fn kick(&mut self) {
        self.backend.kick();
    }

    /// Takes what has completed, and makes what is held back again if it is time.
    pub(crate) fn reap(&mut self, now: Instant, into: &mut Vec<Completion>) {
        self.backend.reap(into);
        if self.held.is_due(now) {
            for request in self.held.take() {
                into.extend(self.backend.submit(request));
            }
        }
    }

    /// Waits for what the backend has; what is held back stays so.
    pub(crate) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        self.backend.drain(cancel, into);
    }

    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.backend.wake_fd()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.backend.deadline(), self.held.deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}
