//! Step 10, DMA: the mapping itself, and what takes its place when the memory behind it is gone.
#![expect(
    unsafe_code,
    reason = "maps a client's file, and maps zeroes over it where the kernel has nothing else to give"
)]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vm_memory::volatile_memory::VolatileSlice;

use super::super::MapError;
use super::table::{self, Range, Registered};

/// A shared mapping of a file range, unmapped when it is dropped. It needs no descriptor of the
/// file.
#[derive(Debug)]
pub(super) struct Mapped {
    base: NonNull<u8>,
    length: usize,
    /// `None` only within `drop`.
    registered: Option<Registered>,
}

// SAFETY: the mapping belongs to the process, not to a thread. What it holds is reached through
// `VolatileSlice`s alone, which are for memory that others change at any time.
unsafe impl Send for Mapped {}
// SAFETY: as above; a shared `Mapped` gives out nothing but `VolatileSlice`s.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps `length` bytes of `file` from `offset` on; parts of it start and end on multiples of
    /// `granule`.
    pub(super) fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        writable: bool,
        granule: usize,
    ) -> Result<Self, MapError> {
        let protection = match writable {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::READ,
        };
        // SAFETY: the kernel chooses an address that nothing else uses, so no memory of this
        // process changes.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                file,
                offset,
            )
        };
        let base = base.map_err(io::Error::from)?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory);
        let base = base.map_err(io::Error::from)?;
        let mut mapped = Self {
            base,
            length,
            registered: None,
        };
        mapped.registered = Some(Registered::new(Range {
            start: base.as_ptr().expose_provenance(),
            length,
            granule,
        })?);
        Ok(mapped)
    }

    /// Bytes `at..at + length`; `None` if they are not all in it.
    #[inline]
    pub(super) fn slice(&self, at: usize, length: usize) -> Option<VolatileSlice<'_>> {
        if at.checked_add(length)? > self.length {
            return None;
        }
        // SAFETY: the range lies in the mapping (just checked), which stays in place as long as
        // `self` is borrowed; when the file behind it is gone, `replace_lost` puts other memory
        // there. Nobody has a reference into it: this is the only way to it, and the slice's own
        // accesses are volatile or atomic.
        Some(unsafe { VolatileSlice::new(self.base.as_ptr().add(at), length) })
    }

    pub(super) fn registered(&self) -> Option<&Registered> {
        self.registered.as_ref()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // First out of the table: from the next line on the addresses may be something else.
        self.registered = None;
        // SAFETY: `base` and `length` are what `mmap` gave, `replace_lost` leaves a mapping of the
        // same extent, and every slice of it has ended its borrow. A failure leaves it in place,
        // which is safe.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Puts zeroes in the place of the guest RAM that this address lies in, and notes that it is gone;
/// `false` if it does not lie in guest RAM, or the kernel has no memory for that either.
///
/// For the handler of SIGBUS: no lock, no allocation, system calls only. The thread that was
/// interrupted goes on with zeroes; whoever serves the client finds the note and ends the session.
pub(crate) fn replace_lost(address: usize) -> bool {
    let Some((range, set_lost)) = table::find(address) else {
        return false;
    };
    // All of it, so that one signal is enough. Where memory is not overcommitted that may be too
    // much: then the page.
    let at = address.saturating_sub(range.start);
    let page = Range {
        start: range.start + at - at.checked_rem(range.granule).unwrap_or(0),
        length: range.granule,
        granule: range.granule,
    };
    let replaced = zeroes_over(range) || zeroes_over(page);
    if replaced {
        set_lost();
    }
    replaced
}

fn zeroes_over(range: Range) -> bool {
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let place = ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range is a `Mapped`'s, or whole granules of one. That `Mapped` is alive: it
    // leaves the table before it is unmapped, and the thread that faulted within it, which runs
    // this, borrows it. Its memory is reached by volatile and atomic accesses alone, which find
    // other bytes there at any time anyway. MAP_FIXED changes the mapping in one step: no thread
    // ever finds a gap.
    unsafe { mmap_anonymous(place, range.length, protection, flags) }.is_ok()
}
