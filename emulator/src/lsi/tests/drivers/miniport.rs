//! What the miniports for Windows (`symc810`, `symc8xx`, `sym_hi`) are described to do beyond plain commands: sense data without an
//! interrupt, targets that hang and are aborted, a target reset that ends in an unexpected disconnect, and all of it without interrupts
//! while a crash is written to disk.

use std::time::Duration;

use super::super::asm::{
    alu, clear, clear_ack, from_sfbr, int, int_unless, jump, jump_if_data, jump_unless, jump_when,
    load, mov, select_atn, set, store, to_sfbr, wait_disconnect,
};
use super::super::{DATA, DIP, Rig, SCRIPT, SIP, TABLE, image, read10};
use super::program::Program;
use super::{BOTH, rig, rig_with};
use crate::lsi::Model::Lsi53c895a;
use crate::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::at;
use crate::lsi::scripts::{Operator, Signals};
use outrigger_block::{Backend, Hold};
use outrigger_device::device::Device as _;

const STATUS: u32 = TABLE + 0x40;
const SENSE: u32 = TABLE + 0x100;

fn atn() -> Signals {
    Signals {
        atn: true,
        ..Signals::default()
    }
}

/// The end of a command: COMMAND COMPLETE, and the bus is free.
fn complete(p: &mut Program) {
    p.put(&alu(Operator::And, at::SCNTL2, 0x7f));
    p.put(&mov(MessageIn, 1, STATUS + 1));
    p.put(&clear_ack());
    p.put(&wait_disconnect());
}

/// A command with one block of data, and REQUEST SENSE at once if its status is CHECK CONDITION.
fn with_sense() -> Program {
    let mut p = Program::at(SCRIPT);
    p.put(&select_atn(0, 0));
    p.put(&int_unless(MessageOut, 1));
    p.put(&mov(MessageOut, 1, TABLE));
    p.put(&mov(Command, 10, TABLE + 0x10));
    p.rel(jump_unless(DataIn, 0), "no data");
    p.put(&mov(DataIn, 512, DATA));
    p.label("no data");
    p.put(&mov(Status, 1, STATUS));
    p.put(&from_sfbr(Operator::Or, at::SCRATCHA, 0));
    complete(&mut p);
    p.put(&to_sfbr(Operator::Or, at::SCRATCHA, 0));
    p.rel(jump_if_data(0x02, 0, 0), "check condition");
    p.put(&int(2));
    p.label("check condition");
    p.put(&select_atn(0, 0));
    p.put(&int_unless(MessageOut, 1));
    p.put(&mov(MessageOut, 1, TABLE));
    p.put(&mov(Command, 6, TABLE + 0x20));
    p.put(&mov(DataIn, 18, SENSE));
    p.put(&mov(Status, 1, STATUS + 2));
    complete(&mut p);
    p.put(&int(3));
    p
}

/// Runs it with a CDB until the line is asserted.
fn run_with_sense(rig: &mut Rig, cdb: &[u8]) {
    let program = with_sense();
    program.load(rig);
    rig.poke(TABLE, &[0x80]);
    rig.poke(TABLE + 0x10, cdb);
    rig.poke(TABLE + 0x20, &[3, 0, 0, 0, 18, 0]);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
}

#[test]
fn sense_data_come_without_an_interrupt_in_between() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.settle();
        rig.w8(at::DIEN, 0x7d);
        for (cdb, ending, key) in [
            (read10(3, 1), 2, None),
            ([0xc5; 10], 3, Some((5, 0x20))),
            (read10(0x00ff_ffff, 1), 3, Some((5, 0x21))),
        ] {
            run_with_sense(&mut rig, &cdb);
            assert!(rig.lsi.interrupt());
            rig.assert_int(ending);
            assert!(!rig.lsi.interrupt());
            if let Some((key, code)) = key {
                let sense = rig.peek(SENSE, 14);
                assert_eq!((sense[2], sense[12]), (key, code), "{model:?}");
            }
        }
    }
}

/// While a crash is written to disk nobody serves interrupts: DIP and SIP show, and the line stays down.
#[test]
fn all_works_without_the_line() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.settle();
        for enable in [at::DIEN, at::SIEN0, at::SIEN1] {
            rig.w8(enable, 0);
        }
        run_with_sense(&mut rig, &read10(7, 1));
        assert!(!rig.lsi.interrupt());
        assert_eq!(rig.r8(at::ISTAT0) & (SIP | DIP), DIP);
        rig.assert_int(2);
        assert_eq!(rig.peek(DATA, 512), image()[7 * 512..8 * 512]);
        rig.script(&[select_atn(6, 0), int_unless(MessageOut, 1)]);
        assert!(!rig.lsi.interrupt());
        assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
    }
}

