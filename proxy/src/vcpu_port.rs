//! Steps 1 and 2, from a guest's exit to its device: one vCPU's accesses.

use std::sync::{Arc, Mutex, PoisonError};

use outrigger_ring::{Access, Statistics, Width};

use crate::access_map::{AccessMap, Part};
use crate::bar_memory::MappedBy;
use crate::bars::{ROM, Space};
use crate::config_space::ConfigSpace;
use crate::counters::Counters;
use crate::decode::{Hit, Windows};
use crate::health::Health;
use crate::port::{Port, PortError};

/// Config space, as vfio-user numbers regions.
pub(crate) const CONFIG_REGION: u8 = 7;

/// One vCPU's way to a device. Its methods take no lock and allocate nothing.
///
/// A VMM that decodes addresses itself uses [`VcpuPort::read`] and [`VcpuPort::write`], by region
/// and offset. A VMM that has a bare guest address uses the `mmio` and `pio` methods. They say
/// whether the device decodes the first of the addresses; if not, nothing has happened and the VMM
/// asks its next device. An access that starts in a BAR and goes on past its end is split there, as
/// a host bridge does it: bytes that nothing of this device decodes read all ones, and written ones
/// are dropped. Config accesses must come here in either case: the emulator follows them.
///
/// Accesses through one port take effect in program order. A VMM without vCPU numbers makes a
/// [`SharedPort`](crate::SharedPort) of its ports.
///
/// Methods return when the device has answered, or at the latest when the deadline is over. Then,
/// or when the emulator has gone or broken the protocol, the device is dead for all vCPUs: it goes
/// on decoding its addresses, but reads are all ones, writes are dropped, and neither waits any
/// more.
#[derive(Debug)]
pub struct VcpuPort {
    port: Box<dyn Port>,
    windows: Arc<Windows>,
    config: Arc<Mutex<ConfigSpace>>,
    config_size: u16,
    health: Arc<Health>,
    map: Arc<AccessMap>,
    counters: Counters,
    ring: Option<Arc<outrigger_ring::Counters>>,
}

impl VcpuPort {
    pub(crate) fn new(
        port: Box<dyn Port>,
        ring: Option<Arc<outrigger_ring::Counters>>,
        config: Arc<Mutex<ConfigSpace>>,
        config_size: u16,
        health: Arc<Health>,
    ) -> Self {
        let windows = config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .windows();
        Self {
            port,
            windows,
            config,
            config_size,
            health,
            map: Arc::default(),
            counters: Counters::default(),
            ring,
        }
    }

    /// The same port, which treats accesses as `map` says.
    pub(crate) fn with_access_map(self, map: Arc<AccessMap>) -> Self {
        Self { map, ..self }
    }

    /// Does what [`Proxy::map_memory`](crate::Proxy::map_memory) does, for a VMM that holds a port
    /// and no proxy. The mapper is the device's, not this port's.
    pub fn map_memory(&self, by: MappedBy) {
        set_mapper(&self.config, &self.map, by);
    }

    /// Tells the device that the guest has acknowledged its interrupt, where the port can: `true`.
    /// `false`: the VMM must signal the resample eventfd
    /// ([`Intx::end_of_interrupt`](crate::Intx::end_of_interrupt)). Only ports of
    /// [`in_process`](crate::in_process) can.
    #[must_use = "if the port cannot tell the device, the VMM must"]
    pub fn end_of_interrupt(&mut self) -> bool {
        self.port.end_of_interrupt()
    }

    /// Reads `data.len()` bytes at `offset` of `region`: 0 to 5 the BARs, 6 the ROM. Bytes outside
    /// of the region are all ones.
    ///
    /// COMMAND and the BARs' addresses play no part: the VMM has decoded. More than eight bytes are
    /// several accesses.
    pub fn read(&mut self, region: u8, offset: u64, data: &mut [u8]) {
        let mut rest = data;
        if let Some((_, size)) = self.windows.region(region) {
            let mut offset = offset;
            while let Some(width) = widest(size.saturating_sub(offset), rest.len()) {
                let (now, after) = rest.split_at_mut(usize::from(width.bytes()));
                self.read_piece(region, offset, width, now);
                rest = after;
                offset = offset.wrapping_add(width.bytes().into());
            }
        }
        rest.fill(0xff);
    }

