//! The SCRIPTS, and the places and numbers that they share with the host.

use crate::lsi::Phase::{self, Command, DataIn, DataOut, MessageIn, MessageOut, Status};
use crate::lsi::at;
use crate::lsi::scripts::{Operator, Signals};
use crate::lsi::tests::asm::{
    alu, call, clear, clear_ack, from_sfbr, int, int_if_data, int_unless, jump, jump_if_data,
    jump_unless, jump_when, mov, mov_table, ret, select_atn_table, set, to_sfbr, wait_disconnect,
    wait_reselect,
};
use crate::lsi::tests::drivers::program::Program;
use crate::lsi::tests::{SCRIPT, TABLE};

/// Places in a command's table: the word that SELECT loads, then counts and addresses.
pub(super) mod t {
    pub(in crate::lsi::tests::drivers) const ID: u32 = 0x00;
    pub(in crate::lsi::tests::drivers) const MESSAGE_OUT: u32 = 0x08;
    pub(in crate::lsi::tests::drivers) const MESSAGE_IN: u32 = 0x10;
    pub(in crate::lsi::tests::drivers) const EXTENDED: u32 = 0x18;
    pub(in crate::lsi::tests::drivers) const EXTENDED_DATA: u32 = 0x20;
    pub(in crate::lsi::tests::drivers) const COMMAND: u32 = 0x28;
    pub(in crate::lsi::tests::drivers) const STATUS: u32 = 0x30;
    pub(in crate::lsi::tests::drivers) const DATA: u32 = 0x38;
    /// What the entries point to.
    pub(in crate::lsi::tests::drivers) const OUT: u32 = 0x80;
    pub(in crate::lsi::tests::drivers) const IN: u32 = 0xa0;
    pub(in crate::lsi::tests::drivers) const STATUS_BYTE: u32 = 0xc0;
    pub(in crate::lsi::tests::drivers) const CDB: u32 = 0xd0;
}

/// Bytes of a table.
pub(super) const SIZE: u32 = 0x100;
/// Where SCRIPTS put the messages of a reselection.
const RESELECTED: u32 = TABLE + 0x800;
/// What the slot's jump says when the slot is free.
pub(super) const FREE: u32 = TABLE + 0x810;
/// Flags in SCRATCHA0: SAVE DATA POINTERS came; a data phase is under way.
pub(super) const SAVED: u8 = 0x01;
pub(super) const IN_DATA: u8 = 0x02;

pub(super) const DONE: u32 = 0xff00;
pub(super) const MESSAGE: u32 = 0xff01;
pub(super) const EXTENDED: u32 = 0xff02;
pub(super) const EXTENDED_DATA: u32 = 0xff03;
pub(super) const RESELECT: u32 = 0xff04;
pub(super) const DISCONNECT: u32 = 0xff07;
const NO_SIGNAL: u32 = 0xff06;
const ERROR: u32 = 0xffff;

fn atn() -> Signals {
    Signals {
        atn: true,
        ..Signals::default()
    }
}

pub(super) fn program() -> Program {
    let mut p = Program::at(SCRIPT);
    p.label("start");
    p.label("slot");
    p.rel(jump(0), "reselect");
    for (n, name) in (0..).zip(["dsa0", "dsa1", "dsa2", "dsa3"]) {
        p.label(name);
        p.put(&alu(Operator::Move, at::DSA + n, 0));
    }
    p.to(select_atn_table(t::ID, 0), "reselect");
    p.copy_to_operand(FREE, "slot");
    p.put(&alu(Operator::Move, at::SCRATCHA, 0));
    p.put(&alu(Operator::Move, at::SCRATCHA + 1, 0));
    p.put(&clear_ack());
    p.label("phase");
    for (phase, name) in [
        (MessageOut, "message out"),
        (MessageIn, "message in"),
        (DataOut, "data out"),
        (DataIn, "data in"),
        (Command, "command"),
        (Status, "status"),
    ] {
        p.rel(jump_when(phase, 0), name);
    }
    p.put(&int(ERROR));
    reselection(&mut p);
    messages(&mut p);
    p.label("command");
    p.put(&mov_table(Command, t::COMMAND));
    p.rel(jump(0), "phase");
    p.label("status");
    p.put(&mov_table(Status, t::STATUS));
    p.rel(jump(0), "phase");
    data(&mut p, DataIn, "data in", "more data in");
    data(&mut p, DataOut, "data out", "more data out");
    for (name, from, to) in [
        ("save dsa", at::DSA, at::SCRATCHB),
        ("restore dsa", at::SCRATCHB, at::DSA),
    ] {
        p.label(name);
        for n in 0..4 {
            p.put(&to_sfbr(Operator::Or, from + n, 0));
            p.put(&from_sfbr(Operator::Or, to + n, 0));
        }
        p.put(&ret());
    }
    p
}

