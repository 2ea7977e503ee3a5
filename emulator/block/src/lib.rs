//! Step 9, block: the backends, where a disk's bytes live.
//!
//! A request is an obligation: each one that [`Backend::submit`] takes comes back exactly once, as
//! the returned completion or through [`Backend::reap`] or [`Backend::drain`]. A request that is
//! in flight owns its pieces of guest RAM, so the memory that the kernel writes stays mapped;
//! dropping a backend waits for what is in flight.
//!
//! Requests that overlap and are in flight together take effect in any order.

mod bounce;
mod delay;
mod descriptor;
mod fail;
mod file;
mod format;
mod job;
mod lock;
mod memory;
mod nbd;
mod null;
mod open;
mod request;
mod sys;
mod threads;
mod uring;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

pub use delay::{Delay, DelayHandle, Hold};
pub use descriptor::{
    DescriptorError, DescriptorUse, named_by as descriptor_named_by, open_behind,
};
pub use fail::{Fail, FailRule, Failure};
pub use file::{Engine, Image};
pub use format::{
    Backing, FormatError, FormatOptions, Formatted, ImageFile, OpenedFormat, convert_command,
    pad_command, qcow2, raw, resize_command, vmdk,
};
pub use lock::{LockError, Locking, lock};
pub use memory::Memory;
pub use nbd::{Nbd, NbdError, NbdOptions, OpenedNbd, connect};
pub use null::Null;
pub use open::{FileOptions, OpenError, Opened, open};
use outrigger_device::dma::Segment;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill the request's data from the disk.
    Read,
    /// Write the request's data to the disk.
    Write {
        /// On stable storage before it completes (force unit access).
        fua: bool,
    },
    /// All completed writes on stable storage before it completes.
    Flush,
    /// The range's contents are no longer needed. A hint: it succeeds where nothing can be freed.
    Discard,
    /// The range reads as zeroes afterwards.
    WriteZeroes {
        /// The range may be deallocated.
        unmap: bool,
    },
}

/// A request's data.
#[derive(Debug)]
pub enum Data {
    /// None (flush, discard, write zeroes).
    None,
    /// Guest RAM, in order.
    Guest(Vec<Segment>),
    /// The emulator's own memory (VERIFY, WRITE SAME).
    Owned(Vec<u8>),
}

/// One request. `length` is in bytes and equals the data's length where there are data.
#[derive(Debug)]
pub struct Request {
    /// The caller's name for it, returned with the completion.
    pub cookie: u64,
    /// What to do.
    pub op: Op,
    /// Byte offset on the disk.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Where the bytes come from or go to.
    pub data: Data,
}

/// Why a request failed. Exhaustive on purpose: whoever says it to a guest (as sense data, say) has an answer for each.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Beyond the end of the disk; nothing was done.
    #[error("beyond the end of the disk")]
    OutOfRange,
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// [`Backend::drain`] cancelled it; none, some or all of it was done.
    #[error("cancelled")]
    Cancelled,
    /// No space left where the image lives.
    #[error("no space left for the image")]
    NoSpace,
    /// The medium failed; `offset` is the first byte concerned, where it is known.
    #[error("{source}")]
    Io {
        /// First failing byte.
        offset: Option<u64>,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A request's end.
#[derive(Debug)]
pub struct Completion {
    /// The request's cookie.
    pub cookie: u64,
    /// The request's data, given back.
    pub data: Data,
    /// How it went.
    pub result: Result<(), BlockError>,
}

/// What a backend is like; constant but for [`Backend::refresh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size in bytes.
    pub bytes: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Discard frees space.
    pub discard: bool,
}

/// A block backend.
#[derive(Debug)]
pub enum Backend {
    /// The emulator's own memory.
    Memory(Memory),
    /// A raw image file or block device.
    File(Box<Image>),
    /// An image in a format.
    Format(Box<Formatted>),
    /// An export of an NBD server.
    Nbd(Box<Nbd>),
    /// Nothing at all.
    Null(Null),
    /// Holds requests back.
    Delay(Box<Delay>),
    /// Fails chosen requests.
    Fail(Box<Fail>),
}

impl Backend {
    /// A disk in the emulator's own memory; every request is done in [`Backend::submit`].
    #[must_use]
    pub fn memory(bytes: Vec<u8>, read_only: bool) -> Self {
        Self::Memory(Memory::new(bytes, read_only))
    }

    /// A raw image: a regular file or a block device, of the size that it has now. Opens and starts in one.
    ///
    /// # Errors
    /// [`OpenError`], to be shown to the user with the file's name.
    pub fn file(file: std::fs::File, options: FileOptions) -> Result<Self, OpenError> {
        Self::start(open(file, options)?)
    }

    /// Starts the engine of an opened image: sets up io_uring or starts threads, which inherit the rights that the
    /// caller has left. Needs no path, but must come before the system call filter.
    ///
    /// # Errors
    /// If no engine can be had.
    pub fn start(opened: Opened) -> Result<Self, OpenError> {
        Ok(Self::File(Box::new(Image::start(opened)?)))
    }

