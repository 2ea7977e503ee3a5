//! Step 9, block: a disk that keeps nothing, to measure all but the disk.

use super::{BlockError, Completion, Geometry, Op, Request};

/// A disk that keeps nothing; every request is done in `submit`.
#[derive(Debug)]
pub struct Null {
    geometry: Geometry,
    read_zeroes: bool,
}

/// What reads are filled with: pieces of this size.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

impl Null {
    pub(super) fn new(bytes: u64, read_only: bool, read_zeroes: bool) -> Self {
        Self {
            geometry: Geometry {
                bytes,
                read_only,
                discard: false,
            },
            read_zeroes,
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn submit(&mut self, mut request: Request) -> Completion {
        let result = self.perform(&mut request);
        request.complete(result)
    }

    fn perform(&self, request: &mut Request) -> Result<(), BlockError> {
        request.check(&self.geometry)?;
        if request.op == Op::Read && self.read_zeroes {
            let length = usize::try_from(request.length).map_err(|_| BlockError::OutOfRange)?;
            for at in (0..length).step_by(ZEROES.len()) {
                let count = ZEROES.len().min(length - at);
                request
                    .data
                    .fill(at, ZEROES.get(..count).unwrap_or_default());
            }
        }
        Ok(())
    }
}
