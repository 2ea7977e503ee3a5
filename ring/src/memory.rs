//! Step 4, ring: shared memory as lines of atomics. The only unsafe code of this crate.
//!
//! Soundness, once for all blocks below: a [`Mapping`] is a whole memfd whose size is sealed,
//! mapped until the last `Lines` over it is dropped, so that every line stays readable and no
//! access faults. The peer writes it at any time; therefore nothing but atomics ever refers to it,
//! and every bit pattern is a valid `u64`. A read-only mapping is reached through [`PeerLines`]
//! alone, which load relaxed and fence after that: the standard library guarantees relaxed loads of
//! 64 bits, and no other atomic access, on read-only memory.
#![expect(unsafe_code, reason = "maps shared memory and refers into it")]

use crate::sync::{AtomicU64, Ordering, fence};

/// The seven words of a line that follow its stamp.
pub(crate) type Body = [u64; 7];

/// One cache line: a stamp (or flag, or counter) and seven words.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    stamp: AtomicU64,
    body: Words,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
#[cfg(not(loom))]
const _: () =
    assert!(core::mem::offset_of!(Line, stamp) == 0 && core::mem::offset_of!(Line, body) == 8);

impl Line {
    /// The stamp as it is now; nothing after it is ordered. See [`Line::acquire`].
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Orders everything after it behind what the peer did before it released the stamps that were
    /// glanced at.
    #[inline]
    pub(crate) fn acquire() {
        fence(Ordering::Acquire);
    }

    /// The body, each word loaded once.
    #[inline]
    pub(crate) fn body(&self) -> Body {
        self.body.load()
    }

    /// One word of the body, loaded once.
    #[inline]
    pub(crate) fn word<const WORD: usize>(&self) -> u64 {
        self.body.load_at::<WORD>()
    }
}

/// A line that this side may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnLine<'a>(&'a Line);

impl OwnLine<'_> {
    /// Writes the body; it counts when the stamp is released.
    #[inline]
    pub(crate) fn fill(self, body: Body) {
        self.0.body.store(body);
    }

    /// Writes the first word of the body.
    #[inline]
    pub(crate) fn fill_first(self, value: u64) {
        self.0.body.store_first(value);
    }

    /// Writes one word of the body, 0 to 6.
    #[inline]
    pub(crate) fn fill_at(self, word: usize, value: u64) {
        self.0.body.store_at(word, value);
    }

    /// Writes the stamp: everything before it is visible to whoever acquires it.
    #[inline]
    pub(crate) fn release(self, stamp: u64) {
        self.0.stamp.store(stamp, Ordering::Release);
    }

    /// Writes the stamp if it is `from`: everything before it is visible to whoever acquires it,
    /// and everything that the peer did before it wrote `from` is visible here. Else what the stamp
    /// is; that is acquired too.
    pub(crate) fn exchange(self, from: u64, to: u64) -> Result<(), u64> {
        self.0
            .stamp
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    /// Writes the stamp, in no order: for flags, where a fence follows.
    #[inline]
    pub(crate) fn set(self, stamp: u64) {
        self.0.stamp.store(stamp, Ordering::Relaxed);
    }
}

impl core::ops::Deref for OwnLine<'_> {
    type Target = Line;

    #[inline]
    fn deref(&self) -> &Line {
        self.0
    }
}

/// Lines that this side may write.
#[derive(Debug)]
pub(crate) struct OwnLines(Lines);

impl OwnLines {
    /// Line `position` modulo the (power of two) number of lines.
    #[inline]
    pub(crate) fn at(&self, position: u64) -> OwnLine<'_> {
        OwnLine(self.0.at(position))
    }

    /// How many.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.0.count()
    }
}

/// Lines that only the peer writes.
#[derive(Debug)]
pub(crate) struct PeerLines(Lines);

impl PeerLines {
    /// Line `position` modulo the (power of two) number of lines.
    #[inline]
    pub(crate) fn at(&self, position: u64) -> &Line {
        self.0.at(position)
    }

    /// How many.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.0.count()
    }
}