fn reselection(p: &mut Program) {
    p.label("reselect");
    p.rel(wait_reselect(0), "no reselection");
    p.put(&to_sfbr(Operator::And, at::SSID, 0x8f));
    p.put(&from_sfbr(Operator::Or, at::SCRATCHA, 0));
    p.put(&int_unless(MessageIn, ERROR));
    p.put(&mov(MessageIn, 1, RESELECTED));
    p.put(&from_sfbr(Operator::And, at::SCRATCHA + 1, 7));
    p.put(&alu(Operator::Move, at::SCRATCHA + 2, 0xff));
    p.put(&clear_ack());
    p.rel(jump_unless(MessageIn, 0), "reselected");
    p.put(&mov(MessageIn, 1, RESELECTED + 1));
    p.put(&clear_ack());
    p.put(&mov(MessageIn, 1, RESELECTED + 2));
    p.put(&from_sfbr(Operator::Or, at::SCRATCHA + 2, 0));
    p.put(&clear_ack());
    p.label("reselected");
    p.put(&int(RESELECT));
    p.label("no reselection");
    p.put(&to_sfbr(Operator::And, at::CTEST2, 0x40));
    p.put(&int_if_data(0, 0, NO_SIGNAL));
    p.rel(jump(0), "start");
}

fn messages(p: &mut Program) {
    p.label("message in");
    p.put(&clear(atn()));
    p.put(&mov_table(MessageIn, t::MESSAGE_IN));
    for (message, name) in [
        (0x04, "disconnected"),
        (0x00, "complete"),
        (0x02, "save pointers"),
        (0x01, "extended"),
    ] {
        p.rel(jump_if_data(message, 0, 0), name);
    }
    p.put(&int(MESSAGE));
    p.label("acknowledge");
    p.put(&clear_ack());
    p.rel(jump(0), "phase");
    p.label("send");
    p.put(&set(atn()));
    p.put(&clear_ack());
    p.label("message out");
    p.put(&mov_table(MessageOut, t::MESSAGE_OUT));
    p.put(&clear(atn()));
    p.rel(jump(0), "phase");
    p.label("bus free");
    p.put(&alu(Operator::And, at::SCNTL2, 0x7f));
    p.put(&clear(atn()));
    p.put(&clear_ack());
    p.put(&wait_disconnect());
    p.put(&ret());
    p.label("disconnected");
    p.rel(call(0), "bus free");
    for (register, mask) in [(at::SCRATCHA, SAVED), (at::SCRATCHA + 1, 0xff)] {
        p.put(&to_sfbr(Operator::And, register, mask));
        p.rel(jump_if_data(0, 0, 0), "start");
    }
    p.put(&int(DISCONNECT));
    p.label("complete");
    p.rel(call(0), "bus free");
    p.put(&int(DONE));
    p.label("save pointers");
    p.put(&clear_ack());
    p.put(&alu(Operator::Or, at::SCRATCHA, SAVED));
    p.rel(jump(0), "message in");
    p.label("extended");
    p.put(&clear_ack());
    p.put(&mov_table(MessageIn, t::EXTENDED));
    p.put(&int(EXTENDED));
    p.label("rest of extended");
    p.put(&clear_ack());
    p.put(&mov_table(MessageIn, t::EXTENDED_DATA));
    p.put(&int(EXTENDED_DATA));
}

/// DSA walks over the data's entries; SCRATCHA1 counts those that are done.
fn data(p: &mut Program, phase: Phase, name: &'static str, more: &'static str) {
    p.label(name);
    p.rel(call(0), "save dsa");
    p.put(&alu(Operator::Or, at::SCRATCHA, IN_DATA));
    p.label(more);
    p.put(&mov_table(phase, t::DATA));
    p.put(&alu(Operator::Add, at::SCRATCHA + 1, 1));
    p.put(&alu(Operator::Add, at::DSA, 8));
    for n in 1..4 {
        p.put(&alu(Operator::AddCarry, at::DSA + n, 0));
    }
    p.rel(jump_when(phase, 0), more);
    p.rel(call(0), "restore dsa");
    p.put(&alu(Operator::And, at::SCRATCHA, !IN_DATA));
    p.rel(jump(0), "phase");
}
