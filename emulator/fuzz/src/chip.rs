//! The whole chip, both models: a guest that accesses registers, writes RAM and SCRIPTS, and lets time pass.

mod program;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::device::{Context, Device, Progress, Width};
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::scsi::{Bus, Cdrom, CdromOptions, Disk, DiskOptions};
use outrigger_fuzz::Input;

use crate::ram::{RAM, Ram};

/// Where the register window is in memory space, and the SCRIPTS RAM's.
const REGISTERS: u32 = 0xfe00_0000;
const SCRIPTS_RAM: u32 = 0xfe01_0000;

thread_local! {
    static WORLD: RefCell<(Ram, Instant)> = RefCell::new((Ram::new(), Instant::now()));
}

/// A chip and its guest.
struct Guest<'a> {
    lsi: Lsi,
    ram: &'a Ram,
    now: Instant,
    model: Model,
    /// Lets the requests of a disk go that holds them.
    held: Option<DelayHandle>,
}

/// Has a guest do what the input says. The first byte chooses the chip and its disks.
///
/// # Panics
/// If the chip writes where it may not, or if what it mirrors and snapshots is not what a read gives.
pub fn run(input: &[u8]) {
    WORLD.with_borrow(|(ram, start)| {
        ram.clear();
        let mut input = Input::new(input);
        let mut guest = Guest::new(input.u8(), ram, *start);
        while !input.is_empty() {
            guest.step(&mut input);
        }
        // Nothing is on its way after a reset.
        guest.with(|lsi, context| lsi.reset(context));
        assert!(!guest.lsi.interrupt());
        guest.run(1);
    });
}

