//! The way of NetBSD's `esiop`, for chips with LOAD and STORE: a ring of commands that SCRIPTS walk by themselves, tables by target and tag for
//! reselections, and one interrupt on the fly for all that has ended well.

use super::super::asm::{
    alu, alu_sfbr, call, clear, clear_ack, from_sfbr, int, int_unless, intfly_unless_data, jump,
    jump_if_data, jump_unless, jump_unless_data, jump_when, load_dsa, mov, mov_table, ret,
    select_atn_table, select_table, set, store_dsa, to_sfbr, wait_disconnect, wait_reselect,
};
use super::super::{DATA, DIP, INTF, Rig, SCRIPT, TABLE, image, read10};
use super::program::Program;
use super::rig_with;
use crate::lsi::Model::Lsi53c895a;
use crate::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::at;
use crate::lsi::scripts::{Operator, Signals};
use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::device::Device as _;

const SEM: u8 = 0x10;
const SCRATCHD: u8 = 0x64;
const SCRATCHE: u8 = 0x68;

/// A ring of this many slots: a command's table with flags, and the word for SELECT.
const SLOTS: u8 = 4;
const RING: u32 = TABLE;
const FREE: u8 = 0x01;
const IGNORE: u8 = 0x02;
/// Pointers to the targets' tables: the word for SELECT, and at 8 a pointer to the table of tags.
const TARGETS: u32 = TABLE + 0x100;
const TARGET: u32 = TABLE + 0x180;
const TAGS: u32 = TABLE + 0x200;
const MESSAGE: u32 = TABLE + 0x280;
/// The commands' tables: MESSAGE OUT, COMMAND, STATUS, DATA.
const COMMANDS: u32 = TABLE + 0x400;
const SIZE: u32 = 0x80;

const DONE: u32 = 0xff00;
const STRANGE: u32 = 0xff01;
const NO_SIGNAL: u32 = 0xff80;
const ERROR: u32 = 0xffff;

fn signals(atn: bool, carry: bool, ack: bool) -> Signals {
    Signals {
        atn,
        carry,
        ack,
        ..Signals::default()
    }
}

/// Adds to four bytes from `register` on.
fn add(p: &mut Program, register: u8, value: u32) {
    let [first, rest @ ..] = value.to_le_bytes();
    p.put(&alu(Operator::Add, register, first));
    for (register, byte) in (register + 1..).zip(rest) {
        p.put(&alu(Operator::AddCarry, register, byte));
    }
}

fn copy(p: &mut Program, from: u8, to: u8) {
    for n in 0..4 {
        p.put(&to_sfbr(Operator::Or, from + n, 0));
        p.put(&from_sfbr(Operator::Or, to + n, 0));
    }
}

fn program() -> Program {
    let mut p = Program::at(SCRIPT);
    p.label("no command");
    p.put(&to_sfbr(Operator::And, at::ISTAT0, SEM));
    p.put(&intfly_unless_data(0));
    reselection(&mut p);
    schedule(&mut p);
    p.label("message out");
    p.put(&mov_table(MessageOut, 0x00));
    p.put(&clear(signals(true, false, false)));
    p.label("phase");
    for (phase, name) in [
        (MessageOut, "message out"),
        (MessageIn, "message in"),
        (DataIn, "data in"),
        (Command, "command"),
        (Status, "status"),
    ] {
        p.rel(jump_when(phase, 0), name);
    }
    p.put(&int(ERROR));
    p.label("command");
    p.put(&mov_table(Command, 0x08));
    p.rel(jump(0), "phase");
    p.label("data in");
    p.put(&mov_table(DataIn, 0x18));
    p.rel(jump(0), "phase");
    p.label("status");
    p.put(&mov_table(Status, 0x10));
    p.put(&from_sfbr(Operator::Or, SCRATCHE + 1, 0));
    p.rel(jump(0), "phase");
    p.label("pointers saved");
    p.put(&clear_ack());
    p.label("message in");
    p.put(&mov(MessageIn, 1, MESSAGE));
    p.rel(jump_if_data(0x00, 0, 0), "complete");
    p.rel(jump_if_data(0x02, 0, 0), "pointers saved");
    p.rel(jump_if_data(0x04, 0, 0), "disconnected");
    p.put(&int(STRANGE));
    p.label("disconnected");
    p.rel(call(0), "bus free");
    p.rel(jump(0), "schedule");
    p.label("complete");
    p.rel(call(0), "bus free");
    p.put(&to_sfbr(Operator::Or, SCRATCHE + 1, 0));
    p.rel(jump_if_data(0, 0, 0), "good");
    p.put(&int(DONE));
    p.label("good");
    p.put(&alu(Operator::Or, at::ISTAT0, SEM));
    p.rel(jump(0), "schedule");
    p.label("bus free");
    p.put(&alu(Operator::And, at::SCNTL2, 0x7f));
    p.put(&clear(signals(true, false, true)));
    p.put(&wait_disconnect());
    p.put(&ret());
    p
}

