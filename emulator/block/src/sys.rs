//! Step 9, block: the memory that the kernel reads and writes for a request, and the vectored calls.
//!
//! [`Buffers`] owns all that its list of addresses points to: pieces of guest RAM (each keeps its
//! mapping alive), the emulator's own bytes, a bounce buffer; and the list never points anywhere
//! else. So whoever keeps the `Buffers` alive and unchanged keeps the kernel's addresses valid.
//! A synchronous call borrows it; `uring::sys` stores it until the kernel has answered.
#![expect(
    unsafe_code,
    reason = "the kernel is given raw addresses of guest RAM, which has no safe view"
)]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Data, bounce::Bounce};

/// The kernel's limit for one list (IOV_MAX).
pub(super) const MAX_PIECES: usize = 1024;

/// Zeroes to write where the file system cannot zero a range.
#[repr(align(4096))]
struct Zeroes([u8; 64 << 10]);
static ZEROES: Zeroes = Zeroes([0; 64 << 10]);

/// The most zeroes that one call writes.
const MAX_ZEROES: usize = 1 << 20;

/// The memory of one request.
pub(super) struct Buffers {
    data: Data,
    bounce: Option<Bounce>,
    /// What the next call uses. Points into `data`, `bounce` or `ZEROES`, nowhere else; emptied before any of these
    /// changes.
    list: Vec<libc::iovec>,
    /// `list` points to memory that may be written.
    writable: bool,
}

// SAFETY: the addresses in `list` are what keeps this from being Send. They point to memory that `data` and `bounce`
// own (heap or a shared mapping, neither bound to a thread) or to a static, and move along with their owner.
unsafe impl Send for Buffers {}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("pieces", &self.list.len())
            .field("bounced", &self.bounce.is_some())
            .finish_non_exhaustive()
    }
}

impl Buffers {
    pub(super) fn new(data: Data) -> Self {
        Self {
            data,
            bounce: None,
            list: Vec::new(),
            writable: false,
        }
    }

    pub(super) fn into_data(self) -> Data {
        self.data
    }

    /// The next call's list, for the kernel.
    pub(super) fn list(&self) -> &[libc::iovec] {
        &self.list
    }

    /// Whether the kernel may write to what the list points to.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    fn clear(&mut self) {
        self.list.clear();
        self.writable = false;
    }

    fn push(&mut self, base: *mut u8, length: usize) {
        self.list.push(libc::iovec {
            iov_base: base.cast(),
            iov_len: length,
        });
    }

    /// The next call moves the data themselves, from byte `skip` on, as much as one list can name.
    pub(super) fn aim_at_data(&mut self, skip: usize) {
        self.clear();
        self.writable = true;
        let mut skip = skip;
        let mut data = std::mem::replace(&mut self.data, Data::None);
        match &mut data {
            Data::None => {}
            Data::Owned(bytes) => {
                if let Some(rest) = bytes.get_mut(skip..) {
                    self.push(rest.as_mut_ptr(), rest.len());
                }
            }
            Data::Guest(segments) => {
                for segment in segments.iter() {
                    if self.list.len() == MAX_PIECES {
                        break;
                    }
                    if skip >= segment.len() {
                        skip -= segment.len();
                        continue;
                    }
                    self.push(segment.as_ptr().wrapping_add(skip), segment.len() - skip);
                    skip = 0;
                }
            }
        }
        // Moving `data` back moves the vectors' heads, not what they own.
        self.data = data;
    }

    /// The next call moves `length` bytes of the bounce buffer, or as many as it has; filled with the data's bytes from
    /// `from` on if that is given.
    pub(super) fn aim_at_bounce(&mut self, length: usize, from: Option<usize>) {
        self.clear();
        self.writable = true;
        let mut bounce = self.bounce.take().unwrap_or_else(|| Bounce::new(length));
        let bytes = bounce.bytes(length);
        if let Some(at) = from {
            self.data.take(at, bytes);
        }
        self.push(bytes.as_mut_ptr(), bytes.len());
        self.bounce = Some(bounce);
    }

    /// Copies the first `count` bytes of the bounce buffer to byte `at` of the data.
    pub(super) fn unbounce(&mut self, at: usize, count: usize) {
        self.clear();
        if let Some(bounce) = &mut self.bounce {
            self.data.fill(at, bounce.bytes(count));
        }
    }

    /// The next call writes up to `length` zeroes.
    pub(super) fn aim_at_zeroes(&mut self, length: usize) {
        self.clear();
        let mut left = length.min(MAX_ZEROES);
        while left > 0 {
            let piece = left.min(ZEROES.0.len());
            self.push(ZEROES.0.as_ptr().cast_mut(), piece);
            left -= piece;
        }
    }
}

/// Reads from `file` at `offset` to where `buffers` aims; `flags` are RWF_*.
pub(super) fn read(
    file: BorrowedFd<'_>,
    buffers: &mut Buffers,
    offset: u64,
    flags: i32,
) -> io::Result<usize> {
    if !buffers.writable {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (count, offset) = arguments(buffers, offset)?;
    // SAFETY: the list has `count` entries and lives during the call. Each names memory that `buffers` owns, borrowed
    // here, so it is mapped during the call: the bounce buffer and own bytes exclusively (`&mut`), guest RAM without
    // any Rust reference to it anywhere. None points to `ZEROES` (checked above).
    let done = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            buffers.list.as_ptr(),
            count,
            offset,
            flags,
        )
    };
    outcome(done)
}

/// Writes to `file` at `offset` from where `buffers` aims; `flags` are RWF_*.
pub(super) fn write(
    file: BorrowedFd<'_>,
    buffers: &Buffers,
    offset: u64,
    flags: i32,
) -> io::Result<usize> {
    let (count, offset) = arguments(buffers, offset)?;
    // SAFETY: as in `read`; the kernel only reads the memory.
    let done = unsafe {
        libc::pwritev2(
            file.as_raw_fd(),
            buffers.list.as_ptr(),
            count,
            offset,
            flags,
        )
    };
    outcome(done)
}

fn arguments(buffers: &Buffers, offset: u64) -> io::Result<(libc::c_int, libc::off_t)> {
    let bad = |_| io::Error::from(io::ErrorKind::InvalidInput);
    Ok((
        libc::c_int::try_from(buffers.list.len()).map_err(bad)?,
        libc::off_t::try_from(offset).map_err(bad)?,
    ))
}

fn outcome(done: isize) -> io::Result<usize> {
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}
