//! Step 9, block: images in formats other than raw, through the crate imago.
//!
//! imago is used in its synchronous form, on the threads of [`Threads`]; guest RAM is what it reads into and writes from.
//! imago locks its tables itself, so reads, writes and flushes go side by side. Zeroes and discards have the image to
//! themselves: a discard breaks the mappings that others use, and zeroes for a part of a cluster first look whether the rest of it
//! is zero and then make all of it so, which would lose what was written to the rest in between.
//!
//! What is in an image is not trusted: [`header`] looks at it before imago does, and a panic within imago ends the use of
//! the image, not the process: requests fail from then on, and nothing more is written.

mod error;
mod header;
mod hint;
mod open;
mod storage;
mod vmdk;

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::{FormatAccess, Mapping, StorageExt};

use super::open::BLOCK;
use super::threads::{Task, Threads};
use super::{BlockError, Completion, Data, Geometry, Op, Request};
pub use error::FormatError;
pub use hint::{convert_command, pad_command, resize_command};
pub use open::{Backing, FormatOptions, ImageFile, OpenedFormat, qcow2, raw, vmdk};
use outrigger_device::dma::Segment;

type Access = FormatAccess<storage::Storage>;

/// Pieces of guest RAM that one call can name (IOV_MAX).
const MAX_PIECES: usize = 1024;

/// Zeroes to write where the format has no other way.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// An image in a format, with its backing images.
#[derive(Debug)]
pub struct Formatted {
    geometry: Geometry,
    threads: Threads<Request>,
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Zeroes and discards hold it for writing. `None` once it is closed.
    access: RwLock<Option<Access>>,
    geometry: Geometry,
    /// The format's code has panicked: its state means nothing any more.
    broken: AtomicBool,
}

impl Formatted {
    pub(super) fn start(opened: OpenedFormat) -> io::Result<Self> {
        let OpenedFormat { access, geometry } = opened;
        let shared = Arc::new(Shared {
            access: RwLock::new(Some(access)),
            geometry,
            broken: AtomicBool::new(false),
        });
        Ok(Self {
            geometry,
            threads: Threads::new(shared)?,
        })
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn submit(&mut self, request: Request) -> Option<Completion> {
        if let Some(result) = request.foregone(&self.geometry) {
            return Some(request.complete(result));
        }
        self.threads.start(request);
        None
    }

    pub(super) fn kick(&mut self) {
        self.threads.kick();
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        self.threads.reap(into);
    }

    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        self.threads.drain(cancel, into);
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.threads.wake_fd()
    }
}

impl Task for Request {
    type On = Shared;

    fn run(mut self, shared: &Shared) -> Completion {
        let result = shared.perform(&mut self);
        self.complete(result)
    }

    fn abandon(self) -> Completion {
        self.complete(Err(BlockError::Cancelled))
    }
}

impl Shared {
    fn perform(&self, request: &mut Request) -> Result<(), BlockError> {
        let (op, offset, length) = (request.op, request.offset, request.length);
        let result = self.guarded(|| match op {
            Op::Discard | Op::WriteZeroes { unmap: true } => {
                let mut access = self.access.write().unwrap_or_else(PoisonError::into_inner);
                let access = access.as_mut().ok_or(ErrorKind::NotConnected)?;
                free(access, op, request.offset, request.length)
            }
            Op::WriteZeroes { unmap: false } => {
                let access = self.access.write().unwrap_or_else(PoisonError::into_inner);
                let access = access.as_ref().ok_or(ErrorKind::NotConnected)?;
                perform(access, request)
            }
            Op::Read | Op::Write { .. } | Op::Flush => {
                let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
                let access = access.as_ref().ok_or(ErrorKind::NotConnected)?;
                perform(access, request)
            }
        });
        result.map_err(|source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                BlockError::NoSpace
            }
            ErrorKind::ReadOnlyFilesystem => BlockError::ReadOnly,
            _ => BlockError::Io {
                offset: match op {
                    Op::Read => self.first_unreadable(offset, length),
                    Op::Flush => None,
                    // The format does not say how far it came.
                    _ => (length <= BLOCK).then_some(offset),
                },
                source,
            },
        })
    }

    /// Looks for the first block of a range that has failed to be read. `None` if all of it can be read now.
    fn first_unreadable(&self, offset: u64, length: u64) -> Option<u64> {
        let end = offset + length;
        let mut buffer = vec![0; ZEROES.len()];
        let mut fails = |at: u64, length: u64| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = self.guarded(|| {
                let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
                let access = access.as_ref().ok_or(ErrorKind::NotConnected)?;
                access.readv(IoVectorMut::from(piece), at)
            });
            read.is_err()
        };
        let large = ZEROES.len() as u64;
        let steps = |from: u64, to: u64, step: u64| {
            (from..to)
                .step_by(usize::try_from(step).unwrap_or(1))
                .map(move |at| (at, step.min(to - at)))
        };
        let (at, length) = steps(offset, end, large).find(|(at, length)| fails(*at, *length))?;
        let block = steps(at, at + length, BLOCK).find(|(at, length)| fails(*at, *length));
        block.map(|(at, _)| at)
    }

    /// Keeps a panic of the format's code from doing more than to end the use of the image.
    fn guarded(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let broken = || io::Error::other("the image's metadata are corrupt");
        if self.broken.load(Ordering::Acquire) {
            return Err(broken());
        }
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            if !self.broken.swap(true, Ordering::AcqRel) {
                tracing::error!("an image's metadata are corrupt: no more I/O is done on it");
            }
            Err(broken())
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let access = self
            .access
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(access) = access.take() else {
            return;
        };
        if self.broken.load(Ordering::Acquire) {
            // Its end would write back what it has in its caches.
            std::mem::forget(access);
            return;
        }
        let _ = self.guarded(|| {
            if !self.geometry.read_only {
                access.flush()?;
            }
            drop(access);
            Ok(())
        });
    }
}