/// DSA by target, then by tag. SELECT, of a target that is there already, loads its transfer registers and jumps.
fn reselection(p: &mut Program) {
    p.label("reselect");
    p.rel(wait_reselect(0), "no reselection");
    p.put(&to_sfbr(Operator::And, at::SSID, 0x0f));
    p.put(&from_sfbr(Operator::Or, at::DSA, 0));
    p.put(&clear(signals(false, true, false)));
    for _ in 0..2 {
        p.put(&alu(Operator::ShiftLeft, at::DSA, 0));
    }
    for n in 1..4 {
        p.put(&alu(Operator::Move, at::DSA + n, 0));
    }
    add(p, at::DSA, TARGETS);
    p.put(&load_dsa(at::DSA, 4, 0));
    p.rel(select_table(0, 0), "identify");
    p.put(&int(ERROR));
    p.label("identify");
    p.put(&mov(MessageIn, 1, MESSAGE));
    p.put(&clear(signals(false, true, true)));
    p.put(&load_dsa(at::DSA, 4, 8));
    p.rel(jump_unless(MessageIn, 0), "phase");
    p.put(&mov(MessageIn, 1, MESSAGE));
    p.put(&clear_ack());
    p.rel(jump_if_data(0x20, 0, 0), "tag");
    p.put(&int(STRANGE));
    p.label("tag");
    p.put(&mov(MessageIn, 1, MESSAGE));
    p.put(&clear_ack());
    p.put(&clear(signals(false, true, false)));
    for _ in 0..2 {
        p.put(&to_sfbr(Operator::ShiftLeft, at::SFBR, 0));
    }
    p.put(&alu_sfbr(Operator::Add, at::DSA));
    for n in 1..4 {
        p.put(&alu(Operator::AddCarry, at::DSA + n, 0));
    }
    p.put(&load_dsa(at::DSA, 4, 0));
    p.rel(jump(0), "phase");
    p.label("no reselection");
    p.put(&to_sfbr(Operator::And, at::CTEST2, 0x40));
    p.rel(jump_unless_data(0, 0), "schedule");
    p.put(&int(NO_SIGNAL));
}

/// SCRATCHD points to the next slot, SCRATCHE0 counts them.
fn schedule(p: &mut Program) {
    p.label("schedule");
    copy(p, SCRATCHD, at::DSA);
    p.put(&load_dsa(at::SCRATCHA, 4, 0));
    p.put(&to_sfbr(Operator::And, at::SCRATCHA, FREE));
    p.rel(jump_unless_data(0, 0), "no command");
    p.put(&to_sfbr(Operator::And, at::SCRATCHA, IGNORE));
    p.rel(jump_unless_data(0, 0), "next slot");
    p.rel(select_atn_table(4, 0), "reselect");
    p.put(&int_unless(MessageOut, ERROR));
    p.label("next slot");
    p.put(&alu(Operator::Add, SCRATCHE, 1));
    add(p, SCRATCHD, 8);
    p.put(&to_sfbr(Operator::Or, SCRATCHE, 0));
    p.rel(jump_unless_data(SLOTS, 0), "taken");
    for (n, byte) in (0..).zip(RING.to_le_bytes()) {
        p.put(&alu(Operator::Move, SCRATCHD + n, byte));
    }
    p.put(&alu(Operator::Move, SCRATCHE, 0));
    p.label("taken");
    p.put(&alu(Operator::Or, at::SCRATCHA, FREE));
    p.put(&store_dsa(at::SCRATCHA, 4, 0));
    p.put(&to_sfbr(Operator::And, at::SCRATCHA, IGNORE));
    p.rel(jump_unless_data(0, 0), "schedule");
    p.put(&load_dsa(at::DSA, 4, 0));
    p.put(&alu(Operator::And, at::DSA, !FREE));
    p.put(&alu(Operator::Move, SCRATCHE + 1, 0xff));
    p.put(&set(signals(true, false, false)));
    p.put(&clear_ack());
}

/// The driver, with the slot that it fills next.
struct Driver {
    rig: Rig,
    slot: u32,
}

impl Driver {
    fn start(backend: Backend) -> Self {
        let mut rig = rig_with(Lsi53c895a, backend);
        rig.settle();
        rig.w8(at::SIEN0, !0x70);
        rig.w8(at::SIEN1, !0x03);
        rig.w8(at::DIEN, 0xff);
        rig.w8(at::SCID, 0x47);
        rig.w8(at::RESPID, 0x80);
        rig.w8(at::DCNTL, 0x01);
        for slot in 0..u32::from(SLOTS) {
            rig.poke32(RING + 8 * slot, &[FREE.into(), 0]);
        }
        rig.poke32(TARGETS, &[TARGET]);
        rig.poke32(TARGET, &[0x0300_0000, 0, TAGS]);
        for n in 0..4 {
            rig.poke32(TAGS + 4 * n, &[COMMANDS + SIZE * n]);
        }
        program().load(&rig);
        rig.w32(SCRATCHD, RING);
        let reselect = program().address("reselect");
        rig.w32(at::DSP, reselect);
        rig.run();
        Self { rig, slot: 0 }
    }

