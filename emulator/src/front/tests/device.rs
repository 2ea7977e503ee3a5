//! A device that remembers what is written, raises its line on request and does one kind of DMA.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::device::{Bar, BarKind, Context, Device, Identity, Mirror, Progress, Width};

/// Where the interrupt line is: bit 0 of this byte of BAR 1.
pub(super) const LINE: u64 = 0x10;
/// Writing a guest address here makes the device write [`GREETING`] there.
pub(super) const GREET: u64 = 0x18;
pub(super) const GREETING: &[u8] = b"ahoy";

const BARS: [Bar; 2] = [
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
];

#[derive(Debug)]
pub(super) struct Scratch {
    bytes: [u8; 0x400],
}

impl Default for Scratch {
    fn default() -> Self {
        Self { bytes: [0; 0x400] }
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

    fn read(&mut self, _: &mut Context<'_>, _: u8, offset: u64, width: Width) -> u64 {
        let at = usize::try_from(offset).unwrap();
        let mut value = [0; 8];
        let bytes = &self.bytes[at..at + usize::from(width.bytes())];
        value[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(value)
    }

    fn write(&mut self, context: &mut Context<'_>, _: u8, offset: u64, width: Width, value: u64) {
        let at = usize::try_from(offset).unwrap();
        let width = usize::from(width.bytes());
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
        *self = Self::default();
    }

    fn quiesce(&mut self, _: &mut Context<'_>) {}

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
