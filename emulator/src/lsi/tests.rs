//! The chip as a driver sees it: registers, scripts and a bus with disks.

mod asm;
mod clear;
mod disconnect;
mod drivers;
mod first_byte;
mod hostile;
mod instructions;
mod interrupts;
mod latches;
mod low_level;
mod register_map;
mod selection;
mod sense;
mod target_role;
mod wide;

use std::time::{Duration, Instant};

use super::{Lsi, Model, at};
use crate::scsi::{Bus, Disk, DiskOptions, LogicalUnit};
use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::device::{Context, Device, Progress, Width};
use outrigger_device::dma::{Gate, fixture};

/// Guest RAM: 2 MiB at 0.
const RAM: u64 = 0x20_0000;
/// Where the tests put scripts.
const SCRIPT: u32 = 0x1000;
/// Where the tests put tables and DSA.
const TABLE: u32 = 0x8000;
/// Where the tests let data go.
const DATA: u32 = 0x1_0000;
/// The register window.
const REGISTERS: u32 = 0xfe00_0000;
/// The SCRIPTS RAM window.
const SCRIPTS_RAM: u32 = 0xfe01_0000;
/// Disk size in blocks.
const BLOCKS: usize = 4096;

/// What a timer takes with field 4, at 40 MHz and CCF 3: the manual's 1 ms at least.
const FIELD_4: Duration = Duration::from_nanos(1_157_600);
/// The shortest time before that.
const TICK: Duration = Duration::from_nanos(1);

/// Bits of ISTAT0.
const INTF: u8 = 0x04;
const SIP: u8 = 0x02;
const DIP: u8 = 0x01;

/// A chip with guest RAM around it.
struct Rig {
    lsi: Lsi,
    gate: Gate,
    now: Instant,
}

/// A disk whose block `n` starts with `n`.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; BLOCKS * 512];
    for (n, block) in bytes.chunks_mut(512).enumerate() {
        for (i, byte) in block.iter_mut().enumerate() {
            *byte = (n * 7 + i).to_le_bytes()[0];
        }
    }
    bytes
}

/// A short row's length.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("short")
}

fn disk(backend: Backend) -> LogicalUnit {
    Disk::new(backend, DiskOptions::default())
        .expect("disk")
        .into()
}

impl Rig {
    /// A 53C895A with a disk at ID 0 that answers at once, and a small one at ID 12, LUN 5.
    fn new() -> Self {
        Self::with(Model::Lsi53c895a, Backend::memory(image(), false))
    }

    /// The same with a disk whose requests wait until they are released.
    fn delayed() -> (Self, DelayHandle) {
        let (backend, handle) =
            Backend::delay(Backend::memory(image(), false), Hold::UntilReleased).expect("delay");
        (Self::with(Model::Lsi53c895a, backend), handle)
    }

    fn with(model: Model, backend: Backend) -> Self {
        let mut bus = Bus::new();
        bus.attach(0, 0, disk(backend)).expect("attach");
        if model == Model::Lsi53c895a {
            let small = Backend::memory(vec![0x3c; 8 * 512], false);
            bus.attach(12, 5, disk(small)).expect("attach");
        }
        let mut lsi = Lsi::new(model, bus);
        lsi.bar_moved(0, Some(0xc000));
        lsi.bar_moved(1, Some(u64::from(REGISTERS)));
        if model == Model::Lsi53c895a {
            lsi.bar_moved(2, Some(u64::from(SCRIPTS_RAM)));
        }
        Self {
            lsi,
            gate: fixture::gate(&[(0, RAM)]),
            now: Instant::now(),
        }
    }

