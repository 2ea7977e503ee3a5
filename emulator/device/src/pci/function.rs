//! Step 6, PCI: a function is a device, its config space and its gate to guest RAM.
//!
//! # Who decodes
//! Clients decode guest addresses themselves and name a BAR by its region number, so a BAR access is served
//! by its offset alone, whatever the BAR register and COMMAND's decode bits hold at that moment. A client
//! may virtualise both (QEMU zeroes BARs at reset and restores them later; Cloud Hypervisor never passes
//! BAR writes on), and an access that reached this process has been decoded by somebody already.
//! The registers still matter here: the device hears through [`Device::bar_moved`] where its windows are.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use outrigger_ring::{Access, Width};

use super::config_space::{self, Command, ConfigSpace};
use crate::device::{
    BarKind, Context, Device, MemoryRange, Mirror, Mirrored, MirroredRegister, Progress,
    ReadToClearGroup, Snapshots, Work,
};
use crate::dma::{Gate, MapError, Mapping};

/// The region number of config space (vfio-user's).
pub const CONFIG_REGION: u8 = 7;

/// A region as fronts describe it to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Bytes; 0 if the region does not exist.
    pub size: u64,
    /// It is an I/O BAR: writes to it are not posted.
    pub io: bool,
}

/// A device in its PCI shell: what a front serves.
#[derive(Debug)]
pub struct Function {
    device: Box<dyn Device>,
    config: ConfigSpace,
    gate: Gate,
    /// By BAR number.
    regions: [Region; 6],
    /// By BAR number: what the device was last told.
    bases: [Option<u64>; 6],
    bus_master: bool,
    now: Instant,
}

impl Function {
    /// Puts a device into its shell, at its power-on state and with no guest RAM.
    ///
    /// # Panics
    /// If the device's BARs break the contract of [`crate::device::Bar`].
    #[must_use]
    pub fn new(device: Box<dyn Device>) -> Self {
        let config = ConfigSpace::new(&device.identity(), device.bars());
        let mut regions = [Region { size: 0, io: false }; 6];
        for bar in config.bars() {
            if let Some(region) = regions.get_mut(usize::from(bar.index)) {
                *region = Region {
                    size: u64::from(bar.size),
                    io: bar.kind == BarKind::Io,
                };
            }
        }
        Self {
            device,
            config,
            gate: Gate::new(),
            regions,
            bases: [None; 6],
            bus_master: false,
            now: Instant::now(),
        }
    }

    /// Region `index`: 0 to 5 the BARs, 6 the ROM (none), 7 config space; of size 0 from 8 on.
    #[must_use]
    pub fn region(&self, index: u8) -> Region {
        match index {
            CONFIG_REGION => Region {
                size: config_space::SIZE,
                io: false,
            },
            bar => self
                .regions
                .get(usize::from(bar))
                .copied()
                .unwrap_or(Region { size: 0, io: false }),
        }
    }

    /// A guest's read, of a BAR or of config space. All ones if it does not lie within the region.
    pub fn read(&mut self, access: Access) -> u64 {
        if !self.contains(access) {
            return access.width.mask();
        }
        if access.region == CONFIG_REGION {
            return self
                .config
                .read(access.offset, access.width, self.device.interrupt());
        }
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        self.device
            .read(&mut context, access.region, access.offset, access.width)
            & access.width.mask()
    }

    /// A guest's write. Dropped if it does not lie within the region. Bits of `value` above the width do not count.
    pub fn write(&mut self, access: Access, value: u64) {
        if !self.contains(access) {
            return;
        }
        let value = value & access.width.mask();
        if access.region == CONFIG_REGION {
            self.config.write(access.offset, access.width, value);
            self.follow_config();
            return;
        }
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        self.device.write(
            &mut context,
            access.region,
            access.offset,
            access.width,
            value,
        );
    }

    /// A guest's plain write to a mirrored register, which clears its bit unless an event came after `seen`.
    pub fn write_seen(&mut self, access: Access, value: u64, seen: u32) {
        let mirrored = access.width == Width::Byte
            && self
                .mirrored_registers()
                .iter()
                .any(|entry| (entry.bar, entry.offset) == (access.region, access.offset));
        if !mirrored {
            // The tag means nothing here.
            self.write(access, value);
            return;
        }
        let [value, ..] = value.to_le_bytes();
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        self.device
            .write_seen(&mut context, access.region, access.offset, value, seen);
    }

    /// The registers that may be mirrored.
    #[must_use]
    pub fn mirrored_registers(&self) -> &[MirroredRegister] {
        self.device.mirrored_registers()
    }

    /// A mirrored register as it is now.
    #[must_use]
    pub fn mirrored(&self, register: u32) -> Option<Mirrored> {
        self.device.mirrored(register)
    }

