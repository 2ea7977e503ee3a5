//! A device that remembers what is written, raises its line on request and does one kind of DMA.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::device::{
    Bar, BarKind, BarMemory, Context, Device, Identity, MemoryRange, Mirror, Progress, Width,
};

/// Where the interrupt line is: bit 0 of this byte of BAR 1.
pub(super) const LINE: u64 = 0x10;
/// Writing a guest address here makes the device write [`GREETING`] there.
pub(super) const GREET: u64 = 0x18;
pub(super) const GREETING: &[u8] = b"ahoy";

/// BAR 2 is memory.
pub(super) const MEMORY: u32 = 0x2000;

const BARS: [Bar; 3] = [
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
        size: MEMORY,
    },
];

#[derive(Debug)]
pub(super) struct Scratch {
    bytes: [u8; 0x400],
    memory: BarMemory,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            bytes: [0; 0x400],
            memory: BarMemory::new(MEMORY as usize),
        }
    }
}

impl Device for Scratch {
    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1000,
            device: 0x12,
            revision: 0,
            class: 0x01_00_00,
            subsystem_vendor: 0,
            subsystem: 0x1000,
            interrupt_pin: 1,
            latency_timer: 0,
            min_gnt: 0,
            max_lat: 0,
        }
    }

    fn bars(&self) -> &[Bar] {
        &BARS
    }

    fn read(&mut self, _: &mut Context<'_>, bar: u8, offset: u64, width: Width) -> u64 {
        let at = usize::try_from(offset).unwrap();
        let mut value = [0; 8];
        if bar == 2 {
            self.memory.read(at, &mut value[..width.bytes().into()]);
            return u64::from_le_bytes(value);
        }
        let bytes = &self.bytes[at..at + usize::from(width.bytes())];
        value[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(value)
    }

    fn write(&mut self, context: &mut Context<'_>, bar: u8, offset: u64, width: Width, value: u64) {
        let at = usize::try_from(offset).unwrap();
        let width = usize::from(width.bytes());
        if bar == 2 {
            return self.memory.write(at, &value.to_le_bytes()[..width]);
        }
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        if offset == GREET {
            // A refusal is what some tests look for: in guest RAM.
            let _ = context.dma.write(value, GREETING);
        }
    }

    fn bar_moved(&mut self, _: u8, _: Option<u64>) {}

    fn run(&mut self, _: &mut Context<'_>, _: &mut dyn Mirror) -> Progress {
        Progress::Idle
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn interrupt(&self) -> bool {
        self.bytes[usize::try_from(LINE).unwrap()] & 1 != 0
    }

    fn reset(&mut self, _: &mut Context<'_>) {
        self.bytes = [0; 0x400];
        self.memory.clear();
    }

    fn share_memory(&mut self) -> io::Result<Vec<MemoryRange>> {
        Ok(vec![MemoryRange {
            bar: 2,
            offset: 0,
            size: MEMORY.into(),
            memory: self.memory.share()?.try_clone_to_owned()?,
        }])
    }

    fn unshare_memory(&mut self) {
        self.memory.unshare();
    }

    fn quiesce(&mut self, _: &mut Context<'_>) {}

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
