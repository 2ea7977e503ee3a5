//! Step 8, SCSI: COMPARE AND WRITE: new blocks, if the medium has the expected ones.

use super::Step;
use crate::scsi::sense::Sense;
use outrigger_block::{Data, Op};

/// What the next block request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Read,
    Write,
    Done,
}

/// One COMPARE AND WRITE whose bytes have come.
#[derive(Debug)]
pub(crate) struct Exchange {
    offset: u64,
    expected: Vec<u8>,
    replacement: Vec<u8>,
    fua: bool,
    stage: Stage,
}

impl Exchange {
    /// At byte `offset`; the first half of `bytes` is expected, the second replaces it.
    pub(crate) fn new(offset: u64, bytes: &[u8], fua: bool) -> Self {
        let (expected, replacement) = bytes.split_at(bytes.len() / 2);
        Self {
            offset,
            expected: expected.to_vec(),
            replacement: replacement.to_vec(),
            fua,
            stage: Stage::Read,
        }
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        let (op, bytes) = match self.stage {
            Stage::Read => (Op::Read, vec![0; self.expected.len()]),
            Stage::Write => (
                Op::Write { fua: self.fua },
                std::mem::take(&mut self.replacement),
            ),
            Stage::Done => return None,
        };
        Some(Step {
            op,
            offset: self.offset,
            length: bytes.len() as u64,
            data: Data::Owned(bytes),
        })
    }

    pub(crate) fn done(&mut self, data: &Data) -> Result<(), Sense> {
        self.stage = match (self.stage, data) {
            (Stage::Read, Data::Owned(medium)) => {
                let differs = medium.iter().zip(&self.expected).position(|(a, b)| a != b);
                if let Some(place) = differs {
                    return Err(Sense::miscompare(place as u64));
                }
                Stage::Write
            }
            _ => Stage::Done,
        };
        Ok(())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Done
    }
}
