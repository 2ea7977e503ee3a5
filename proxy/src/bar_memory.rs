//! Step 2, decode: BARs, or parts of them, that are memory and nothing else. The guest reaches them
//! without an exit.
//!
//! The emulator shares such memory as a memfd, which is checked at attach: nothing about it can
//! change later, so no access to a mapping of it can fault. A VMM that installs itself with
//! [`Proxy::map_memory`](crate::Proxy::map_memory) is told where each decodes whenever the guest
//! moves it, and maps it there, as KVM does with a memory slot. What the VMM cannot map takes the
//! plain way: an exit and an access to the emulator, which works on the same bytes.
//!
//! # Order
//! The guest's accesses to mapped memory are its own loads and stores. A posted write that comes
//! after such a store in the guest's program finds the store done: the ring's release and acquire
//! order them. The other way about there is no order, as mapped memory does not wait for posted
//! writes: a driver that has to know that the device has taken a register's write reads a register
//! first.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};

use crate::access_map::MapError;
use crate::guest_memory::PAGE;

/// Memory behind a BAR, in a memfd.
#[derive(Clone, Debug)]
pub struct BarMemory {
    region: u8,
    offset: u64,
    size: u64,
    file: Arc<File>,
}

impl BarMemory {
    /// The memory behind `size` bytes at `offset` of a region. The proxy makes it at attach, for
    /// ranges that it has found within a memory BAR; a VMM's test of its [`MapMemory`] can make
    /// one, too.
    ///
    /// # Errors
    /// [`MapError::Memory`]: `offset` or `size` is not a multiple of 4096, or `file` is not a memfd
    /// of exactly `size` bytes that is sealed against shrinking, growing and further seals and can
    /// be written.
    pub fn new(region: u8, offset: u64, size: u64, file: OwnedFd) -> Result<Self, MapError> {
        const TMPFS: i64 = 0x0102_1994;
        const SEALS: SealFlags = SealFlags::SHRINK
            .union(SealFlags::GROW)
            .union(SealFlags::SEAL);
        const WRITERS: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);
        let refused = |reason| MapError::Memory {
            region,
            offset,
            reason,
        };
        if !offset.is_multiple_of(PAGE) || !size.is_multiple_of(PAGE) {
            return Err(refused("it is not made of whole pages"));
        }
        // Huge pages can be sealed too, but can run out at the first touch.
        let seals = fcntl_get_seals(&file);
        let on_tmpfs = fstatfs(&file).is_ok_and(|fs| fs.f_type == TMPFS);
        let Some(seals) = seals.ok().filter(|_| on_tmpfs) else {
            return Err(refused("its descriptor is no memfd"));
        };
        if !seals.contains(SEALS) || seals.intersects(WRITERS) {
            return Err(refused(
                "its memfd is not sealed to its size, or against writes",
            ));
        }
        let file = File::from(file);
        let found = fstat(&file).map(|stat| u64::try_from(stat.st_size));
        if found != Ok(Ok(size)) {
            return Err(refused("its memfd has another size"));
        }
        Ok(Self {
            region,
            offset,
            size,
            file: Arc::new(file),
        })
    }

    /// The region, 0 to 5, that it is behind.
    #[must_use]
    pub const fn region(&self) -> u8 {
        self.region
    }

    /// Where it starts in the region: a multiple of 4096.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes: a multiple of 4096.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The memfd that holds it from its start on. Its size is sealed. The emulator writes it at any
    /// time.
    #[must_use]
    pub const fn file(&self) -> &Arc<File> {
        &self.file
    }
}

/// A VMM that maps a device's memory into its guest.
pub trait MapMemory: Send + fmt::Debug {
    /// Maps all of `memory`, which is mapped nowhere, at this guest-physical address, a multiple of
    /// 4096.
    ///
    /// It is called on the thread of the vCPU that has written config space, before that write
    /// returns, with the device's config space locked: do not access the device from here. The
    /// guest chooses the address: it may lie over RAM or another device.
    ///
    /// # Errors
    /// It is not mapped, and accesses to it take the plain way. The first error of a device is
    /// logged.
    fn map(&mut self, memory: &BarMemory, address: u64) -> io::Result<()>;

    /// Takes `memory` away from where it is mapped; no vCPU reaches it there when this returns. The
    /// same terms as [`MapMemory::map`]; if the device has died, it is called on a thread of the
    /// proxy's, while vCPUs run.
    ///
    /// # Errors
    /// It may still be mapped there.
    fn unmap(&mut self, memory: &BarMemory) -> io::Result<()>;
}

/// Who maps a device's memories into the guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum MappedBy {
    /// Nobody: accesses to them exit as others do.
    Nobody,
    /// The VMM, which decodes the BARs itself and is not told where they are. Accesses that come to
    /// the proxy all the same are in order with the guest's own. The VMM unmaps them itself when
    /// the device has died.
    Vmm,
    /// This mapper is told where each is, now and whenever the guest moves it.
    Mapper(Box<dyn MapMemory>),
}

/// A device's memories, and where they are mapped.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    memories: Vec<(BarMemory, Option<u64>)>,
    mapper: Option<Box<dyn MapMemory>>,
    complained: bool,
}

impl Placement {
    pub(crate) fn new(memories: Vec<BarMemory>) -> Self {
        Self {
            memories: memories.into_iter().map(|memory| (memory, None)).collect(),
            mapper: None,
            complained: false,
        }
    }

    pub(crate) fn memories(&self) -> impl Iterator<Item = &BarMemory> {
        self.memories.iter().map(|(memory, _)| memory)
    }

    /// Another VMM's side maps from now on, or none. What is mapped is unmapped by the old one.
    pub(crate) fn set_mapper(&mut self, mapper: Option<Box<dyn MapMemory>>) {
        self.follow(|_| None);
        self.mapper = mapper;
    }

    /// The regions decode at these addresses now.
    pub(crate) fn follow(&mut self, decodes_at: impl Fn(u8) -> Option<u64>) {
        let Some(mapper) = &mut self.mapper else {
            return;
        };
        let mut complain = |address, error: io::Error| {
            if !std::mem::replace(&mut self.complained, true) {
                tracing::warn!(
                    %error,
                    "device memory at guest address {address:#x} cannot be mapped: accesses take the plain way"
                );
            }
        };
        // All go before one comes: they may have changed places.
        for (memory, mapped) in &mut self.memories {
            if let Some(address) = *mapped
                && decodes_at(memory.region) != address.checked_sub(memory.offset)
            {
                *mapped = None;
                if let Err(error) = mapper.unmap(memory) {
                    complain(address, error);
                }
            }
        }
        for (memory, mapped) in &mut self.memories {
            let base = decodes_at(memory.region);
            if mapped.is_none()
                && let Some(address) = base.and_then(|base| base.checked_add(memory.offset))
            {
                match mapper.map(memory, address) {
                    Ok(()) => *mapped = Some(address),
                    Err(error) => complain(address, error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