    /// Writes `data` at `offset` of `region`, as [`VcpuPort::read`] reads. Bytes outside of the
    /// region, and those to the ROM, are dropped. To a memory BAR it is posted: it does not wait
    /// for its effect. To an I/O BAR it returns when it has taken effect.
    pub fn write(&mut self, region: u8, offset: u64, data: &[u8]) {
        if let Some((space, size)) = self.windows.region(region) {
            let mut rest = data;
            let mut offset = offset;
            while let Some(width) = widest(size.saturating_sub(offset), rest.len()) {
                let (now, after) = rest.split_at(usize::from(width.bytes()));
                self.write_piece(space, region, offset, width, now);
                rest = after;
                offset = offset.wrapping_add(width.bytes().into());
            }
        }
    }

    /// A read of memory space. `data` is filled if the device decodes `address`.
    #[must_use = "an address that this device does not decode may be another's"]
    pub fn mmio_read(&mut self, address: u64, data: &mut [u8]) -> bool {
        self.read_at(Space::Memory, address, data)
    }

    /// A write to memory space: posted, it does not wait for its effect.
    #[must_use = "an address that this device does not decode may be another's"]
    pub fn mmio_write(&mut self, address: u64, data: &[u8]) -> bool {
        self.write_at(Space::Memory, address, data)
    }

    /// A read of port I/O space: one access, not a string of them.
    #[must_use = "a port that this device does not decode may be another's"]
    pub fn pio_read(&mut self, port: u16, data: &mut [u8]) -> bool {
        self.read_at(Space::Io, port.into(), data)
    }

    /// A write to port I/O space: returns when it has taken effect.
    #[must_use = "a port that this device does not decode may be another's"]
    pub fn pio_write(&mut self, port: u16, data: &[u8]) -> bool {
        self.write_at(Space::Io, port.into(), data)
    }

    /// A read of the function's config space. All ones outside of it.
    pub fn config_read(&mut self, offset: u16, width: Width) -> u64 {
        if !self.in_config_space(offset, width) {
            return width.mask();
        }
        let config = Arc::clone(&self.config);
        // Held while the emulator answers: vCPUs' config accesses happen one after the other, here
        // and there in the same order. The wait is bounded by the deadline.
        let config = config.lock().unwrap_or_else(PoisonError::into_inner);
        if self.health.is_dead() {
            self.counters.dead_accesses += 1;
            return width.mask();
        }
        let (known, mask) = config.known(offset, width);
        if mask == width.mask() {
            self.counters.shadow_reads += 1;
            return known;
        }
        let answer = self.forward_read(Access {
            region: CONFIG_REGION,
            offset: offset.into(),
            width,
        });
        if self.health.is_dead() {
            width.mask()
        } else {
            answer & !mask | known
        }
    }

    /// A write to the function's config space: returns when it has taken effect, on what the device
    /// decodes too.
    pub fn config_write(&mut self, offset: u16, width: Width, value: u64) {
        if !self.in_config_space(offset, width) {
            return;
        }
        let config = Arc::clone(&self.config);
        let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
        let access = Access {
            region: CONFIG_REGION,
            offset: offset.into(),
            width,
        };
        self.forward_write(access, value & width.mask(), false);
        config.write(offset, width, value);
    }

    /// What this vCPU's accesses have cost so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What this vCPU's ring has cost beside that: doorbells, spinning and sleeping waits. `None`
    /// over a socket.
    #[must_use]
    pub fn ring_statistics(&self) -> Option<Statistics> {
        self.ring.as_ref().map(|counters| counters.snapshot())
    }

