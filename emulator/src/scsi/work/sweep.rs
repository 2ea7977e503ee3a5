//! Step 8, SCSI: work on the medium without a data phase: flush, discard, zero, fill, read through.

use std::collections::VecDeque;

use super::{CHUNK, Step};
use outrigger_block::{Data, Op};

/// Bytes zeroed or discarded by one block request.
const STRIDE: u64 = 256 << 20;

/// A byte range of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Extent {
    const EMPTY: Self = Self {
        offset: 0,
        length: 0,
    };

    /// Cuts up to `length` bytes off the front.
    fn split(&mut self, length: u64) -> Option<Self> {
        let front = Self {
            offset: self.offset,
            length: length.min(self.length),
        };
        self.offset += front.length;
        self.length -= front.length;
        (front.length > 0).then_some(front)
    }
}

/// One such work. Ranges get shorter from the front as requests are made.
#[derive(Debug)]
pub(crate) enum Sweep {
    /// SYNCHRONIZE CACHE. `true` until the request has been made.
    Flush(bool),
    /// UNMAP.
    Discard(VecDeque<Extent>),
    /// WRITE SAME of zeroes. `flush`: stable afterwards; `true` until that request has been made.
    Zero {
        extent: Extent,
        unmap: bool,
        flush: bool,
    },
    /// WRITE SAME of anything else: `chunk` is a whole number of blocks, all the same.
    Fill {
        extent: Extent,
        chunk: Vec<u8>,
        fua: bool,
    },
    /// VERIFY without data: every block can be read.
    Check { extent: Extent, chunk: Vec<u8> },
}

impl Sweep {
    /// WRITE SAME of `block`.
    pub(crate) fn fill(extent: Extent, block: &[u8], fua: bool) -> Self {
        let longest = usize::try_from(extent.length)
            .unwrap_or(usize::MAX)
            .min(CHUNK);
        let blocks = longest / block.len().max(1);
        Self::Fill {
            extent,
            chunk: block.repeat(blocks),
            fua,
        }
    }

    /// Reads an extent through.
    pub(crate) fn check(extent: Extent) -> Self {
        Self::Check {
            extent,
            chunk: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        let (op, extent, data) = match self {
            Self::Flush(pending) => (
                std::mem::take(pending).then_some(Op::Flush)?,
                Extent::EMPTY,
                Data::None,
            ),
            Self::Discard(extents) => {
                let extent = loop {
                    match extents.front_mut()?.split(STRIDE) {
                        Some(extent) => break extent,
                        None => extents.pop_front(),
                    };
                };
                (Op::Discard, extent, Data::None)
            }
            Self::Zero {
                extent,
                unmap,
                flush,
            } => match extent.split(STRIDE) {
                Some(now) => (Op::WriteZeroes { unmap: *unmap }, now, Data::None),
                None => (
                    std::mem::take(flush).then_some(Op::Flush)?,
                    Extent::EMPTY,
                    Data::None,
                ),
            },
            Self::Fill { extent, chunk, fua } => {
                let now = extent.split(chunk.len() as u64)?;
                let mut bytes = std::mem::take(chunk);
                bytes.truncate(usize::try_from(now.length).unwrap_or(usize::MAX));
                (Op::Write { fua: *fua }, now, Data::Owned(bytes))
            }
            Self::Check { extent, chunk } => {
                let now = extent.split(CHUNK as u64)?;
                let mut bytes = std::mem::take(chunk);
                bytes.resize(usize::try_from(now.length).unwrap_or(0), 0);
                (Op::Read, now, Data::Owned(bytes))
            }
        };
        Some(Step {
            op,
            offset: extent.offset,
            length: extent.length,
            data,
        })
    }

    pub(crate) fn done(&mut self, data: Data) {
        if let (Self::Fill { chunk, .. } | Self::Check { chunk, .. }, Data::Owned(bytes)) =
            (self, data)
        {
            *chunk = bytes;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Flush(pending) => !pending,
            Self::Discard(extents) => extents.iter().all(|extent| extent.length == 0),
            Self::Zero { extent, flush, .. } => extent.length == 0 && !flush,
            Self::Fill { extent, .. } | Self::Check { extent, .. } => extent.length == 0,
        }
    }
}