    /// Bytes of SCRIPTS RAM.
    fn scripts_ram<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.lsi.ram.read(at, &mut bytes);
        bytes
    }

    fn read(&mut self, offset: u8, width: Width) -> u32 {
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        let value = self.lsi.read(&mut context, 1, u64::from(offset), width);
        u32::try_from(value).expect("four bytes")
    }

    fn r8(&mut self, offset: u8) -> u8 {
        self.read(offset, Width::Byte).to_le_bytes()[0]
    }

    fn r32(&mut self, offset: u8) -> u32 {
        self.read(offset, Width::Dword)
    }

    fn write(&mut self, bar: u8, offset: u64, width: Width, value: u64) {
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        self.lsi.write(&mut context, bar, offset, width, value);
    }

    fn w8(&mut self, offset: u8, value: u8) {
        self.write(1, u64::from(offset), Width::Byte, u64::from(value));
    }

    fn w32(&mut self, offset: u8, value: u32) {
        self.write(1, u64::from(offset), Width::Dword, u64::from(value));
    }

    fn poke(&self, address: u32, bytes: &[u8]) {
        self.gate.write(u64::from(address), bytes).expect("RAM");
    }

    fn poke32(&self, address: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.poke(address, &bytes);
    }

    fn peek(&self, address: u32, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.gate.read(u64::from(address), &mut bytes).expect("RAM");
        bytes
    }

    fn peek32(&self, address: u32) -> u32 {
        let bytes = self.peek(address, 4);
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    fn run_once(&mut self) -> Progress {
        let mut context = Context {
            dma: &self.gate,
            now: self.now,
        };
        self.lsi.run(&mut context, &mut ())
    }

    /// Runs until nothing is left to do.
    fn run(&mut self) {
        for _ in 0..100 {
            if self.run_once() == Progress::Idle {
                return;
            }
        }
        panic!("the script does not come to rest");
    }

    /// Lets time go by.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    /// Puts a script at [`SCRIPT`], starts it and runs it until it rests.
    fn script(&mut self, words: &[[u32; 2]]) {
        self.poke32(SCRIPT, words.as_flattened());
        self.w32(at::DSP, SCRIPT);
        self.run();
    }

    /// Lets target 0 have messages and a CDB, both at [`TABLE`]; the fourth instruction is the first of `then`.
    fn nexus(&mut self, messages: &[u8], cdb: &[u8], then: &[[u32; 2]]) {
        use super::Phase::{Command, MessageOut};
        self.poke(TABLE, messages);
        self.poke(TABLE + 0x10, cdb);
        let mut words = vec![
            asm::select_atn(0, 0),
            asm::mov(MessageOut, length(messages), TABLE),
            asm::mov(Command, length(cdb), TABLE + 0x10),
        ];
        words.extend(then);
        self.script(&words);
    }

    /// Starts the script again at the instruction behind the one that stopped it.
    fn resume(&mut self) {
        let dsp = self.r32(at::DSP);
        self.w32(at::DSP, dsp);
        self.run();
    }

    /// Resets the bus, and takes the interrupt.
    fn reset_bus(&mut self) {
        self.w8(at::SCNTL1, 0x08);
        self.w8(at::SCNTL1, 0x00);
        assert_eq!(self.interrupts().2 & 0x0002, 0x0002);
    }

    /// ISTAT0's interrupt bits, then DSTAT and SIST: read in that order, as drivers do.
    fn interrupts(&mut self) -> (u8, u8, u16) {
        let istat = self.r8(at::ISTAT0) & 7;
        let sist = u16::try_from(self.read(at::SIST0, Width::Word)).expect("a word");
        let dstat = self.r8(at::DSTAT) & 0x7f;
        (istat, dstat, sist)
    }

    /// Asserts that the script ended with `INT number`.
    fn assert_int(&mut self, number: u32) {
        assert_eq!(self.interrupts(), (DIP, 0x04, 0), "{:#x?}", self.lsi);
        assert_eq!(self.r32(at::DSPS), number);
    }

    /// A command from selection to COMMAND COMPLETE; data at [`DATA`]. Returns the status.
    fn command(&mut self, cdb: &[u8], data: Option<(super::Phase, u32)>) -> u8 {
        use super::Phase::{MessageIn, Status};
        let mut words = Vec::new();
        if let Some((phase, count)) = data {
            words.push(asm::jump_unless(phase, SCRIPT + 5 * 8));
            words.push(asm::mov(phase, count, DATA));
        }
        words.extend([
            asm::mov(Status, 1, TABLE + 0x20),
            asm::mov(MessageIn, 1, TABLE + 0x21),
            asm::clear_ack(),
            asm::wait_disconnect(),
            asm::int(0x99),
        ]);
        self.nexus(&[0x80], cdb, &words);
        self.assert_int(0x99);
        self.peek(TABLE + 0x20, 1)[0]
    }

    /// Takes the unit attention that follows power-on.
    fn settle(&mut self) {
        for _ in 0..2 {
            let _ = self.command(&[0, 0, 0, 0, 0, 0], None);
        }
        assert_eq!(self.command(&[0, 0, 0, 0, 0, 0], None), 0);
    }
}

/// READ (10).
fn read10(block: u32, count: u16) -> [u8; 10] {
    let [a, b, c, d] = block.to_be_bytes();
    let [e, f] = count.to_be_bytes();
    [0x28, 0, a, b, c, d, 0, e, f, 0]
}

/// WRITE (10).
fn write10(block: u32, count: u16) -> [u8; 10] {
    let mut cdb = read10(block, count);
    cdb[0] = 0x2a;
    cdb
}
