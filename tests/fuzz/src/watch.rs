//! Finding leaks: what an input leaves behind, it leaves behind each time.

mod sys;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use sys::CountingAllocator;

/// Bytes that the program's allocator has given out and not got back. Always 0 without a [`CountingAllocator`].
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Inputs so far.
static INPUTS: AtomicU64 = AtomicU64::new(0);

/// The largest allocation that an input may cause: more is an allocation by the peer's word.
const LARGEST: usize = 80 << 20;
/// How often an input must leave something behind, one time after the other, to be a leak. The first times may fill caches.
const TIMES: usize = 8;
/// Every so many inputs, descriptors are looked at even where the heap has not grown.
const LOOK: u64 = 256;

/// Runs a target on an input.
///
/// # Panics
/// If the target does, or leaves memory or descriptors behind whenever it sees this input.
pub fn watched(target: fn(&[u8]), input: &[u8]) {
    let look = INPUTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK);
    let fds = look.then(next_descriptor);
    let heap = LIVE.load(Ordering::Relaxed);
    target(input);
    if LIVE.load(Ordering::Relaxed) <= heap && fds.is_none_or(|before| next_descriptor() <= before)
    {
        return;
    }
    let mut memory = 0;
    let mut descriptors = 0;
    for _ in 0..TIMES {
        let (heap, fds) = (LIVE.load(Ordering::Relaxed), next_descriptor());
        target(input);
        memory += usize::from(LIVE.load(Ordering::Relaxed) > heap);
        descriptors += usize::from(next_descriptor() > fds);
    }
    assert!(memory < TIMES, "each run leaves memory behind");
    assert!(descriptors < TIMES, "each run leaves a descriptor behind");
}

/// The number that the next descriptor would get: it rises when one is leaked.
fn next_descriptor() -> i32 {
    File::open("/dev/null").map_or(i32::MAX, |file| file.as_raw_fd())
}
