//! Step 10, DMA: a client's file range, checked and mapped.

mod sys;
mod table;

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;
use vm_memory::Bytes;
use vm_memory::volatile_memory::VolatileSlice;

use super::{MapError, Mapping};
use sys::Mapped;
pub(crate) use sys::replace_lost;
pub(crate) use table::losses;

/// Whether an address or offset lies on a page boundary.
pub(super) fn is_page_aligned(value: u64) -> bool {
    value.is_multiple_of(rustix::param::page_size() as u64)
}

/// A mapped range of guest RAM, shared by the gate and the segments in flight; unmapped with the last of them.
///
/// Guest, client and kernel write it at any time: it is only reached by volatile or atomic copies, never through a
/// reference.
#[derive(Debug)]
pub(super) struct GuestMemory {
    mapped: Mapped,
    /// Where in `mapped` the range starts: huge pages are mapped whole.
    start: usize,
    length: usize,
}

impl GuestMemory {
    /// Maps `mapping`'s file range, shared; read-only if the device may not write it.
    pub(super) fn new(mapping: Mapping) -> Result<Self, MapError> {
        let granule = granule(&mapping.fd)?;
        Self::with_granule(mapping, granule)
    }

    /// The same, the mapping starting and ending on multiples of `granule` in the file.
    pub(super) fn with_granule(mapping: Mapping, granule: u64) -> Result<Self, MapError> {
        let Mapping {
            address,
            size,
            fd,
            offset,
            writable,
            ..
        } = mapping;
        let bad = || MapError::BadRange { address, size };
        let stat = rustix::fs::fstat(&fd).map_err(std::io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(MapError::NotAFile);
        }
        let end = offset.checked_add(size).ok_or_else(bad)?;
        let file_size = u64::try_from(stat.st_size).map_err(|_| bad())?;
        if size == 0 || !is_page_aligned(size) || !is_page_aligned(offset) || end > file_size {
            return Err(bad());
        }

        let file_start = offset - offset % granule;
        let file_end = end.checked_next_multiple_of(granule).ok_or_else(bad)?;
        let whole = usize::try_from(file_end - file_start).map_err(|_| bad())?;
        let granule = usize::try_from(granule).map_err(|_| bad())?;
        // The descriptor is closed when this returns: with it, whoever takes over this process could cut the file short.
        let mapped = Mapped::new(fd.as_fd(), file_start, whole, writable, granule)?;
        Ok(Self {
            mapped,
            start: usize::try_from(offset - file_start).map_err(|_| bad())?,
            length: usize::try_from(size).map_err(|_| bad())?,
        })
    }

    /// Bytes `at..at + length`, as far as they exist.
    #[inline]
    pub(super) fn slice(&self, at: usize, length: usize) -> Option<VolatileSlice<'_>> {
        let left = self.length.checked_sub(at)?;
        self.mapped
            .slice(self.start.checked_add(at)?, length.min(left))
    }

    /// Whether a part of it was found to be gone: the client has cut its file short, or there was no memory for a page.
    pub(super) fn is_lost(&self) -> bool {
        self.mapped
            .registered()
            .is_some_and(table::Registered::is_lost)
    }

    /// The kernel could not reach a part of it.
    pub(super) fn set_lost(&self) {
        if let Some(registered) = self.mapped.registered() {
            registered.set_lost();
        }
    }

    /// Copies out from byte `at` on; returns how many bytes.
    #[inline]
    pub(super) fn read(&self, at: usize, bytes: &mut [u8]) -> usize {
        let Some(slice) = self.slice(at, bytes.len()) else {
            return 0;
        };
        let Some(bytes) = bytes.get_mut(..slice.len()) else {
            return 0;
        };
        if !read_words(&slice, bytes) {
            slice.copy_to(bytes);
        }
        slice.len()
    }

    /// Copies in from byte `at` on; returns how many bytes. The caller knows that the device may write here.
    #[inline]
    pub(super) fn write(&self, at: usize, bytes: &[u8]) -> usize {
        let Some(slice) = self.slice(at, bytes.len()) else {
            return 0;
        };
        let Some(bytes) = bytes.get(..slice.len()) else {
            return 0;
        };
        if !write_words(&slice, bytes) {
            slice.copy_from(bytes);
        }
        slice.len()
    }
}

/// The most bytes that are moved word by word: table entries, instructions, descriptors.
const MAX_WORDS: usize = 64;

/// Reads whole words, so that one that a CPU updates meanwhile is not seen in halves. `false`, and nothing is read: not
/// aligned to words, or too long to be a structure of them. `bytes` is as long as `slice`.
#[inline]
pub(crate) fn read_words(slice: &VolatileSlice<'_>, bytes: &mut [u8]) -> bool {
    if let Ok(word) = <&mut [u8; 8]>::try_from(&mut *bytes)
        && let Ok(value) = slice.load::<u64>(0, Ordering::Acquire)
    {
        *word = value.to_ne_bytes();
        return true;
    }
    let (words, []) = bytes.as_chunks_mut::<4>() else {
        return false;
    };
    if words.len() * 4 > MAX_WORDS {
        return false;
    }
    // Only the first can fail, where all are misaligned.
    words.iter_mut().enumerate().all(|(index, word)| {
        slice
            .load::<u32>(index * 4, Ordering::Acquire)
            .map(|value| *word = value.to_ne_bytes())
            .is_ok()
    })
}

/// Writes whole words; see [`read_words`].
#[inline]
pub(crate) fn write_words(slice: &VolatileSlice<'_>, bytes: &[u8]) -> bool {
    if let Ok(word) = <[u8; 8]>::try_from(bytes)
        && slice
            .store(u64::from_ne_bytes(word), 0, Ordering::Release)
            .is_ok()
    {
        return true;
    }
    let (words, []) = bytes.as_chunks::<4>() else {
        return false;
    };
    if words.len() * 4 > MAX_WORDS {
        return false;
    }
    words.iter().enumerate().all(|(index, word)| {
        slice
            .store(u32::from_ne_bytes(*word), index * 4, Ordering::Release)
            .is_ok()
    })
}

/// What a mapping of this file starts and ends on: a page, or a huge page on hugetlbfs.
fn granule(fd: &impl AsFd) -> Result<u64, MapError> {
    const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;
    let page = rustix::param::page_size() as u64;
    let file_system = rustix::fs::fstatfs(fd).map_err(std::io::Error::from)?;
    if file_system.f_type == HUGETLBFS_MAGIC {
        Ok(u64::try_from(file_system.f_bsize).unwrap_or(page).max(page))
    } else {
        Ok(page)
    }
}