#[cfg(not(loom))]
pub(crate) use mapped::Mapping;
#[cfg(not(loom))]
use mapped::{Lines, Words};
#[cfg(loom)]
pub(crate) use modelled::Mapping;
#[cfg(loom)]
use modelled::{Lines, Words};

#[cfg(not(loom))]
mod mapped {
    use std::fmt;
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::ptr::{self, NonNull};
    use std::sync::Arc;

    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    use super::{Body, Line, OwnLines, PeerLines};
    use crate::layout::LINE;
    use crate::sync::{AtomicU64, Ordering};

    /// The seven words behind a stamp.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(super) struct Words([AtomicU64; 7]);

    impl Words {
        #[inline]
        pub(super) fn load(&self) -> Body {
            let [a, b, c, d, e, f, g] = &self.0;
            [a, b, c, d, e, f, g].map(|word| word.load(Ordering::Relaxed))
        }

        #[inline]
        pub(super) fn load_at<const WORD: usize>(&self) -> u64 {
            const { assert!(WORD < 7) };
            // There is one: the compiler sees it too.
            self.0
                .get(WORD)
                .map_or(0, |word| word.load(Ordering::Relaxed))
        }

        #[inline]
        pub(super) fn store(&self, body: Body) {
            for (word, value) in self.0.iter().zip(body) {
                word.store(value, Ordering::Relaxed);
            }
        }

        #[inline]
        pub(super) fn store_at(&self, word: usize, value: u64) {
            if let Some(word) = self.0.get(word) {
                word.store(value, Ordering::Relaxed);
            }
        }

        #[inline]
        pub(super) fn store_first(&self, value: u64) {
            let [first, ..] = &self.0;
            first.store(value, Ordering::Relaxed);
        }
    }

