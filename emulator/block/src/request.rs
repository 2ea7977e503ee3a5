//! Step 9, block: what every backend asks of a request before it acts, and the copies that it is made of.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use super::{BlockError, Completion, Data, Geometry, Op, Request};
use outrigger_device::dma::Direction;

impl Data {
    /// Bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Guest(segments) => segments.iter().map(|s| s.len() as u64).sum(),
            Self::Owned(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes where the kernel could not reach guest RAM: the client has cut it short. The session ends then.
    fn note_lost(&self, result: &Result<(), BlockError>) {
        if let (Self::Guest(segments), Err(BlockError::Io { source, .. })) = (self, result)
            && Errno::from_io_error(source) == Some(Errno::FAULT)
        {
            for segment in segments {
                segment.set_lost();
            }
        }
    }

    /// Copies `bytes` in, from byte `at` of the data on, as far as there is room.
    pub(super) fn fill(&mut self, mut at: usize, mut bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Owned(own) => {
                let own = own.get_mut(at..).unwrap_or_default();
                for (to, from) in own.iter_mut().zip(bytes) {
                    *to = *from;
                }
            }
            Self::Guest(segments) => {
                for segment in segments {
                    if at >= segment.len() {
                        at -= segment.len();
                        continue;
                    }
                    let count = segment.write(at, bytes);
                    bytes = bytes.get(count..).unwrap_or_default();
                    at = 0;
                    if bytes.is_empty() {
                        break;
                    }
                }
            }
        }
    }

    /// Copies `bytes.len()` bytes out, from byte `at` of the data on, as far as there are any.
    pub fn take(&self, mut at: usize, mut bytes: &mut [u8]) {
        match self {
            Self::None => {}
            Self::Owned(own) => {
                let own = own.get(at..).unwrap_or_default();
                for (to, from) in bytes.iter_mut().zip(own) {
                    *to = *from;
                }
            }
            Self::Guest(segments) => {
                for segment in segments {
                    if at >= segment.len() {
                        at -= segment.len();
                        continue;
                    }
                    let count = segment.read(at, bytes);
                    bytes = bytes.get_mut(count..).unwrap_or_default();
                    at = 0;
                    if bytes.is_empty() {
                        break;
                    }
                }
            }
        }
    }
}

impl Request {
    /// Whether a disk of this geometry can do it. Afterwards `offset + length` does not wrap and is within the
    /// disk, reads and writes have data of exactly `length` bytes, and data to be read may be written to.
    pub(super) fn check(&self, geometry: &Geometry) -> Result<(), BlockError> {
        if self.op == Op::Flush {
            return Ok(());
        }
        let end = self
            .offset
            .checked_add(self.length)
            .ok_or(BlockError::OutOfRange)?;
        if end > geometry.bytes {
            return Err(BlockError::OutOfRange);
        }
        if self.op != Op::Read && geometry.read_only {
            return Err(BlockError::ReadOnly);
        }
        let moves = matches!(self.op, Op::Read | Op::Write { .. });
        let wrong_way = match &self.data {
            Data::Guest(segments) if self.op == Op::Read => {
                segments.iter().any(|s| s.direction() != Direction::ToGuest)
            }
            _ => false,
        };
        if moves && (self.data.len() != self.length || wrong_way) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(BlockError::Io {
                offset: None,
                source,
            });
        }
        Ok(())
    }

    /// How it ends if nothing has to be done for that: [`Request::check`] refuses it, or it asks for nothing.
    pub(super) fn foregone(&self, geometry: &Geometry) -> Option<Result<(), BlockError>> {
        if let Err(error) = self.check(geometry) {
            return Some(Err(error));
        }
        let idle = match self.op {
            Op::Flush => geometry.read_only,
            Op::Discard => !geometry.discard || self.length == 0,
            Op::Read | Op::Write { .. } | Op::WriteZeroes { .. } => self.length == 0,
        };
        idle.then_some(Ok(()))
    }

    /// The byte range on the disk. Only after [`Request::check`].
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }

    /// Ends it.
    pub(super) fn complete(self, result: Result<(), BlockError>) -> Completion {
        Completion::new(self.cookie, self.data, result)
    }
}

impl Completion {
    /// The end of a request with this cookie and these data.
    pub(super) fn new(cookie: u64, data: Data, result: Result<(), BlockError>) -> Self {
        data.note_lost(&result);
        Self {
            cookie,
            data,
            result,
        }
    }
}
