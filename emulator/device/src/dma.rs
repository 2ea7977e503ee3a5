//! Step 10, DMA into guest RAM: the gate, the one way from a device to guest RAM.
//!
//! Regions are mapped and unmapped by the client of the front. Bus mastering off, an address
//! outside the regions or a region without the right is a [`Fault`], never an access. There is no
//! way from here to a device's own registers: a region is a file that a client sent, nothing else.
//!
//! What a client sends is checked before it is mapped, and its descriptor is closed then. One thing cannot be
//! checked: that a client does not shrink its file afterwards. The pages that are gone raise SIGBUS; the handler
//! ([`crate::crash`]) maps zeroes in place of the whole region and notes that it is gone. The kernel's own copies (block
//! reads and writes) fail with EFAULT instead, which is noted too. The front finds the note ([`Gate::lost`]) and ends the
//! session. So the client loses its own devices only.

mod mapping;
mod segment;

#[cfg(any(test, feature = "test-fixtures"))]
pub mod fixture;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mapping::GuestMemory;
pub(crate) use mapping::{losses, read_words, replace_lost, write_words};
pub use segment::Segment;

/// The most regions with memory that a gate holds.
pub const MAX_REGIONS: usize = 512;

/// The most ranges without memory that a gate remembers.
pub const MAX_UNREACHABLE: usize = 256;

/// Why guest RAM could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bus mastering is off in the COMMAND register.
    #[error("bus mastering is off")]
    NotBusMaster,
    /// No region maps this address.
    #[error("no guest RAM at {0:#x}")]
    Unmapped(u64),
    /// The region does not allow this direction.
    #[error("guest RAM at {0:#x} does not allow this access")]
    Denied(u64),
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into guest RAM (a disk read).
    ToGuest,
    /// Out of guest RAM (a disk write).
    FromGuest,
}

/// A range of guest RAM as a client offers it (vfio-user DMA_MAP).
#[derive(Debug)]
pub struct Mapping {
    /// Guest-physical address, a multiple of the page size.
    pub address: u64,
    /// Bytes, a multiple of the page size.
    pub size: u64,
    /// The file that backs it: a memfd or another regular file, open for what the rights say.
    pub fd: OwnedFd,
    /// Where in the file it starts, a multiple of the page size.
    pub offset: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
}

