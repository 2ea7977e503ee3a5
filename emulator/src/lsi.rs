//! The LSI 53C895A and 53C810 PCI to SCSI controllers.
//!
//! Register accesses (step 6) change the chip's state only; [`Lsi::run`] executes SCRIPTS (step 7), works
//! the SCSI bus (step 8) and lets the timers expire. Everything that one call does is bounded.

mod clear;
mod connection;
mod first_byte;
mod interrupt;
mod link;
mod low_level;
mod message;
mod mirror;
mod phase;
mod register_access;
mod registers;
pub mod scripts;
mod timers;

#[cfg(test)]
mod tests;

pub use phase::Phase;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::scsi::{Bus, Management, Nexus};
use interrupt::{Dma, Enables, Interrupts, Scsi};
use link::Link;
use low_level::LowLevel;
use outrigger_device::device::{
    Bar, BarKind, BarMemory, Context, Device, Identity, MemoryRange, Mirror, Mirrored,
    MirroredRegister, Progress, ReadToClearGroup, Snapshots, Width, Work,
};
use register_access::Origin;
use registers::{Dcntl, Registers, Scntl1, Scntl2, at};
use scripts::{Processor, State};
use timers::Timers;

/// Which chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// 53C895A: wide Ultra2, 8 KiB SCRIPTS RAM, LOAD/STORE, 64-bit addresses, phase mismatch jumps.
    Lsi53c895a,
    /// 53C810: narrow, none of these.
    Lsi53c810,
}

impl Model {
    /// The SCSI bus is 16 bits wide.
    const fn is_wide(self) -> bool {
        matches!(self, Self::Lsi53c895a)
    }

    /// The highest ID on the bus.
    const fn last_id(self) -> u8 {
        if self.is_wide() { 15 } else { 7 }
    }
}

/// The manual's name of the register byte at `offset`.
#[must_use]
pub fn register_name(offset: u8) -> String {
    registers::name(offset)
}

/// Bytes of SCRIPTS RAM (895A).
const RAM_SIZE: usize = 0x2000;
/// The BAR that it is behind.
const RAM_BAR: u8 = 2;

const BARS_895A: [Bar; 3] = [
    Bar {
        index: 0,
        kind: BarKind::Io,
        size: 0x100,
    },
    Bar {
        index: 1,
        kind: BarKind::Memory,
        size: 0x400,
    },
    Bar {
        index: 2,
        kind: BarKind::Memory,
        size: 0x2000,
    },
];

const BARS_810: [Bar; 2] = [
    BARS_895A[0],
    Bar {
        index: 1,
        kind: BarKind::Memory,
        size: 0x100,
    },
];

/// The controller.
#[derive(Debug)]
pub struct Lsi {
    model: Model,
    registers: Registers,
    interrupts: Interrupts,
    processor: Processor,
    link: Link,
    low: LowLevel,
    timers: Timers,
    /// Where the BARs decode.
    windows: [Option<u64>; 3],
    /// ISTAT1.SI was set while the line was asserted: it stays so until serviced.
    line_held: bool,
    /// INTFLYs so far, modulo 2^32; no reset sets it back.
    flies: u32,
    /// SCRIPTS RAM; none in a 53C810.
    ram: BarMemory,
    bus: Bus,
}

impl Lsi {
    /// A controller in its power-on state, with this bus.
    #[must_use]
    pub fn new(model: Model, bus: Bus) -> Self {
        let ram = match model {
            Model::Lsi53c895a => BarMemory::new(RAM_SIZE),
            Model::Lsi53c810 => BarMemory::new(0),
        };
        Self {
            model,
            registers: Registers::new(model),
            interrupts: Interrupts::default(),
            processor: Processor::default(),
            link: Link::new(model.is_wide()),
            low: LowLevel::default(),
            timers: Timers::new(),
            windows: [None; 3],
            line_held: false,
            flies: 0,
            ram,
            bus,
        }
    }

