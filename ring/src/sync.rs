//! Atomics, from `core` or from loom: every synchronising word of this crate goes through here, so
//! that `--cfg loom` checks the code that ships.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
