//! Step 9, block: a disk in the emulator's own memory.

use std::fmt;
use std::ops::Range;

use super::{BlockError, Completion, Geometry, Op, Request};

/// A disk in the emulator's own memory.
pub struct Memory {
    bytes: Vec<u8>,
    read_only: bool,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("geometry", &self.geometry())
            .finish_non_exhaustive()
    }
}

impl Memory {
    pub(super) fn new(bytes: Vec<u8>, read_only: bool) -> Self {
        Self { bytes, read_only }
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            bytes: self.bytes.len() as u64,
            read_only: self.read_only,
            discard: !self.read_only,
        }
    }

    pub(super) fn submit(&mut self, mut request: Request) -> Completion {
        let result = self.perform(&mut request);
        request.complete(result)
    }

    fn perform(&mut self, request: &mut Request) -> Result<(), BlockError> {
        request.check(&self.geometry())?;
        if request.op == Op::Flush {
            return Ok(());
        }
        let place = to_usize(request.range()).ok_or(BlockError::OutOfRange)?;
        let place = self.bytes.get_mut(place).ok_or(BlockError::OutOfRange)?;
        match (request.op, &mut request.data) {
            (Op::Read, data) => data.fill(0, place),
            (Op::Write { .. }, data) => data.take(0, place),
            (Op::Discard | Op::WriteZeroes { .. }, _) => {
                place.fill(0);
            }
            (Op::Flush, _) => {}
        }
        Ok(())
    }
}

fn to_usize(range: Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}