    fn enables(&self) -> Enables {
        let scsi = [
            self.registers.byte(at::SIEN0),
            self.registers.byte(at::SIEN1),
        ];
        Enables {
            dma: Dma::from_bits_retain(self.registers.byte(at::DIEN)),
            scsi: Scsi::from_bits_retain(u16::from_le_bytes(scsi)),
        }
    }

    /// Posts a DMA condition: all of them stop SCRIPTS.
    fn post_dma(&mut self, condition: Dma) {
        let enables = self.enables();
        self.interrupts.raise_dma(condition, enables);
        self.processor.state = State::Halted;
    }

    /// Posts a SCSI condition.
    fn post_scsi(&mut self, condition: Scsi) {
        let enables = self.enables();
        self.interrupts.raise_scsi(condition, enables);
        if condition.is_fatal(enables.scsi) {
            self.processor.state = State::Halted;
        }
    }

    /// Whether the line is asserted, before ISTAT1.SI.
    fn asks(&self) -> bool {
        !self.registers.dcntl().contains(Dcntl::IRQD) && self.interrupts.asserted(self.enables())
    }

    /// SCNTL1.RST rises: the RST signal. The chip sees its own.
    fn reset_bus(&mut self) {
        self.link.free();
        self.low = LowLevel::default();
        self.give_up_selection();
        self.processor.held = None;
        self.registers
            .set_scntl2(Scntl2::SDU | Scntl2::WSR | Scntl2::WSS, false);
        self.bus.reset();
        self.post_scsi(Scsi::RST);
    }

    /// ISTAT0.SRST: the registers' reset, without RST on the bus. The chip moves all data, so its tasks
    /// cannot go on: they are aborted, and no DMA of theirs happens any more.
    fn reset_chip(&mut self) {
        for target in 0..=self.model.last_id() {
            if !self.bus.responds(target) {
                continue;
            }
            for lun in 0..8 {
                let nexus = Nexus {
                    target,
                    lun,
                    tag: None,
                };
                self.bus.manage(nexus, Management::AbortTaskSet);
            }
        }
        // Section 4.2, DCNTL: COM is not affected by a software reset.
        let com = self.registers.dcntl() & Dcntl::COM;
        self.power_on();
        self.registers.set_byte(at::DCNTL, com.bits());
    }

    /// Everything but the windows, the bus and (as on the chip) the contents of SCRIPTS RAM.
    fn power_on(&mut self) {
        let Self {
            model,
            registers,
            interrupts,
            processor,
            link,
            low,
            timers,
            windows: _,
            line_held,
            flies: _,
            ram: _,
            bus: _,
        } = self;
        registers.reset();
        *interrupts = Interrupts::default();
        *processor = Processor::default();
        *link = Link::new(model.is_wide());
        *low = LowLevel::default();
        *timers = Timers::new();
        *line_held = false;
    }

    fn expire(&mut self, now: Instant) {
        let expired = self.timers.expire(now);
        if !expired.is_empty() {
            self.post_scsi(expired);
        }
    }
}