/// Why a region was not mapped or unmapped. The gate is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Empty, wraps, misaligned, or not wholly in the file.
    #[error("bad range {address:#x}+{size:#x}")]
    BadRange {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// It overlaps a region that is mapped, with memory or without.
    #[error("{address:#x}+{size:#x} overlaps a mapped region")]
    Overlap {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// No region was mapped with exactly this address and size.
    #[error("no region {address:#x}+{size:#x} is mapped")]
    NotMapped {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// So many are mapped already.
    #[error("more than {0} regions")]
    TooMany(usize),
    /// Neither readable nor writable.
    #[error("a region must be readable or writable")]
    NoRights,
    /// The descriptor is not a regular file.
    #[error("guest RAM must be a memfd or a regular file")]
    NotAFile,
    /// The kernel refused.
    #[error("cannot map guest RAM: {0}")]
    Kernel(#[from] io::Error),
}

/// A mapped region.
#[derive(Debug)]
struct Region {
    /// Guest-physical address of its first byte.
    first: u64,
    /// Guest-physical address of its last byte: a region may end at the top of the address space.
    last: u64,
    readable: bool,
    writable: bool,
    /// `None`: the client sent no file (a ROM, another device's BAR). No device reaches it.
    memory: Option<Arc<GuestMemory>>,
}

impl Region {
    fn allows(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToGuest => self.writable,
            Direction::FromGuest => self.readable,
        }
    }
}

/// Whether the client shares the guest's RAM with the device, as far as is known.
#[derive(Debug)]
struct Sharing {
    /// A page that a device was sent to was looked at.
    looked: AtomicBool,
    /// Where a device was sent to memory that is not there for it; [`NOWHERE`] if it was not.
    missing: AtomicU64,
}

const NOWHERE: u64 = u64::MAX;

impl Default for Sharing {
    fn default() -> Self {
        Self {
            looked: AtomicBool::new(false),
            missing: AtomicU64::new(NOWHERE),
        }
    }
}

/// The gate of one PCI function.
#[derive(Debug, Default)]
pub struct Gate {
    /// Sorted by address, without overlaps. This is the only record of what a client has mapped: a second one would
    /// have to be compared with it at every change.
    regions: Vec<Region>,
    bus_master: bool,
    sharing: Sharing,
}

impl Gate {
    /// A gate with no memory behind it, bus mastering off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps a region.
    ///
    /// # Errors
    /// See [`MapError`]; nothing is mapped then.
    pub fn map(&mut self, mapping: Mapping) -> Result<(), MapError> {
        let (address, size) = (mapping.address, mapping.size);
        if !mapping::is_page_aligned(address) {
            return Err(MapError::BadRange { address, size });
        }
        if !mapping.readable && !mapping.writable {
            return Err(MapError::NoRights);
        }
        let (place, last) = self.free_place(address, size)?;
        self.check_room(|region| region.memory.is_some(), MAX_REGIONS)?;
        let region = Region {
            first: address,
            last,
            readable: mapping.readable,
            writable: mapping.writable,
            memory: Some(Arc::new(GuestMemory::new(mapping)?)),
        };
        self.regions.insert(place, region);
        Ok(())
    }

    /// Remembers a range that has no memory behind it: no device reaches it, and nothing else is mapped there until
    /// [`Gate::unmap`] takes it away.
    ///
    /// # Errors
    /// See [`MapError`]; nothing has changed then.
    pub fn map_unreachable(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        let (place, last) = self.free_place(address, size)?;
        self.check_room(|region| region.memory.is_none(), MAX_UNREACHABLE)?;
        let region = Region {
            first: address,
            last,
            readable: false,
            writable: false,
            memory: None,
        };
        self.regions.insert(place, region);
        Ok(())
    }

    /// Where in the table a region with this address and size belongs, and its last byte's address.
    fn free_place(&self, address: u64, size: u64) -> Result<(usize, u64), MapError> {
        let last = size.checked_sub(1).and_then(|n| address.checked_add(n));
        let last = last.ok_or(MapError::BadRange { address, size })?;
        let place = self.regions.partition_point(|r| r.last < address);
        if self.regions.get(place).is_some_and(|r| r.first <= last) {
            return Err(MapError::Overlap { address, size });
        }
        Ok((place, last))
    }

    /// Whether one more region `like` the new one is within the limit.
    fn check_room(&self, like: impl Fn(&&Region) -> bool, limit: usize) -> Result<(), MapError> {
        match self.regions.iter().filter(like).count() < limit {
            true => Ok(()),
            false => Err(MapError::TooMany(limit)),
        }
    }

    /// Takes away the region that was mapped with exactly this address and size. Segments of it that are in
    /// flight keep its memory mapped until they are dropped.
    ///
    /// # Errors
    /// [`MapError::NotMapped`].
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        let (place, _) = self.exact(address, size)?;
        self.regions.remove(place);
        Ok(())
    }

    /// Whether the region that was mapped with exactly this address and size has memory, so that DMA to it may be in flight.
    ///
    /// # Errors
    /// [`MapError::NotMapped`].
    pub fn is_reachable(&self, address: u64, size: u64) -> Result<bool, MapError> {
        let (_, region) = self.exact(address, size)?;
        Ok(region.memory.is_some())
    }

    /// The region that was mapped with exactly this address and size, and its place in the table.
    fn exact(&self, address: u64, size: u64) -> Result<(usize, &Region), MapError> {
        let place = self.regions.partition_point(|r| r.first < address);
        let region = self.regions.get(place).filter(|region| {
            region.first == address && size.checked_sub(1) == Some(region.last - region.first)
        });
        let region = region.ok_or(MapError::NotMapped { address, size })?;
        Ok((place, region))
    }

    /// Takes away every region.
    pub fn unmap_all(&mut self) {
        self.sharing = Sharing::default();
        self.regions.clear();
    }

    /// The guest-physical address of a region whose memory was found to be gone: the client has cut its file short, or there
    /// was no memory for one of its pages.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        let is_lost = |region: &&Region| region.memory.as_ref().is_some_and(|it| it.is_lost());
        let lost = self.regions.iter().find(is_lost);
        lost.map(|region| region.first)
    }

    /// A device was sent to `address` and found nothing but zeroes there. If all of its page is zero, the guest has hardly written
    /// it where the device looks: a client that maps a file for itself alone (`share=off`) writes to pages of its own. Looks once.
    pub fn suspect(&self, address: u64) {
        const PAGE: usize = 4096;
        let mut page = [0; PAGE];
        if !self.sharing.looked.swap(true, Ordering::Relaxed)
            && self
                .read(address - address % PAGE as u64, &mut page)
                .is_ok()
            && page.iter().all(|byte| *byte == 0)
        {
            self.sharing.missing.store(address, Ordering::Relaxed);
        }
    }

    /// Where a device was sent to guest memory that the client has not shared.
    #[must_use]
    pub fn unshared(&self) -> Option<u64> {
        let address = self.sharing.missing.load(Ordering::Relaxed);
        (address != NOWHERE).then_some(address)
    }

    /// COMMAND bit 2.
    pub fn set_bus_master(&mut self, on: bool) {
        self.bus_master = on;
    }

    /// Copies out of guest RAM; all of it or nothing. Up to 64 bytes are moved in aligned 4-byte words, eight aligned
    /// bytes as one, where address and length allow it: a word that a CPU works on is never torn.
    ///
    /// # Errors
    /// [`Fault`]; `bytes` is untouched then.
    #[inline]
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        if let Some((memory, at)) = self.whole(address, bytes.len() as u64, Direction::FromGuest) {
            memory.read(at, bytes);
            return Ok(());
        }
        let mut rest = bytes;
        let length = rest.len() as u64;
        self.pieces(address, length, Direction::FromGuest, |memory, at, take| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(take);
            memory.read(at, now);
            rest = later;
        })
    }

    /// Copies into guest RAM; all of it or nothing. Up to 64 bytes are moved in aligned 4-byte words, eight aligned
    /// bytes as one, where address and length allow it: a word that a CPU works on is never torn.
    ///
    /// # Errors
    /// [`Fault`]; guest RAM is untouched then.
    #[inline]
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        if let Some((memory, at)) = self.whole(address, bytes.len() as u64, Direction::ToGuest) {
            memory.write(at, bytes);
            return Ok(());
        }
        let mut rest = bytes;
        self.pieces(
            address,
            rest.len() as u64,
            Direction::ToGuest,
            |memory, at, take| {
                let (now, later) = rest.split_at(take);
                memory.write(at, now);
                rest = later;
            },
        )
    }

    /// Appends the pieces of guest RAM that make up `address..address + length`, in order. A piece that
    /// continues the last one of `into` in the same mapping makes that one longer instead.
    ///
    /// # Errors
    /// [`Fault`]; nothing is appended then.
    pub fn segments(
        &self,
        address: u64,
        length: u32,
        direction: Direction,
        into: &mut Vec<Segment>,
    ) -> Result<(), Fault> {
        let mut append = |memory: &Arc<GuestMemory>, at, take| {
            let merged = into
                .last_mut()
                .is_some_and(|s| s.extend(memory, at, take, direction));
            if !merged {
                into.push(Segment::new(Arc::clone(memory), at, take, direction));
            }
        };
        if let Some((memory, at)) = self.whole(address, length.into(), direction) {
            append(memory, at, length as usize);
            return Ok(());
        }
        self.pieces(address, length.into(), direction, append)
    }

    /// The memory that the whole range lies in, and the offset in it, as nearly always. `None` where it does not, is empty or
    /// may not be reached: [`Gate::pieces`] says which.
    #[inline]
    fn whole(
        &self,
        address: u64,
        length: u64,
        direction: Direction,
    ) -> Option<(&Arc<GuestMemory>, usize)> {
        let region = self.region(address)?;
        let last = length.checked_sub(1)?;
        let reachable =
            self.bus_master && last <= region.last - address && region.allows(direction);
        // A region's size fits usize: GuestMemory checked it.
        let at = usize::try_from(address - region.first).ok()?;
        let memory = region.memory.as_ref()?;
        reachable.then_some((memory, at))
    }

    /// The region that `address` lies in.
    #[inline]
    fn region(&self, address: u64) -> Option<&Region> {
        let place = self.regions.partition_point(|r| r.last < address);
        self.regions.get(place).filter(|r| r.first <= address)
    }

    /// Calls `each` with memory, offset in it and length for each piece of the range, in order, once
    /// the whole range is known to be reachable.
    #[cold]
    fn pieces<'a>(
        &'a self,
        address: u64,
        length: u64,
        direction: Direction,
        each: impl FnMut(&'a Arc<GuestMemory>, usize, usize),
    ) -> Result<(), Fault> {
        if !self.bus_master {
            return Err(Fault::NotBusMaster);
        }
        self.walk(address, length, direction, |_, _, _| ())?;
        self.walk(address, length, direction, each)
    }

    fn walk<'a>(
        &'a self,
        mut address: u64,
        mut length: u64,
        direction: Direction,
        mut each: impl FnMut(&'a Arc<GuestMemory>, usize, usize),
    ) -> Result<(), Fault> {
        while length > 0 {
            let (memory, at, take) = self.piece(address, length, direction)?;
            each(memory, at, take);
            length -= take as u64;
            if length > 0 {
                address = address
                    .checked_add(take as u64)
                    .ok_or(Fault::Unmapped(u64::MAX))?;
            }
        }
        Ok(())
    }

    /// The memory at `address`, the offset in it, and how many of `length` (at least 1) bytes lie in it.
    fn piece(
        &self,
        address: u64,
        length: u64,
        direction: Direction,
    ) -> Result<(&Arc<GuestMemory>, usize, usize), Fault> {
        let unmapped = Fault::Unmapped(address);
        let region = self.region(address).ok_or(unmapped)?;
        let Some(memory) = region.memory.as_ref() else {
            self.sharing.missing.store(address, Ordering::Relaxed);
            return Err(unmapped);
        };
        if !region.allows(direction) {
            return Err(Fault::Denied(address));
        }
        // `last - address` is below the region's size, so the sum cannot wrap when it is the smaller.
        let take = (length - 1).min(region.last - address) + 1;
        let at = address - region.first;
        // A region's size fits usize: GuestMemory checked it.
        let fits = |n: u64| usize::try_from(n).map_err(|_| unmapped);
        Ok((memory, fits(at)?, fits(take)?))
    }
}