    /// The registers that a read clears and that may have snapshots.
    #[must_use]
    pub fn read_to_clear_groups(&self) -> &[ReadToClearGroup] {
        self.device.read_to_clear_groups()
    }

    /// What reads of the read-to-clear groups would give now.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        self.device.snapshots()
    }

    /// A client has claimed the snapshot of this group.
    pub fn claim(&mut self, group: u32) {
        self.device.claim(group);
    }

    /// The device's memory, for the client to map.
    ///
    /// # Errors
    /// Out of descriptors or memory; nothing has changed.
    pub fn share_memory(&mut self) -> io::Result<Vec<MemoryRange>> {
        self.device.share_memory()
    }

    /// The client has gone, and may keep the memory that it has mapped: the device has another one from now on.
    pub fn unshare_memory(&mut self) {
        self.device.unshare_memory();
    }

    fn contains(&self, access: Access) -> bool {
        access
            .offset
            .checked_add(u64::from(access.width.bytes()))
            .is_some_and(|end| end <= self.region(access.region).size)
    }

    /// Brings gate and device in line with what config space says now.
    fn follow_config(&mut self) {
        let bus_master = self.config.command().contains(Command::BUS_MASTER);
        if self.bus_master && !bus_master {
            // The guest counts on it: after this write its RAM stays as it is.
            self.device.quiesce(&mut Context {
                dma: &self.gate,
                now: self.now,
            });
        }
        self.bus_master = bus_master;
        self.gate.set_bus_master(bus_master);
        for bar in self.config.bars() {
            let base = self.config.base(bar);
            if let Some(told) = self.bases.get_mut(usize::from(bar.index))
                && *told != base
            {
                *told = base;
                self.device.bar_moved(bar.index, base);
            }
        }
    }

    /// Makes a region of guest RAM reachable.
    ///
    /// # Errors
    /// What [`Gate::map`] says.
    pub fn map(&mut self, mapping: Mapping) -> Result<(), MapError> {
        self.gate.map(mapping)
    }

    /// Remembers a range that no device reaches.
    ///
    /// # Errors
    /// What [`Gate::map_unreachable`] says.
    pub fn map_unreachable(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        self.gate.map_unreachable(address, size)
    }

    /// Takes a region of guest RAM away; returns when no DMA to it is in flight.
    ///
    /// # Errors
    /// What [`Gate::unmap`] says.
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        if self.gate.is_reachable(address, size)? {
            self.device.quiesce(&mut Context {
                dma: &self.gate,
                now: self.now,
            });
        }
        self.gate.unmap(address, size)
    }

    /// Takes all guest RAM away (the client went); returns when no DMA is in flight.
    pub fn unmap_all(&mut self) {
        self.device.quiesce(&mut Context {
            dma: &self.gate,
            now: self.now,
        });
        self.gate.unmap_all();
    }

    /// Where guest RAM was found to be gone: see [`Gate::lost`].
    #[must_use]
    pub fn lost_guest_ram(&self) -> Option<u64> {
        self.gate.lost()
    }

    /// See [`Gate::unshared`].
    #[must_use]
    pub fn unshared_memory(&self) -> Option<u64> {
        self.gate.unshared()
    }

    /// Sets the clock that accesses see until the next [`Function::run`]. The worker calls it when it wakes, so that
    /// a timer that an access starts does not count from before the sleep.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Runs the device for a bounded slice, with nobody looking at its mirrored registers.
    pub fn run(&mut self, now: Instant) -> Progress {
        self.run_mirrored(now, &mut ())
    }

    /// Runs the device for a bounded slice, and shows its mirrored registers when they change.
    pub fn run_mirrored(&mut self, now: Instant, mirror: &mut dyn Mirror) -> Progress {
        self.now = now;
        let mut context = Context {
            dma: &self.gate,
            now,
        };
        self.device.run(&mut context, mirror)
    }

    /// When [`Function::run`] must be called although nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.device.deadline()
    }

    /// Level of INTx: the device's line, masked by COMMAND.INTxDisable (bit 10), shown in STATUS bit 3.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.device.interrupt() && !self.config.command().contains(Command::INTX_DISABLE)
    }

    /// What the device has done so far.
    #[must_use]
    pub fn work(&self) -> Work {
        self.device.work()
    }

    /// DEVICE_RESET: device and config space to their power-on state; guest RAM stays mapped.
    pub fn reset(&mut self) {
        self.device.reset(&mut Context {
            dma: &self.gate,
            now: self.now,
        });
        self.config.reset();
        // The device stopped its DMA itself, and it may want to be told nothing more of a past life.
        self.bus_master = false;
        self.follow_config();
    }

    /// See [`Device::refresh`].
    pub fn refresh(&mut self) {
        self.device.refresh();
    }

    /// The device's wake descriptors.
    #[must_use]
    pub fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.device.wake_fds()
    }
}

#[cfg(test)]
mod tests;