impl Device for Lsi {
    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1000,
            device: match self.model {
                Model::Lsi53c895a => 0x0012,
                Model::Lsi53c810 => 0x0001,
            },
            revision: 0,
            class: 0x01_0000,
            subsystem_vendor: 0,
            subsystem: 0x1000,
            interrupt_pin: 1,
            latency_timer: 0xff,
            min_gnt: 0,
            max_lat: 0,
        }
    }

    fn bars(&self) -> &[Bar] {
        match self.model {
            Model::Lsi53c895a => &BARS_895A,
            Model::Lsi53c810 => &BARS_810,
        }
    }

    fn read(&mut self, context: &mut Context<'_>, bar: u8, offset: u64, width: Width) -> u64 {
        self.timers.now(context.now);
        let mut bytes = [0; 8];
        let count = usize::from(width.bytes());
        let accessed = bytes.get_mut(..count).unwrap_or_default();
        if bar == RAM_BAR {
            self.ram.read(ram_index(offset), accessed);
        } else {
            for (at, byte) in (offset..).zip(accessed) {
                *byte = match at.to_le_bytes()[0] {
                    at::SFBR => self.read_sfbr(context.dma),
                    register => self.read_register(register),
                };
            }
        }
        u64::from_le_bytes(bytes)
    }

    fn write(&mut self, context: &mut Context<'_>, bar: u8, offset: u64, width: Width, value: u64) {
        self.timers.now(context.now);
        let bytes = value.to_le_bytes();
        let count = usize::from(width.bytes());
        let accessed = bytes.get(..count).unwrap_or_default();
        if bar == RAM_BAR {
            self.ram.write(ram_index(offset), accessed);
            return;
        }
        for (at, &byte) in (offset..).zip(accessed) {
            self.write_register(at.to_le_bytes()[0], byte, Origin::Host);
        }
    }

    fn bar_moved(&mut self, bar: u8, base: Option<u64>) {
        if let Some(window) = self.windows.get_mut(usize::from(bar)) {
            *window = base;
        }
    }

    fn write_seen(&mut self, context: &mut Context<'_>, _: u8, offset: u64, value: u8, seen: u32) {
        self.timers.now(context.now);
        self.write_mirrored(offset.to_le_bytes()[0], value, seen);
    }

    fn mirrored_registers(&self) -> &[MirroredRegister] {
        mirror::registers(self.model)
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == mirror::ISTAT0).then(|| self.shown())
    }

    fn read_to_clear_groups(&self) -> &[ReadToClearGroup] {
        clear::groups(self.model)
    }

    fn snapshots(&self) -> Snapshots {
        self.read_to_clear_snapshots()
    }

    fn claim(&mut self, group: u32) {
        self.clear_group(group);
    }

    fn share_memory(&mut self) -> io::Result<Vec<MemoryRange>> {
        if self.ram.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![MemoryRange {
            bar: RAM_BAR,
            offset: 0,
            size: self.ram.len() as u64,
            memory: self.ram.share()?.try_clone_to_owned()?,
        }])
    }

    fn unshare_memory(&mut self) {
        self.ram.unshare();
    }

    fn run(&mut self, context: &mut Context<'_>, mirror: &mut dyn Mirror) -> Progress {
        self.timers.now(context.now);
        let mut shown = self.shown();
        self.bus.poll(context.now);
        if self.will_act(context.now) {
            self.revoke_snapshots(&mut shown, mirror);
        }
        let progress = self.run_scripts(context.dma, &mut shown, mirror);
        if matches!(self.processor.state, State::Halted) {
            self.watch_bus();
        }
        self.expire(context.now);
        self.bus.kick();
        self.show_istat(&mut shown, mirror);
        progress
    }

    fn deadline(&self) -> Option<Instant> {
        [self.timers.deadline(), self.bus.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn interrupt(&self) -> bool {
        let silent = self.registers.byte(at::ISTAT1) & registers::Istat1::SI.bits() != 0;
        self.asks() && (!silent || self.line_held)
    }

    fn reset(&mut self, _context: &mut Context<'_>) {
        self.bus.reset();
        self.power_on();
        self.ram.clear();
    }

    fn refresh(&mut self) {
        self.bus.refresh();
    }

    fn work(&self) -> Work {
        self.bus.work()
    }

    fn quiesce(&mut self, _context: &mut Context<'_>) {
        self.bus.quiesce();
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.bus.wake_fds()
    }
}

/// The place in SCRIPTS RAM of an offset in its BAR.
fn ram_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Lsi {
    fn connected_bit(&self) -> u8 {
        if self.link.connected() {
            Scntl1::CON.bits()
        } else {
            0
        }
    }
}
