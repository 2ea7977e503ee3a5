//! Step 8, SCSI: a unit's medium: the block backend and the block size, and the tasks' way to them.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::TaskId;
use super::cdb::Range;
use super::sense::Sense;
use super::task::Phase;
use super::work::sweep::Extent;
use crate::block::{Backend, Completion, Geometry, Request};
use crate::dma::Segment;

/// Block requests of one task that are made in one go, if each is done at once.
const STEPS: u32 = 16;

/// A backend, seen as logical blocks.
#[derive(Debug)]
pub(crate) struct Medium {
    backend: Backend,
    geometry: Geometry,
    block_size: u32,
    /// Room for the next list of segments.
    pub(crate) spare: Vec<Segment>,
}

impl Medium {
    pub(crate) fn new(backend: Backend, block_size: u32) -> Self {
        let geometry = backend.geometry();
        Self {
            backend,
            geometry,
            block_size,
            spare: Vec::new(),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
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
        let result = match completion.result {
            Ok(()) => work.done(completion.data, &mut self.spare),
            Err(error) => Err(Sense::of_block_error(&error, op, self.block_size)),
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