    /// Starts the threads of an image in a format. Needs no path, but must come before the system call filter.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn format(opened: OpenedFormat) -> io::Result<Self> {
        Ok(Self::Format(Box::new(Formatted::start(opened)?)))
    }

    /// Starts the threads of a connection to an NBD server; must come before the system call filter.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn nbd(opened: OpenedNbd) -> io::Result<Self> {
        Ok(Self::Nbd(Box::new(Nbd::start(opened)?)))
    }

    /// A disk of `bytes` bytes that keeps nothing. Reads leave the data as they are unless `read_zeroes`.
    #[must_use]
    pub fn null(bytes: u64, read_only: bool, read_zeroes: bool) -> Self {
        Self::Null(Null::new(bytes, read_only, read_zeroes))
    }

    /// Holds each request back before it reaches `inner`; the handle lets them go.
    ///
    /// # Errors
    /// The kernel's, where it has no more descriptors.
    pub fn delay(inner: Self, hold: Hold) -> io::Result<(Self, DelayHandle)> {
        let (delay, handle) = Delay::new(inner, hold)?;
        Ok((Self::Delay(Box::new(delay)), handle))
    }

    /// Fails the requests that `rule` names before they reach `inner`.
    #[must_use]
    pub fn fail(inner: Self, rule: FailRule) -> Self {
        Self::Fail(Box::new(Fail::new(inner, rule)))
    }

    /// What it is like.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        match self {
            Self::Memory(memory) => memory.geometry(),
            Self::File(image) => image.geometry(),
            Self::Format(image) => image.geometry(),
            Self::Nbd(nbd) => nbd.geometry(),
            Self::Null(null) => null.geometry(),
            Self::Delay(delay) => delay.inner().geometry(),
            Self::Fail(fail) => fail.inner().geometry(),
        }
    }

    /// Looks again how large the disk is: a raw image's file can have grown or shrunk. Others keep their size.
    ///
    /// # Errors
    /// The kernel's; the size is the old one then.
    pub fn refresh(&mut self) -> io::Result<()> {
        match self {
            Self::File(image) => image.refresh(),
            Self::Delay(delay) => delay.inner_mut().refresh(),
            Self::Fail(fail) => fail.inner_mut().refresh(),
            Self::Memory(_) | Self::Null(_) | Self::Format(_) | Self::Nbd(_) => Ok(()),
        }
    }

    /// Starts a request. `Some` if it is done already, without a wait: memory, a page-cache hit, an error.
    pub fn submit(&mut self, request: Request) -> Option<Completion> {
        match self {
            Self::Memory(memory) => Some(memory.submit(request)),
            Self::File(image) => image.submit(request),
            Self::Format(image) => image.submit(request),
            Self::Nbd(nbd) => nbd.submit(request),
            Self::Null(null) => Some(null.submit(request)),
            Self::Delay(delay) => delay.submit(request),
            Self::Fail(fail) => fail.submit(request),
        }
    }

    /// Hands what [`Backend::submit`] collected to the kernel, in one call. Called once at the end of each run.
    pub fn kick(&mut self) {
        match self {
            Self::Memory(_) | Self::Null(_) => {}
            Self::File(image) => image.kick(),
            Self::Format(image) => image.kick(),
            Self::Nbd(nbd) => nbd.kick(),
            Self::Delay(delay) => delay.kick(),
            Self::Fail(fail) => fail.inner_mut().kick(),
        }
    }

    /// Appends what has completed; does not wait.
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        match self {
            Self::Memory(_) | Self::Null(_) => {}
            Self::File(image) => image.reap(into),
            Self::Format(image) => image.reap(into),
            Self::Nbd(nbd) => nbd.reap(into),
            Self::Delay(delay) => delay.reap(into),
            Self::Fail(fail) => fail.inner_mut().reap(into),
        }
    }

    /// Waits until nothing is in flight and appends all completions. Requests that can be cancelled are cancelled
    /// only if `cancel`.
    pub fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        match self {
            Self::Memory(_) | Self::Null(_) => {}
            Self::File(image) => image.drain(cancel, into),
            Self::Format(image) => image.drain(cancel, into),
            Self::Nbd(nbd) => nbd.drain(cancel, into),
            Self::Delay(delay) => delay.drain(cancel, into),
            Self::Fail(fail) => fail.inner_mut().drain(cancel, into),
        }
    }

    /// Becomes readable when [`Backend::reap`] has something to do; `None` if requests always finish in submit. It may
    /// be watched edge-triggered. A wait for it may end with EINTR: io_uring finishes some work on the thread that
    /// submitted it.
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Memory(_) | Self::Null(_) => None,
            Self::File(image) => Some(image.wake_fd()),
            Self::Format(image) => Some(image.wake_fd()),
            Self::Nbd(nbd) => Some(nbd.wake_fd()),
            Self::Delay(delay) => Some(delay.wake_fd()),
            Self::Fail(fail) => fail.inner().wake_fd(),
        }
    }

    /// When [`Backend::reap`] has something to do although no descriptor says so (a delaying decorator).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Memory(_) | Self::Null(_) | Self::Format(_) | Self::Nbd(_) => None,
            Self::File(image) => image.deadline(),
            Self::Delay(delay) => delay.deadline(),
            Self::Fail(fail) => fail.inner().deadline(),
        }
    }
}
