//! A device with one register that a read clears: it latches a cause when a write asks for it, and its line says so.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::device::{
    Bar, BarKind, Context, Device, Identity, Mirror, Mirrored, MirroredRegister, Progress,
    ReadToClearGroup, Snapshot, Snapshots, Width,
};

/// A register that is mirrored; [`LATCHED`] is its only bit.
pub(super) const STATUS: u64 = 0x14;
pub(super) const LATCHED: u8 = 0x02;
/// A write has the device latch [`CAUSE`].
pub(super) const ASK: u64 = 0x20;
/// Two bytes, which a read clears.
pub(super) const CAUSES: u64 = 0x42;
pub(super) const CAUSE: u16 = 0x0400;
/// The read-to-clear group of [`CAUSES`].
pub(super) const GROUP: u32 = 1;

const BARS: [Bar; 1] = [Bar {
    index: 1,
    kind: BarKind::Memory,
    size: 0x100,
}];

const REGISTERS: [MirroredRegister; 1] = [MirroredRegister {
    bar: 1,
    offset: STATUS,
    register: 0,
    through: 0,
    opaque: 0xff,
    clears: 0,
}];

const GROUPS: [ReadToClearGroup; 1] = [ReadToClearGroup {
    bar: 1,
    offset: CAUSES,
    size: 2,
    group: GROUP,
    register: 0,
    summary: LATCHED,
}];

#[derive(Debug, Default)]
pub(super) struct Latch {
    causes: u16,
}

impl Latch {
    fn status(&self) -> Mirrored {
        Mirrored {
            value: if self.interrupt() { LATCHED } else { 0 },
            events: 0,
        }
    }
}

impl Device for Latch {
    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1000,
            device: 0x13,
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

    fn read(&mut self, _: &mut Context<'_>, _: u8, offset: u64, _: Width) -> u64 {
        match offset {
            STATUS => self.status().value.into(),
            CAUSES => std::mem::take(&mut self.causes).into(),
            _ => 0,
        }
    }

    fn write(&mut self, _: &mut Context<'_>, _: u8, offset: u64, _: Width, _: u64) {
        if offset == ASK {
            self.causes |= CAUSE;
        }
    }

    fn mirrored_registers(&self) -> &[MirroredRegister] {
        &REGISTERS
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == 0).then(|| self.status())
    }

    fn read_to_clear_groups(&self) -> &[ReadToClearGroup] {
        &GROUPS
    }

    fn snapshots(&self) -> Snapshots {
        let mut snapshots = Snapshots::default();
        if self.interrupt() {
            snapshots[GROUP as usize] = Some(Snapshot {
                value: self.causes,
                residual: 0,
            });
        }
        snapshots
    }

    fn claim(&mut self, group: u32) {
        assert_eq!(group, GROUP);
        self.causes = 0;
    }

    fn bar_moved(&mut self, _: u8, _: Option<u64>) {}

    fn run(&mut self, _: &mut Context<'_>, _: &mut dyn Mirror) -> Progress {
        Progress::Idle
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn interrupt(&self) -> bool {
        self.causes != 0
    }

    fn reset(&mut self, _: &mut Context<'_>) {
        *self = Self::default();
    }

    fn quiesce(&mut self, _: &mut Context<'_>) {}

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}
