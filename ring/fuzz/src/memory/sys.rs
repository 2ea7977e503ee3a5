//! The mapping.
#![expect(unsafe_code, reason = "maps shared memory")]

use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped memfd, as atomic words.
#[derive(Debug)]
pub(super) struct Words {
    base: *mut AtomicU64,
    count: usize,
}

// SAFETY: the mapping belongs to the process, and all that is done with it are atomic loads and stores.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `size` bytes of `fd`, which has so many and keeps them.
    pub(super) fn map(fd: &OwnedFd, size: usize) -> Self {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address that nothing else uses.
        let base = unsafe { mmap(ptr::null_mut(), size, protection, MapFlags::SHARED, fd, 0) };
        Self {
            base: base.expect("a mapping").cast(),
            count: size / 8,
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.count);
        // SAFETY: the index lies within the mapping, which lasts as long as `self`; it is aligned, any bits are a valid
        // word, and whoever else reaches it does so by atomics.
        unsafe { &*self.base.add(index) }
    }

    pub(super) fn store(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Release);
    }

    pub(super) fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: base and size are `mmap`'s, and no reference outlives `self`.
        let _ = unsafe { munmap(self.base.cast(), self.count * 8) };
    }
}
