//! Guest RAM: a memfd at address 0, seen by the guest, the host and the device.

use std::fs::File;
use std::sync::atomic::Ordering;

use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use crate::error::VmmError;
use outrigger_proxy::guest_memory;

/// Guest RAM. Clones share it.
#[derive(Clone, Debug)]
pub struct Ram {
    memory: GuestMemoryMmap,
    bytes: u64,
}

impl Ram {
    /// RAM of `bytes` bytes, a multiple of 4096, from address 0 on.
    ///
    /// # Errors
    /// The kernel's, or a size that cannot be.
    pub fn new(bytes: u64) -> Result<Self, VmmError> {
        let memory = guest_memory::allocate(&[(0, bytes)])
            .map_err(|error| VmmError::Ram(error.to_string()))?;
        Ok(Self { memory, bytes })
    }

    /// RAM that the caller has made, from address 0 on; each region in a file that it maps shared.
    #[must_use]
    pub fn over(memory: GuestMemoryMmap) -> Self {
        let bytes = memory.iter().map(GuestMemoryRegion::len).sum();
        Self { memory, bytes }
    }

    /// The memory, to hand over to the device.
    #[must_use]
    pub const fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file behind its first region.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.memory
            .iter()
            .next()?
            .file_offset()
            .map(FileOffset::file)
    }

    /// Copies out of RAM.
    ///
    /// # Errors
    /// The range is not all in RAM.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), VmmError> {
        self.memory
            .read_slice(bytes, GuestAddress(address))
            .map_err(|_| VmmError::OutsideRam(address))
    }

    /// Copies into RAM.
    ///
    /// # Errors
    /// The range is not all in RAM.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), VmmError> {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .map_err(|_| VmmError::OutsideRam(address))
    }

    /// Loads a word that another side writes (acquire).
    ///
    /// # Errors
    /// It is not in RAM, or not aligned.
    pub fn load(&self, address: u32) -> Result<u32, VmmError> {
        let at = u64::from(address);
        self.memory
            .load(GuestAddress(at), Ordering::Acquire)
            .map_err(|_| VmmError::OutsideRam(at))
    }

    /// Stores a word that another side reads (release).
    ///
    /// # Errors
    /// It is not in RAM, or not aligned.
    pub fn store(&self, address: u32, value: u32) -> Result<(), VmmError> {
        let at = u64::from(address);
        self.memory
            .store(value, GuestAddress(at), Ordering::Release)
            .map_err(|_| VmmError::OutsideRam(at))
    }
}
