//! A memory that the peer has made, and writes at any time.

mod sys;

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{fcntl_dupfd_cloexec, pwrite};

use sys::Words;

/// A sealed memory, mapped to write.
#[derive(Debug)]
pub(crate) struct Memory {
    fd: OwnedFd,
    words: Words,
    size: usize,
}

impl Memory {
    /// As the protocol asks for. `future`: sealed against other writers.
    ///
    /// # Panics
    /// If the kernel has no memory.
    pub(crate) fn new(header: &[u8; 64], size: usize, future: bool) -> Self {
        let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        if future {
            seals |= SealFlags::FUTURE_WRITE;
        }
        let fd = memfd(header, size);
        let words = Words::map(&fd, size);
        fcntl_add_seals(&fd, seals).expect("seals");
        Self { fd, words, size }
    }

    /// For the other side.
    ///
    /// # Panics
    /// If there is no descriptor.
    pub(crate) fn descriptor(&self) -> OwnedFd {
        fcntl_dupfd_cloexec(&self.fd, 0).expect("a descriptor")
    }

    /// Zeroes behind the header.
    pub(crate) fn clear(&self) {
        for at in (64..self.size).step_by(8) {
            self.store(at, 0);
        }
    }

    /// Writes a word; `at` counts bytes. Nothing happens beyond the end.
    pub(crate) fn store(&self, at: usize, value: u64) {
        if at < self.size {
            self.words.store(at / 8, value);
        }
    }

    /// Reads a word; 0 beyond the end.
    pub(crate) fn load(&self, at: usize) -> u64 {
        if at < self.size {
            self.words.load(at / 8)
        } else {
            0
        }
    }

    /// Writes a line: the body, then the stamp.
    pub(crate) fn line(&self, at: usize, stamp: u64, body: [u64; 7]) {
        for (index, word) in (1..).zip(body) {
            self.store(at + 8 * index, word);
        }
        self.store(at, stamp);
    }
}

/// What another has made to be written by both.
///
/// # Panics
/// If it cannot be mapped.
pub(crate) fn map_mailboxes(fd: BorrowedFd<'_>, size: usize) -> Memory {
    let fd = fcntl_dupfd_cloexec(fd, 0).expect("a descriptor");
    let words = Words::map(&fd, size);
    Memory { fd, words, size }
}

/// A memfd with this header, without seals.
///
/// # Panics
/// If the kernel has none.
pub(crate) fn memfd(header: &[u8], size: usize) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("peer", flags).expect("a memfd");
    ftruncate(&fd, size as u64).expect("room");
    pwrite(&fd, header, 0).expect("room");
    fd
}