fn perform(access: &Access, request: &mut Request) -> io::Result<()> {
    let offset = request.offset;
    match (request.op, &mut request.data) {
        (Op::Read, Data::Owned(bytes)) => access.readv(IoVectorMut::from(bytes), offset),
        (Op::Read, Data::Guest(segments)) => each_part(segments, offset, |part, offset| {
            let slices: Vec<_> = part.iter().filter_map(Segment::volatile).collect();
            let (pieces, _mapped) = IoVectorMut::from_volatile_slice(&slices[..]);
            access.readv(pieces, offset)
        }),
        (Op::Write { fua }, data) => {
            match data {
                Data::None => {}
                Data::Owned(bytes) => access.writev(IoVector::from(&*bytes), offset)?,
                Data::Guest(segments) => each_part(segments, offset, |part, offset| {
                    let slices: Vec<_> = part.iter().filter_map(Segment::volatile).collect();
                    let (pieces, _mapped) = IoVector::from_volatile_slice(&slices[..]);
                    access.writev(pieces, offset)
                })?,
            }
            if fua { flush(access) } else { Ok(()) }
        }
        (Op::Flush, _) => flush(access),
        (Op::WriteZeroes { .. }, _) => match access.write_zeroes(offset, request.length) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                zero_by_hand(access, offset, request.length)
            }
            outcome => outcome,
        },
        (Op::Read, Data::None) | (Op::Discard, _) => Ok(()),
    }
}

/// Does `work` for as many pieces at a time as one call can name, each with its place on the disk.
fn each_part(
    segments: &[Segment],
    mut offset: u64,
    mut work: impl FnMut(&[Segment], u64) -> io::Result<()>,
) -> io::Result<()> {
    for part in segments.chunks(MAX_PIECES) {
        work(part, offset)?;
        offset += part.iter().map(|it| it.len() as u64).sum::<u64>();
    }
    Ok(())
}

/// Everything that was written, and the metadata that lead to it, on stable storage.
fn flush(access: &Access) -> io::Result<()> {
    access.flush()?;
    access.sync()
}

/// Gives the range's space back: to the file system where it is the image's own, and to the image.
fn free(access: &mut Access, op: Op, offset: u64, length: u64) -> io::Result<()> {
    punch(access, offset, length)?;
    if op == Op::Discard {
        return match access.discard_to_any(offset, length) {
            // Version 2 has no clusters without data.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            outcome => outcome,
        };
    }
    match access.discard_to_zero(offset, length) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            zero_by_hand(access, offset, length)
        }
        outcome => outcome,
    }
}

/// Punches holes where the file has the range's data, as long as they are still the range's: once they are freed the
/// image may put something else there.
fn punch(access: &Access, mut offset: u64, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let (mapping, count) = access.get_mapping(offset, length)?;
        let count = count.min(length);
        if let Mapping::Raw {
            storage,
            offset,
            writable: true,
            ..
        } = mapping
        {
            storage.discard(offset, count)?;
        }
        if count == 0 {
            break;
        }
        offset += count;
        length -= count;
    }
    Ok(())
}

fn zero_by_hand(access: &Access, mut offset: u64, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        let piece = ZEROES.get(..count).unwrap_or(&ZEROES);
        access.write(piece, offset)?;
        offset += piece.len() as u64;
        length -= piece.len() as u64;
    }
    Ok(())
}
