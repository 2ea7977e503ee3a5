//! Step 6, access map: the memory behind a BAR, which a client may map into its guest.
//!
//! Before a client asks for it, the bytes are this process's own. Then they are in a memfd of their own, whose size is sealed, and a
//! guest changes them at any time, also while the device reads them: each word is loaded once, and what comes is a
//! value. The next client gets a memfd of its own, so that no guest reaches another's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vm_memory::volatile_memory::{VolatileMemory, VolatileSlice};
use vm_memory::{FileOffset, MmapRegion};

use crate::dma::{read_words, write_words};

/// A device's memory. Ranges that do not lie in it read zeroes and swallow writes.
#[derive(Debug)]
pub struct BarMemory {
    bytes: Bytes,
    size: usize,
}

#[derive(Debug)]
enum Bytes {
    Own(Vec<u8>),
    Shared(MmapRegion, Arc<File>),
}

impl BarMemory {
    /// `size` bytes of zeroes: whole pages of 4096, or none.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            bytes: Bytes::Own(vec![0; size]),
            size,
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.size
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Reads from byte `at` on. An aligned word is not seen in halves while a guest writes it.
    #[inline]
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        match &self.bytes {
            Bytes::Own(own) => match own.get(at..).and_then(|own| own.get(..bytes.len())) {
                Some(own) => bytes.copy_from_slice(own),
                None => bytes.fill(0),
            },
            Bytes::Shared(region, _) => match slice(region, at, bytes.len()) {
                Some(slice) => {
                    if !read_words(&slice, bytes) {
                        slice.copy_to(bytes);
                    }
                }
                None => bytes.fill(0),
            },
        }
    }

    /// Writes from byte `at` on, these bytes and no others. An aligned word is not seen in halves by a guest that reads it.
    #[inline]
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        match &mut self.bytes {
            Bytes::Own(own) => {
                if let Some(own) = own.get_mut(at..).and_then(|own| own.get_mut(..bytes.len())) {
                    own.copy_from_slice(bytes);
                }
            }
            Bytes::Shared(region, _) => {
                if let Some(slice) = slice(region, at, bytes.len())
                    && !write_words(&slice, bytes)
                {
                    slice.copy_from(bytes);
                }
            }
        }
    }

    /// All zeroes.
    pub fn clear(&mut self) {
        let zeroes = vec![0; self.size];
        self.write(0, &zeroes);
    }

    /// The memfd that holds the bytes from its start on, for the client. From the first call on they are there, until
    /// [`BarMemory::unshare`].
    ///
    /// # Errors
    /// Out of descriptors or memory; nothing has changed.
    pub fn share(&mut self) -> io::Result<BorrowedFd<'_>> {
        if let Bytes::Own(own) = &self.bytes {
            let file = memfd_create(
                "outrigger-bar",
                MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
            )?;
            // Sized by a write: the sandbox lets no file be truncated.
            if let Some(last) = self.size.checked_sub(1) {
                let last = u64::try_from(last).map_err(io::Error::other)?;
                rustix::io::pwrite(&file, &[0], last)?;
            }
            // What cannot shrink, and is there already, cannot fault.
            fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
            let file = Arc::new(File::from(file));
            let region = MmapRegion::build(
                Some(FileOffset::from_arc(Arc::clone(&file), 0)),
                self.size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
            )
            .map_err(io::Error::other)?;
            if let Some(slice) = slice(&region, 0, own.len()) {
                slice.copy_from(own.as_slice());
            }
            self.bytes = Bytes::Shared(region, file);
        }
        match &self.bytes {
            Bytes::Shared(_, file) => Ok(file.as_fd()),
            Bytes::Own(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The client has gone, and may have kept the memfd: the bytes are this process's own again, and zeroes.
    pub fn unshare(&mut self) {
        if matches!(self.bytes, Bytes::Shared(..)) {
            self.bytes = Bytes::Own(vec![0; self.size]);
        }
    }
}

#[inline]
fn slice(region: &MmapRegion, at: usize, length: usize) -> Option<VolatileSlice<'_>> {
    region.get_slice(at, length).ok()
}

#[cfg(test)]
mod tests;