impl<'a> Guest<'a> {
    fn new(choices: u8, ram: &'a Ram, now: Instant) -> Self {
        let model = match choices & 1 {
            0 => Model::Lsi53c895a,
            _ => Model::Lsi53c810,
        };
        let mut bus = Bus::new();
        let mut backend = Backend::memory(vec![0x3c; 64 * 512], false);
        let mut held = None;
        if choices & 2 != 0 {
            let (delay, handle) = Backend::delay(backend, Hold::UntilReleased).expect("a delay");
            backend = delay;
            held = Some(handle);
        }
        let disk = Disk::new(backend, DiskOptions::default()).expect("a disk");
        bus.attach(0, 0, disk.into()).expect("a place");
        let small = Backend::memory(vec![0x5a; 8 * 512], true);
        let small = Disk::new(small, DiskOptions::default()).expect("a disk");
        bus.attach(3, 1, small.into()).expect("a place");
        let drive = Cdrom::new(None, CdromOptions::default()).expect("a drive");
        bus.attach(5, 0, drive.into()).expect("a place");
        let mut lsi = Lsi::new(model, bus);
        lsi.bar_moved(0, Some(0xc000));
        lsi.bar_moved(1, Some(REGISTERS.into()));
        if model == Model::Lsi53c895a {
            lsi.bar_moved(2, Some(SCRIPTS_RAM.into()));
        }
        Self {
            lsi,
            ram,
            now,
            model,
            held,
        }
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Lsi, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            dma: &self.ram.gate,
            now: self.now,
        };
        call(&mut self.lsi, &mut context)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() {
            0..64 => {
                let (bar, offset, width) = self.place(input);
                let value = input.u32().into();
                self.with(|lsi, context| lsi.write(context, bar, offset, width, value));
            }
            64..96 => {
                let (bar, offset, width) = self.place(input);
                let value = self.with(|lsi, context| lsi.read(context, bar, offset, width));
                assert_eq!(value & !width.mask(), 0);
            }
            96..120 => {
                // A byte at a register's place, as drivers do most.
                let (offset, value) = (input.u8().into(), input.u8().into());
                self.with(|lsi, context| lsi.write(context, 1, offset, Width::Byte, value));
            }
            120..136 => {
                let at = u64::from(input.u16()) % (RAM - 256);
                let count = input.below(64);
                self.ram.gate.write(at, input.bytes(count)).expect("RAM");
            }
            136..176 => self.start(input),
            176..208 => self.command(input),
            208..224 => self.run(input.below(8)),
            224..232 => {
                let exponent = u32::from(input.u8() % 36);
                self.now += Duration::from_nanos(1 << exponent);
                self.run(2);
            }
            232..238 => {
                if let Some(held) = &self.held {
                    held.release(u64::from(input.u8() & 7));
                }
                self.run(2);
            }
            238..244 => self.check(),
            244..248 => {
                let (register, value) = (u64::from(input.u8()), input.u8());
                let seen = u32::from(input.u8());
                let mirrored = self.lsi.mirrored_registers();
                let known = mirrored.iter().find(|it| it.offset == register);
                if let Some(place) = known.copied().filter(|it| value & it.opaque == 0) {
                    self.with(|lsi, context| {
                        lsi.write_seen(context, place.bar, place.offset, value, seen);
                    });
                }
            }
            248..250 => self.with(|lsi, context| lsi.quiesce(context)),
            250..252 => self.lsi.refresh(),
            252..254 => {
                let base = input.u32();
                self.lsi.bar_moved(
                    input.u8() % 3,
                    (base & 1 == 0).then_some((base & !0xfff).into()),
                );
            }
            254 => {
                let _ = (
                    self.lsi.work(),
                    self.lsi.deadline(),
                    self.lsi.wake_fds().len(),
                );
            }
            255 => self.with(|lsi, context| lsi.reset(context)),
        }
    }

    /// A place in a BAR.
    fn place(&self, input: &mut Input<'_>) -> (u8, u64, Width) {
        let choice = input.u8();
        let width = [Width::Byte, Width::Word, Width::Dword, Width::Dword];
        let width = width[usize::from(choice & 3)];
        let bars = u8::try_from(self.lsi.bars().len()).expect("a few");
        let bar = (choice >> 2) % bars;
        let size = u64::from(self.lsi.bars()[usize::from(bar)].size);
        let offset = if size > 256 {
            u64::from(input.u16())
        } else {
            u64::from(input.u8())
        };
        (bar, offset % (size - u64::from(width.bytes()) + 1), width)
    }

    fn run(&mut self, slices: usize) {
        for _ in 0..=slices {
            if self.with(|lsi, context| lsi.run(context, &mut ())) == Progress::Idle {
                break;
            }
        }
    }

    /// A program in guest RAM or SCRIPTS RAM, and the start of it.
    fn start(&mut self, input: &mut Input<'_>) {
        let choice = input.u8();
        let base = match choice & 3 {
            0 if self.model == Model::Lsi53c895a => SCRIPTS_RAM,
            1 => u32::try_from(RAM).expect("small") - 0x40,
            _ => program::SCRIPT,
        };
        let words = program::generate(base, 1 + usize::from(choice >> 4), input);
        self.put(base, &words);
        self.write32(program::DSP, base);
        self.run(usize::from(choice >> 2 & 3));
    }

    /// A whole command of a target, as a driver's script has it.
    fn command(&mut self, input: &mut Input<'_>) {
        let words = program::command(self.ram, input);
        self.put(program::SCRIPT, &words);
        self.write32(program::DSP, program::SCRIPT);
        self.run(4);
    }

    fn put(&mut self, base: u32, words: &[u32]) {
        for (at, word) in (base..).step_by(4).zip(words) {
            if base == SCRIPTS_RAM {
                let (offset, value) = (u64::from(at - SCRIPTS_RAM), u64::from(*word));
                self.with(|lsi, context| lsi.write(context, 2, offset, Width::Dword, value));
            } else {
                // What runs over the end is not there.
                let _ = self.ram.gate.write(at.into(), &word.to_le_bytes());
            }
        }
    }

    fn write32(&mut self, register: u8, value: u32) {
        let (offset, value) = (register.into(), value.into());
        self.with(|lsi, context| lsi.write(context, 1, offset, Width::Dword, value));
    }

    fn read(&mut self, bar: u8, offset: u64, size: u8) -> u64 {
        let width = if size == 2 { Width::Word } else { Width::Byte };
        self.with(|lsi, context| lsi.read(context, bar, offset, width))
    }

    /// What a client may answer by itself is what the chip would.
    fn check(&mut self) {
        for place in self.lsi.mirrored_registers().to_vec() {
            let mirrored = self.lsi.mirrored(place.register).expect("a value");
            let read = self.read(place.bar, place.offset, 1);
            assert_eq!(read, u64::from(mirrored.value), "{place:?}");
        }
        let snapshots = self.lsi.snapshots();
        let groups = self.lsi.read_to_clear_groups().to_vec();
        for (number, snapshot) in (0..).zip(snapshots) {
            let Some(snapshot) = snapshot else { continue };
            let place = groups.iter().find(|it| it.group == number);
            let place = *place.expect("a place for each group that is offered");
            let read = self.read(place.bar, place.offset, place.size);
            assert_eq!(read, u64::from(snapshot.value), "{place:?} {snapshot:?}");
            let again = self.read(place.bar, place.offset, place.size);
            assert_eq!(
                again,
                u64::from(snapshot.residual),
                "{place:?} {snapshot:?}"
            );
            let summary = self.lsi.mirrored(place.register.into()).expect("a value");
            assert_eq!(summary.value & place.summary, 0, "{place:?}");
            // The other group's snapshot was made for the chip as it was.
            break;
        }
    }
}