/// A target that keeps the bus and does nothing: HTH interrupts, ATN goes up, ABORT goes out, and the bus is free.
#[test]
fn a_target_that_hangs_is_aborted() {
    for model in BOTH {
        let memory = Backend::memory(image(), false);
        let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("delay");
        let mut rig = rig_with(model, backend);
        rig.settle();
        rig.w8(at::SCNTL3, 3);
        rig.w8(at::STIME0, 0x70);
        rig.w8(at::SIEN1, 0x05);
        rig.nexus(
            &[0x80],
            &read10(1, 1),
            &[
                mov(DataIn, 512, DATA),
                jump_when(Status, SCRIPT + 6 * 8),
                int(1),
                int(2),
            ],
        );
        assert_eq!(rig.r8(at::ISTAT0), 0x08);
        rig.pass(Duration::from_millis(20));
        assert_eq!(rig.interrupts(), (SIP, 0, 0x0100), "{model:?}");
        rig.poke(TABLE, &[0x06]);
        rig.script(&[
            set(atn()),
            int_unless(MessageOut, 3),
            alu(Operator::And, at::SCNTL2, 0x7f),
            mov(MessageOut, 1, TABLE),
            clear(Signals {
                atn: true,
                ack: true,
                ..Signals::default()
            }),
            wait_disconnect(),
            int(4),
        ]);
        rig.assert_int(4);
        assert_eq!(rig.r8(at::SBCL), 0);
        // Nothing comes of the command any more, and the unit goes on with the next.
        handle.release(8);
        rig.run();
        rig.w8(at::STIME0, 0);
        assert_eq!(rig.command(&[0; 6], None), 0);
    }
}

/// BUS DEVICE RESET with SDU set: the target lets the bus go, which nothing has announced; then its unit attention.
#[test]
fn a_target_reset_ends_in_an_unexpected_disconnect() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.settle();
        rig.w8(at::SIEN0, 0x8f);
        rig.poke(TABLE, &[0x80, 0x0c]);
        rig.script(&[select_atn(0, 0), mov(MessageOut, 2, TABLE), int(1)]);
        assert!(rig.lsi.interrupt());
        assert_eq!(rig.interrupts(), (SIP, 0, 0x0004), "{model:?}");
        run_with_sense(&mut rig, &[0; 10]);
        rig.assert_int(3);
        let sense = rig.peek(SENSE, 14);
        assert_eq!((sense[2], sense[12]), (6, 0x29));
    }
}

/// Mailboxes: the host and a running script exchange bytes, without an interrupt or a stop.
#[test]
fn mailboxes_carry_bytes_while_scripts_run() {
    let mut rig = rig(Lsi53c895a);
    let (mbox0, mbox1) = (0x16, 0x17);
    let mut p = Program::at(SCRIPT);
    p.label("again");
    p.put(&to_sfbr(Operator::Or, mbox0, 0));
    p.rel(jump_if_data(0xff, 0, 0), "end");
    p.put(&from_sfbr(Operator::Xor, mbox1, 0x5a));
    p.rel(jump(0), "again");
    p.label("end");
    p.put(&int(6));
    p.load(&rig);
    rig.w32(at::DSP, SCRIPT);
    for byte in [0x00, 0x41, 0x7e] {
        rig.w8(mbox0, byte);
        let _ = rig.run_once();
        assert_eq!(rig.r8(mbox1), byte ^ 0x5a);
        assert_eq!(rig.r8(at::ISTAT1) & 2, 2);
    }
    rig.w8(mbox0, 0xff);
    rig.run();
    rig.assert_int(6);
}

/// A chip with 8 KiB of its own: a block goes through SCRIPTS RAM, changed there by LOAD and STORE.
#[test]
fn data_stay_on_the_chip_between_two_moves() {
    let mut rig = rig(Lsi53c895a);
    rig.settle();
    let ram = super::super::SCRIPTS_RAM + 0x800;
    rig.w32(at::SCRATCHB, 0xfeed_f00d);
    rig.nexus(
        &[0x80],
        &read10(5, 1),
        &[
            mov(DataIn, 512, ram),
            mov(Status, 1, STATUS),
            store(at::SCRATCHB, 4, ram + 8),
            load(at::SCRATCHA, 4, ram + 4),
            super::super::asm::move_memory(512, ram),
            [DATA, int(7)[0]],
            [7, 0],
        ],
    );
    rig.assert_int(7);
    let mut expected = image()[5 * 512..6 * 512].to_vec();
    expected[8..12].copy_from_slice(&0xfeed_f00d_u32.to_le_bytes());
    assert_eq!(rig.peek(DATA, 512), expected);
    assert_eq!(rig.r32(at::SCRATCHA).to_le_bytes(), expected[4..8]);
}