    /// Fills the next slot with command `n`, a tagged command with room for one block at [`DATA`] + 512 · n, with these flags.
    fn fill(&mut self, n: u8, cdb: &[u8], flags: u8) {
        let rig = &self.rig;
        let at = u32::from(n);
        let table = COMMANDS + SIZE * at;
        rig.poke32(
            table,
            &[
                3,
                table + 0x20,
                10,
                table + 0x30,
                1,
                table + 0x40,
                512,
                DATA + 512 * at,
            ],
        );
        rig.poke(table + 0x20, &[0xc0, 0x20, n]);
        rig.poke(table + 0x30, cdb);
        rig.poke(table + 0x40, &[0xff]);
        let slot = RING + 8 * (self.slot % u32::from(SLOTS));
        rig.poke32(slot, &[table | u32::from(flags), 0x0300_0000]);
        self.slot += 1;
    }

    fn signal(&mut self) {
        self.rig.w8(at::ISTAT0, 0x20);
        self.rig.run();
    }

    /// Serves an interrupt on the fly; the statuses of all commands.
    fn ended(&mut self) -> [u8; 4] {
        assert!(self.rig.lsi.interrupt());
        assert_eq!(self.rig.r8(at::ISTAT0) & (INTF | DIP | SEM), INTF | SEM);
        // Writing 0 to SEM takes it back; 1 to INTF clears that.
        self.rig.w8(at::ISTAT0, INTF);
        assert_eq!(self.rig.r8(at::ISTAT0) & (INTF | SEM), 0);
        assert!(!self.rig.lsi.interrupt());
        self.statuses()
    }

    fn statuses(&self) -> [u8; 4] {
        [0, 1, 2, 3].map(|n| self.rig.peek(COMMANDS + SIZE * n + 0x40, 1)[0])
    }
}

#[test]
fn a_ring_of_commands_ends_in_one_interrupt() {
    let mut driver = Driver::start(Backend::memory(image(), false));
    for round in 0..3 {
        for n in 0..4 {
            driver.fill(n, &read10(u32::from(n) + round, 1), 0);
        }
        driver.signal();
        assert_eq!(driver.ended(), [0; 4]);
        let from = 512 * round as usize;
        assert_eq!(driver.rig.peek(DATA, 2048), image()[from..from + 2048]);
        driver.rig.poke(DATA, &[0; 2048]);
    }
    // A slot to be passed over.
    driver.fill(0, &read10(0, 1), IGNORE);
    driver.fill(1, &read10(6, 1), 0);
    driver.signal();
    assert_eq!(driver.ended(), [0xff, 0, 0, 0]);
    assert_eq!(driver.rig.peek(DATA + 512, 512), image()[6 * 512..7 * 512]);
}

#[test]
fn a_bad_status_stops_the_ring_until_the_host_has_looked() {
    let mut driver = Driver::start(Backend::memory(image(), false));
    driver.fill(0, &read10(1, 1), 0);
    driver.fill(1, &[0xc1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0);
    driver.fill(2, &read10(2, 1), 0);
    driver.signal();
    driver.rig.assert_int(DONE);
    assert_eq!(driver.rig.r8(SCRATCHE + 1), 2);
    assert_eq!(driver.rig.r32(at::DSA), COMMANDS + SIZE);
    assert_eq!(driver.statuses()[..2], [0, 2]);
    // The task set waits for nothing here: the next command runs.
    let schedule = program().address("schedule");
    driver.rig.w32(at::DSP, schedule);
    driver.rig.run();
    assert_eq!(driver.ended()[2], 0);
}

#[test]
fn reselections_find_their_command_by_tables() {
    let memory = Backend::memory(image(), false);
    let (backend, handle): (Backend, DelayHandle) =
        Backend::delay(memory, Hold::UntilReleased).expect("delay");
    let mut driver = Driver::start(backend);
    for n in 0..4 {
        driver.fill(n, &read10(10 + u32::from(n), 1), 0);
    }
    driver.signal();
    // All are under way, none has ended.
    assert_eq!(driver.rig.r8(at::ISTAT0), 0);
    assert_eq!(driver.statuses(), [0xff; 4]);
    for n in 0..4 {
        driver.rig.w8(at::SCNTL3, 0);
        handle.release(1);
        driver.rig.run();
        let statuses = driver.ended();
        assert_eq!(
            statuses.iter().filter(|status| **status == 0).count(),
            n + 1
        );
        assert_eq!(driver.rig.r8(at::SCNTL3), 3, "SELECT has loaded it");
    }
    assert_eq!(driver.rig.peek(DATA, 2048), image()[5120..7168]);
}