    /// Whether the device has failed or was detached.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.health.is_dead()
    }

    /// Whether both ports lead to the same attached device.
    pub(crate) fn same_device(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.health, &other.health)
    }

    fn in_config_space(&self, offset: u16, width: Width) -> bool {
        offset
            .checked_add(u16::from(width.bytes()))
            .is_some_and(|end| end <= self.config_size)
    }

    fn read_at(&mut self, space: Space, address: u64, data: &mut [u8]) -> bool {
        let mut address = address;
        let mut rest = data;
        let mut decoded = false;
        while let Some((hit, width)) = self.piece(space, address, rest.len()) {
            let (now, after) = rest.split_at_mut(usize::from(width.bytes()));
            self.read_piece(hit.region, hit.offset, width, now);
            decoded = true;
            rest = after;
            address = address.wrapping_add(width.bytes().into());
        }
        if decoded {
            rest.fill(0xff);
        }
        decoded
    }

    fn write_at(&mut self, space: Space, address: u64, data: &[u8]) -> bool {
        let mut address = address;
        let mut rest = data;
        let mut decoded = false;
        while let Some((hit, width)) = self.piece(space, address, rest.len()) {
            let (now, after) = rest.split_at(usize::from(width.bytes()));
            self.write_piece(space, hit.region, hit.offset, width, now);
            decoded = true;
            rest = after;
            address = address.wrapping_add(width.bytes().into());
        }
        decoded
    }

    /// The next piece of an access of which `len` bytes are left: what decodes it, and the greatest
    /// width that fits.
    fn piece(&self, space: Space, address: u64, len: usize) -> Option<(Hit, Width)> {
        let hit = if len == 0 {
            None
        } else {
            self.windows.find(space, address)
        }?;
        Some((hit, widest(hit.room, len)?))
    }

    fn read_piece(&mut self, region: u8, offset: u64, width: Width, into: &mut [u8]) {
        let value = self.forward_read(Access {
            region,
            offset,
            width,
        });
        for (to, from) in into.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
    }

    fn write_piece(&mut self, space: Space, region: u8, offset: u64, width: Width, from: &[u8]) {
        if usize::from(region) == ROM {
            return;
        }
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        let access = Access {
            region,
            offset,
            width,
        };
        let posted = space == Space::Memory && !self.map.waits(access);
        self.forward_write(access, u64::from_le_bytes(bytes), posted);
    }

    fn forward_read(&mut self, access: Access) -> u64 {
        if !self.health.is_dead() {
            match self.answer_here(access) {
                Ok(Some(value)) => {
                    self.counters.mirror_reads += 1;
                    return value;
                }
                Ok(None) => {}
                Err(error) => self.health.fail(error.to_event()),
            }
            self.counters.crossings += 1;
            match self.port.read(access) {
                Ok(value) => return value & access.width.mask(),
                Err(error) => self.health.fail(error.to_event()),
            }
        }
        self.counters.dead_accesses += 1;
        access.width.mask()
    }

    /// What a read gives, if that can be told without a crossing.
    fn answer_here(&mut self, access: Access) -> Result<Option<u64>, PortError> {
        if let Some(register) = self.map.mirrored(access) {
            let value = self.port.mirrored(register, self.map.summaries())?;
            return Ok(value.map(u64::from));
        }
        let Some(Part { group, mask }) = self.map.clears(access) else {
            return Ok(None);
        };
        let value = self.port.claim(group, mask)?;
        Ok(value.map(|value| u64::from((value & mask) >> mask.trailing_zeros())))
    }

    fn forward_write(&mut self, access: Access, value: u64, posted: bool) {
        if self.health.is_dead() {
            self.counters.dead_accesses += 1;
            return;
        }
        let done: Result<(), PortError> = if posted {
            self.counters.posted_writes += 1;
            match self.map.effect(access, value) {
                Some((value, effect)) => self.port.post_effect(access, value, effect),
                None => self.port.post(access, value),
            }
        } else {
            self.counters.crossings += 1;
            self.port.write(access, value)
        };
        if let Err(error) = done {
            self.counters.dead_accesses += 1;
            self.health.fail(error.to_event());
        }
    }
}

/// The greatest width that fits into `len` bytes and into the `room` up to a region's end.
fn widest(room: u64, len: usize) -> Option<Width> {
    let most = u64::try_from(len).unwrap_or(u64::MAX).min(room);
    [Width::Qword, Width::Dword, Width::Word, Width::Byte]
        .into_iter()
        .find(|width| u64::from(width.bytes()) <= most)
}

/// Has somebody map a device's memories, or nobody.
pub(crate) fn set_mapper(config: &Mutex<ConfigSpace>, map: &AccessMap, by: MappedBy) {
    let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
    let mapper = match by {
        MappedBy::Nobody => {
            config.set_mapper(None);
            map.set_mapped(false);
            return;
        }
        MappedBy::Vmm => None,
        MappedBy::Mapper(mapper) => Some(mapper),
    };
    // Before the first is mapped, and as long as one may be: writes that take the plain way wait.
    map.set_mapped(true);
    config.set_mapper(mapper);
}

/// The device is dead: its memories are unmapped, and nobody maps them any more.
pub(crate) fn withdraw_memories(config: &Mutex<ConfigSpace>, map: &AccessMap) {
    let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
    config.set_mapper(None);
    config.share(Vec::new());
    map.set_mapped(false);
}

#[cfg(test)]
mod tests;
