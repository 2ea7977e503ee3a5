//! An initiator that sends a unit any commands, with any data, and lets go of it at any time.

use std::cell::RefCell;
use std::time::Instant;

use outrigger_block::Backend;
use outrigger_emulator::scsi::{
    Attribute, Bus, Cdrom, CdromOptions, Disk, DiskOptions, LogicalUnit, Management, Nexus, TaskId,
    Want,
};
use outrigger_fuzz::Input;

use crate::ram::{RAM, Ram};

/// Steps that a command may take: its data in the smallest portions, and a few.
const STEPS: usize = 1 << 17;

thread_local! {
    static WORLD: RefCell<Ram> = RefCell::new(Ram::new());
}

/// A disk of 64 blocks of 512 bytes, or of 8 of 4096.
pub(crate) fn disk(choices: u8) -> LogicalUnit {
    let size = if choices & 1 == 0 { 512 } else { 4096 };
    let mut options = DiskOptions {
        logical_block_size: size,
        physical_block_size: size,
        write_cache: choices & 2 == 0,
        rotation_rate: u16::from(choices >> 4),
        ..DiskOptions::default()
    };
    if choices & 4 != 0 {
        options.identity.serial = Some("S123".to_owned());
        options.identity.wwn = Some(0x5000_c500_1234_5678);
    }
    let bytes = vec![0xa5; 64 * 512];
    let backend = match choices >> 3 & 1 {
        0 => Backend::memory(bytes, false),
        _ => Backend::memory(bytes, true),
    };
    Disk::new(backend, options).expect("a disk").into()
}

/// A drive: with a disc of 16 blocks, with one that is too long for a CD, or without.
pub(crate) fn drive(choices: u8) -> LogicalUnit {
    let disc = match choices & 3 {
        3 => None,
        2 => Some(Backend::null(1 << 30, true, true)),
        _ => Some(Backend::memory(vec![0x5a; 16 * 2048], true)),
    };
    Cdrom::new(disc, CdromOptions::default())
        .expect("a drive")
        .into()
}

/// Sends a unit the commands of the input. The first byte chooses the unit; each command is a control byte, a CDB and what
/// the control byte asks for.
///
/// # Panics
/// If a command does not end, ends with a status that there is not, or says CHECK CONDITION without sense data.
pub(crate) fn run(input: &[u8], unit: fn(u8) -> LogicalUnit) {
    WORLD.with_borrow(|ram| {
        ram.clear();
        let mut input = Input::new(input);
        let mut bus = Bus::new();
        bus.attach(0, 0, unit(input.u8())).expect("a place");
        let mut initiator = Initiator { ram, bus };
        // Nothing is reported of power-on from here on.
        let _ = initiator.command(&[0; 6], 0, &mut Input::new(&[]));
        while !input.is_empty() {
            initiator.step(&mut input);
        }
    });
}

struct Initiator<'a> {
    ram: &'a Ram,
    bus: Bus,
}