    /// A memfd, mapped from its start. Unmapped with the last reference.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        base: NonNull<Line>,
        bytes: usize,
        writable: bool,
    }

    // SAFETY: the mapping belongs to the process, not to a thread, and what it holds are atomics.
    unsafe impl Send for Mapping {}
    // SAFETY: as above; a shared `Mapping` gives out nothing but `Lines`.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// Maps the first `bytes` of `memory`, whose size is sealed and is at least that.
        pub(crate) fn new(
            memory: BorrowedFd<'_>,
            bytes: u64,
            writable: bool,
        ) -> io::Result<Arc<Self>> {
            let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut protection = ProtFlags::READ;
            if writable {
                protection |= ProtFlags::WRITE;
            }
            let flags = MapFlags::SHARED | MapFlags::POPULATE;
            // SAFETY: the kernel chooses an address that nothing else uses, so no memory of this process changes.
            let base = unsafe { mmap(ptr::null_mut(), bytes, protection, flags, memory, 0) }?;
            let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Arc::new(Self {
                base,
                bytes,
                writable,
            }))
        }

        /// `count` lines (a power of two) from byte `offset` on, to write; `None` if they do not
        /// lie in the mapping, or it is read-only.
        pub(crate) fn own(self: &Arc<Self>, offset: u64, count: u64) -> Option<OwnLines> {
            if !self.writable {
                return None;
            }
            Some(OwnLines(self.lines(offset, count)?))
        }

        /// `count` lines (a power of two) from byte `offset` on, to read; `None` if they do not lie
        /// in the mapping.
        pub(crate) fn peer(self: &Arc<Self>, offset: u64, count: u64) -> Option<PeerLines> {
            Some(PeerLines(self.lines(offset, count)?))
        }

        fn lines(self: &Arc<Self>, offset: u64, count: u64) -> Option<Lines> {
            let end = count.checked_mul(LINE)?.checked_add(offset)?;
            let in_bounds = usize::try_from(end).ok()? <= self.bytes;
            if !in_bounds || !offset.is_multiple_of(LINE) || !count.is_power_of_two() {
                return None;
            }
            let index = usize::try_from(offset / LINE).ok()?;
            // SAFETY: `index` lines are `offset` bytes, which are below `bytes`: the pointer stays in the mapping.
            let first = unsafe { self.base.add(index) };
            Some(Lines {
                first,
                mask: count - 1,
                _mapping: Arc::clone(self),
            })
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: `base` and `bytes` are what `mmap` gave, and every `Lines` into it has dropped its `Arc`. A failure
            // leaves the mapping in place, which is safe.
            let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
        }
    }

    /// A power of two of lines in a mapping. Send, as it owns a reference to the mapping; not Sync,
    /// as a role is one thread's.
    pub(super) struct Lines {
        first: NonNull<Line>,
        mask: u64,
        _mapping: Arc<Mapping>,
    }

    // SAFETY: the pointer is valid in every thread for as long as `_mapping` lives, and leads to atomics.
    unsafe impl Send for Lines {}

    impl Lines {
        #[inline]
        pub(super) fn at(&self, position: u64) -> &Line {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "layout.rs asserts that usize has 64 bits"
            )]
            let index = (position & self.mask) as usize;
            // SAFETY: `Mapping::lines` checked that `mask + 1` lines from `first` on lie in the mapping and are aligned, and
            // `_mapping` keeps it mapped for at least as long as `self` is borrowed. `Line` is
            // atomics only: see the top.
            unsafe { self.first.add(index).as_ref() }
        }

        #[inline]
        pub(super) fn count(&self) -> u64 {
            self.mask + 1
        }
    }

    impl fmt::Debug for Lines {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lines")
                .field("count", &self.count())
                .finish_non_exhaustive()
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::sync::Arc;

    use loom::cell::UnsafeCell;

    use super::{Body, Line, OwnLines, PeerLines};
    use crate::sync::AtomicU64;

    /// The seven words behind a stamp. Honest peers never touch them at the same time: loom fails
    /// if they do.
    #[derive(Debug)]
    pub(super) struct Words(UnsafeCell<Body>);

    // SAFETY: loom tracks each access to the cell and ends the run at a race.
    unsafe impl Sync for Words {}
    // SAFETY: plain numbers.
    unsafe impl Send for Words {}

    impl Words {
        pub(super) fn load(&self) -> Body {
            // SAFETY: loom has checked that nobody writes meanwhile.
            self.0.with(|body| unsafe { *body })
        }

        pub(super) fn load_at<const WORD: usize>(&self) -> u64 {
            // SAFETY: as above.
            self.0.with(|body| unsafe { (*body)[WORD] })
        }

        pub(super) fn store(&self, body: Body) {
            // SAFETY: loom has checked that nobody else is here.
            self.0.with_mut(|to| unsafe { *to = body });
        }

        pub(super) fn store_at(&self, word: usize, value: u64) {
            // SAFETY: as above.
            self.0.with_mut(|to| unsafe { (&mut *to)[word] = value });
        }

        pub(super) fn store_first(&self, value: u64) {
            // SAFETY: as above.
            self.0.with_mut(|to| unsafe { (*to)[0] = value });
        }
    }

    /// Lines that loom watches, in the place of a mapping.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        lines: Vec<Line>,
    }

    impl Mapping {
        /// `count` lines of zeroes.
        pub(crate) fn new(count: usize) -> Arc<Self> {
            let line = || Line {
                stamp: AtomicU64::new(0),
                body: Words(UnsafeCell::new([0; 7])),
            };
            Arc::new(Self {
                lines: (0..count).map(|_| line()).collect(),
            })
        }

        pub(crate) fn own(self: &Arc<Self>) -> OwnLines {
            OwnLines(Lines {
                mapping: Arc::clone(self),
            })
        }

        pub(crate) fn peer(self: &Arc<Self>) -> PeerLines {
            PeerLines(Lines {
                mapping: Arc::clone(self),
            })
        }
    }

    #[derive(Debug)]
    pub(super) struct Lines {
        mapping: Arc<Mapping>,
    }

    impl Lines {
        pub(super) fn at(&self, position: u64) -> &Line {
            &self.mapping.lines[position as usize & (self.mapping.lines.len() - 1)]
        }

        pub(super) fn count(&self) -> u64 {
            self.mapping.lines.len() as u64
        }
    }
}
