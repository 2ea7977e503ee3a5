//! An allocator that counts.
#![expect(unsafe_code, reason = "implements the allocator's interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::Ordering;

use super::{LARGEST, LIVE};

/// The system's allocator, with a count of what is live and a limit for one allocation. libFuzzer's own memory does not
/// come from here.
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: every call is passed on to the system's allocator as it came, and what that answers is answered; the
// counter is no part of it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Beyond the limit the allocation fails, and Rust ends the process with the size.
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System.alloc` with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}