impl Initiator<'_> {
    fn step(&mut self, input: &mut Input<'_>) {
        let control = input.u8();
        if control & 0xf0 == 0xf0 {
            match control & 7 {
                0 => self.bus.reset(),
                1 => self.bus.refresh(),
                2 => self.bus.quiesce(),
                it => {
                    let function = [
                        Management::AbortTask,
                        Management::AbortTaskSet,
                        Management::ClearTaskSet,
                        Management::LogicalUnitReset,
                        Management::TargetReset,
                    ];
                    let nexus = Nexus {
                        target: 0,
                        lun: control >> 3 & 1,
                        tag: None,
                    };
                    self.bus.manage(nexus, function[usize::from(it - 3)]);
                }
            }
            return;
        }
        let first = input.u8();
        let mut cdb = vec![first];
        // Now and then one that is too short or too long.
        let length = match control >> 6 {
            3 => input.below(17),
            _ => Bus::cdb_length(first).unwrap_or(6).saturating_sub(1),
        };
        cdb.extend(input.bytes(length));
        if control >> 6 != 3 {
            cdb.resize(length + 1, 0);
        }
        let status = self.command(&cdb, control & 0x3f, input);
        let Some(status) = status else { return };
        assert!(
            matches!(status, 0 | 2 | 4 | 8 | 0x18 | 0x28),
            "{cdb:02x?} has status {status:#x}"
        );
        if status == 2 {
            self.sense(&cdb);
        }
    }

    /// The sense data of a command that has failed.
    fn sense(&mut self, cdb: &[u8]) {
        let task = self
            .bus
            .begin(NEXUS, Attribute::Simple, &[3, 0, 0, 0, 18, 0]);
        let Want::DataIn(count) = self.bus.want(task) else {
            panic!("{cdb:02x?}: REQUEST SENSE gives no data");
        };
        let mut bytes = [0; 18];
        let count = usize::try_from(count).expect("a few");
        assert!(
            count >= 8 && count <= bytes.len(),
            "{cdb:02x?}: {count} bytes of sense"
        );
        assert_eq!(self.bus.transfer_bytes(task, &mut bytes[..count]), count);
        assert_eq!(self.bus.want(task), Want::Status(0));
        self.bus.finish(task);
        let descriptors = bytes[0] & 0x7f == 0x72;
        let key = if descriptors { bytes[1] } else { bytes[2] } & 0xf;
        assert!(
            matches!(bytes[0] & 0x7f, 0x70 | 0x72),
            "{cdb:02x?}: {bytes:02x?}"
        );
        assert_ne!(key, 0, "{cdb:02x?}: {bytes:02x?}");
    }

    /// Runs a command to its end; `None` if it was given up.
    fn command(&mut self, cdb: &[u8], control: u8, input: &mut Input<'_>) -> Option<u8> {
        let nexus = Nexus {
            target: 0,
            lun: u8::from(control & 0x30 == 0x30),
            tag: (control & 8 != 0).then_some(control),
        };
        let attributes = [
            Attribute::Simple,
            Attribute::Simple,
            Attribute::Ordered,
            Attribute::HeadOfQueue,
        ];
        let attribute = attributes[usize::from(control & 3)];
        let task = self.bus.begin(nexus, attribute, cdb);
        let mut address = 0x100;
        for _ in 0..STEPS {
            let want = self.bus.want(task);
            match want {
                Want::DataIn(0) | Want::DataOut(0) => panic!("{cdb:02x?}: a phase without data"),
                Want::DataIn(left) | Want::DataOut(left) => {
                    self.transfer(task, control, left, &mut address, input);
                    // What cannot be reached stays; the initiator gives up.
                    if self.bus.want(task) == want {
                        self.bus.manage(nexus, Management::AbortTaskSet);
                        assert_eq!(self.bus.want(task), Want::Gone);
                        return None;
                    }
                }
                Want::Status(status) => {
                    self.bus.finish(task);
                    assert_eq!(self.bus.want(task), Want::Gone);
                    return (nexus.lun == 0).then_some(status);
                }
                Want::Wait => {
                    self.bus.kick();
                    self.bus.poll(Instant::now());
                    self.bus.disconnect(task);
                    let _ = self.bus.reselection();
                }
                Want::Gone => return None,
            }
        }
        panic!("{cdb:02x?} does not end");
    }

    /// Moves the data of a phase, or a part of them.
    fn transfer(
        &mut self,
        task: TaskId,
        control: u8,
        left: u32,
        address: &mut u64,
        input: &mut Input<'_>,
    ) {
        let count = match control & 4 {
            0 => left,
            _ => left.min(1 + u32::from(input.u16())),
        };
        if let Want::DataOut(_) = self.bus.want(task) {
            let place = (*address).min(RAM - 0x100);
            let bytes = input.bytes(usize::try_from(count.min(0x100)).expect("a few"));
            self.ram.gate.write(place, bytes).expect("RAM");
        }
        if control & 0x30 == 0x10 {
            // By the chip's own registers, or in the middle of a word.
            let count = usize::try_from(count.min(0x400)).expect("a few");
            let mut bytes = vec![0x11; count];
            let moved = self.bus.transfer_bytes(task, &mut bytes);
            assert!(moved <= count);
            return;
        }
        let end = *address + u64::from(count);
        let place = if end <= RAM { *address } else { 0x100 };
        // More than there is RAM is a fault, and nothing has moved.
        let _ = self.bus.transfer(&self.ram.gate, task, place, count);
        *address = place + u64::from(count);
    }
}

const NEXUS: Nexus = Nexus {
    target: 0,
    lun: 0,
    tag: None,
};
