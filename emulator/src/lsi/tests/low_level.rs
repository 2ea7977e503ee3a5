//! The bus worked by hand, and what SCRIPTS find of it.

use proptest::prelude::*;

use super::asm::{alu, clear_ack, int, mov, select_atn, wait_disconnect};
use super::disconnect::start_reads;
use super::{DATA, DIP, Rig, SCRIPT, SIP, TABLE, image, read10};
use crate::lsi::Phase::{self, Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::scripts::Operator;
use crate::lsi::{Model, at};
use outrigger_block::Backend;

const REQ: u8 = 0x80;
const ACK: u8 = 0x40;
const BSY: u8 = 0x20;
const SEL: u8 = 0x10;
const ATN: u8 = 0x08;
const ADB: u8 = 0x40;
/// SCNTL0: full arbitration, START and WATN.
const SELECT_ATN: u8 = 0xf0;

/// Full arbitration and selection of target 0 with ATN.
fn selected(model: Model) -> Rig {
    let mut rig = Rig::with(model, Backend::memory(image(), false));
    rig.w8(at::SCNTL0, SELECT_ATN);
    assert_eq!(rig.interrupts(), (0, 0, 0x40));
    rig
}

/// Sends bytes; ATN is up until the last.
fn send(rig: &mut Rig, phase: Phase, bytes: &[u8]) {
    rig.w8(at::SCNTL1, ADB);
    for (n, &byte) in bytes.iter().enumerate() {
        assert_eq!(
            rig.r8(at::SBCL) & !ATN,
            REQ | BSY | phase.bits(),
            "byte {n}"
        );
        let attention = if phase == MessageOut && n + 1 < bytes.len() {
            ATN
        } else {
            0
        };
        rig.w8(at::SODL, byte);
        rig.w8(at::SOCL, attention | phase.bits());
        assert_eq!(rig.r8(at::SBDL), byte);
        rig.w8(at::SOCL, attention | ACK | phase.bits());
        assert_eq!(rig.r8(at::SBCL) & (REQ | ACK), ACK);
        rig.w8(at::SOCL, attention | phase.bits());
    }
    rig.w8(at::SCNTL1, 0);
}

fn receive(rig: &mut Rig, phase: Phase, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..count {
        assert_eq!(rig.r8(at::SBCL), REQ | BSY | phase.bits(), "byte {n}");
        assert_eq!(rig.r8(at::SSTAT1) & 7, phase.bits());
        let byte = rig.r8(at::SBDL);
        assert_eq!(rig.r8(at::SIDL), byte);
        rig.w8(at::SOCL, ACK | phase.bits());
        assert_eq!(rig.r8(at::SBCL), BSY | ACK);
        assert_eq!(rig.r8(at::SIDL), byte);
        rig.w8(at::SOCL, phase.bits());
        bytes.push(byte);
    }
    bytes
}

#[test]
fn a_command_by_hand() {
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        inquiry_by_hand(selected(model));
    }
}

fn inquiry_by_hand(mut rig: Rig) {
    assert_eq!(rig.r8(at::SCNTL0), SELECT_ATN - 0x20);
    assert_eq!(rig.r8(at::SSTAT0) & 0x1c, 0x04);
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    assert_eq!(rig.r8(at::SBCL), REQ | BSY | ATN | MessageOut.bits());
    // IDENTIFY and a tag, INQUIRY of 5 bytes.
    send(&mut rig, MessageOut, &[0x80, 0x20, 0x44]);
    send(&mut rig, Command, &[0x12, 0, 0, 0, 5, 0]);
    let data = receive(&mut rig, DataIn, 5);
    assert_eq!(receive(&mut rig, Status, 1), [0]);
    assert_eq!(receive(&mut rig, MessageIn, 1), [0]);
    assert_eq!(rig.r8(at::SBCL), 0);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    // The same as SCRIPTS bring.
    rig.w8(at::SOCL, 0);
    assert_eq!(rig.command(&[0x12, 0, 0, 0, 5, 0], Some((DataIn, 5))), 0);
    assert_eq!(rig.peek(DATA, 5), data);
}

#[test]
fn scripts_take_over_a_nexus_that_was_made_by_hand() {
    let mut rig = Rig::new();
    rig.settle();
    rig.w8(at::SCNTL0, SELECT_ATN);
    let _ = rig.interrupts();
    send(&mut rig, MessageOut, &[0x80]);
    send(&mut rig, Command, &read10(2, 1));
    // One byte by hand, and a look at the next.
    assert_eq!(receive(&mut rig, DataIn, 1), image()[1024..1025]);
    assert_eq!(rig.r8(at::SBDL), image()[1025]);
    rig.script(&[
        mov(DataIn, 511, DATA),
        mov(Status, 1, TABLE),
        mov(MessageIn, 1, TABLE + 1),
        clear_ack(),
        wait_disconnect(),
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(rig.peek(DATA, 511), image()[1025..1536]);
}

#[test]
fn ack_that_scripts_left_is_lowered_by_hand() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0x80, 1, 3, 1, 25, 15]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 6, TABLE),
        mov(MessageIn, 5, TABLE + 0x40),
        int(1),
    ]);
    assert_eq!(rig.r8(at::SOCL), ACK);
    rig.w8(at::SOCL, ATN);
    assert_eq!(rig.r8(at::SBCL), REQ | BSY | ATN | MessageOut.bits());
}

#[test]
fn a_selection_by_hand_times_out_too() {
    let mut rig = Rig::new();
    rig.w8(at::STIME0, 0x0f);
    rig.w8(at::SDID, 9);
    rig.w8(at::SCNTL0, SELECT_ATN);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
    assert_eq!(rig.r8(at::SCNTL0) & 0x20, 0);
}

#[test]
fn simple_arbitration_and_a_selection_signal_by_signal() {
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        selection_by_hand(Rig::with(model, Backend::memory(image(), false)));
    }
}

fn selection_by_hand(mut rig: Rig) {
    rig.w8(at::SCID, 0x07);
    rig.w8(at::SCNTL0, 0x20);
    assert_eq!(rig.interrupts(), (0, 0, 0x40));
    assert_eq!(rig.r8(at::SCNTL0), 0);
    // BSY and the chip's ID, and nobody of higher priority.
    assert_eq!(rig.r8(at::SSTAT0) & 0x1c, 0x10);
    assert_eq!(rig.r8(at::SBCL), BSY);
    assert_eq!(rig.r8(at::SBDL), 0x80);
    rig.w8(at::SOCL, BSY | SEL);
    assert_eq!(rig.r8(at::SBCL), BSY | SEL);
    rig.w8(at::SODL, 0x81);
    rig.w8(at::SCNTL1, ADB);
    assert_eq!(rig.r8(at::SBDL), 0x81);
    rig.w8(at::SOCL, BSY | SEL | ATN);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w8(at::SOCL, SEL | ATN);
    // The target answers with BSY and asks once SEL has fallen.
    assert_eq!(rig.r8(at::SBCL), BSY | SEL | ATN);
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    rig.w8(at::SOCL, ATN);
    assert_eq!(rig.r8(at::SBCL), REQ | BSY | ATN | MessageOut.bits());
}

#[test]
fn nobody_answers_an_id_without_a_target() {
    let mut rig = Rig::new();
    rig.w8(at::SCID, 0x07);
    rig.w8(at::SCNTL0, 0x20);
    rig.w8(at::SCNTL1, ADB);
    for sodl in [0x80, 0x88, 0x83] {
        rig.w8(at::SODL, sodl);
        rig.w8(at::SOCL, SEL);
        assert_eq!(rig.r8(at::SBCL), SEL);
    }
}

#[test]
fn loopback_shows_the_chips_own_signals_and_parity() {
    let mut rig = Rig::new();
    rig.w8(at::STEST2, 0x10);
    rig.w8(at::SCNTL0, 0xc8);
    for byte in [0x00, 0x55, 0x57, 0xff] {
        rig.w8(at::SODL, byte);
        rig.w8(at::SCNTL1, 0);
        assert_eq!(rig.r8(at::SBDL), 0);
        rig.w8(at::SCNTL1, ADB);
        assert_eq!(rig.r8(at::SBDL), byte);
        assert_eq!(rig.r8(at::SIDL), byte);
        let odd = u8::from(byte.count_ones() % 2 == 0);
        assert_eq!(rig.r8(at::SSTAT0) & 1, odd);
        assert_eq!(rig.interrupts(), (0, 0, 0));
        // Even parity is seen when the byte is read.
        rig.w8(at::SCNTL1, ADB | 0x04);
        assert_eq!(rig.r8(at::SSTAT0) & 1, 1 - odd);
        assert_eq!(rig.r8(at::SIDL), byte);
        assert_eq!(rig.interrupts(), (SIP, 0, 0x01));
    }
    for signals in [0x00, 0xff, 0xa5] {
        rig.w8(at::SOCL, signals);
        assert_eq!(rig.r8(at::SBCL), signals);
    }
}

#[test]
fn a_target_that_sees_bad_parity_lets_the_bus_go() {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL1, 0x04);
    rig.poke(TABLE, &[0x80]);
    rig.script(&[select_atn(0, 0), mov(MessageOut, 1, TABLE), int(1)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x04));
    assert_eq!(rig.r8(at::ISTAT0), 0);
}

#[test]
fn low_level_mode_holds_scripts() {
    let mut rig = Rig::new();
    rig.w8(at::STEST2, 0x01);
    rig.script(&[int(1)]);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w8(at::STEST2, 0x00);
    rig.run();
    rig.assert_int(1);
}

#[test]
fn immediate_arbitration_wins_against_a_task_that_waits() {
    let (mut rig, handle) = Rig::delayed();
    start_reads(&mut rig, &[7]);
    handle.release(1);
    rig.script(&[
        alu(Operator::Or, at::SCNTL1, 0x02),
        select_atn(0, SCRIPT + 24),
        int(1),
        int(2),
    ]);
    assert_eq!(rig.interrupts(), (DIP, 4, 0));
    assert_eq!(rig.r32(at::DSPS), 1);
    assert_eq!(rig.r8(at::SCNTL1) & 0x02, 0);
}

/// A step by hand: signals, data and sequences, and looks at them; now and then SCRIPTS go on with what they find.
fn step() -> impl Strategy<Value = (u8, Option<u8>)> {
    let register = prop::sample::select(vec![
        at::SCNTL0,
        at::SCNTL1,
        at::SOCL,
        at::SODL,
        at::SBDL,
        at::SBCL,
        at::SIDL,
        at::SSTAT0,
        at::STEST2,
        at::SDID,
    ]);
    let value = prop_oneof![
        3 => any::<u8>(),
        // ACK up and down in a phase, and START.
        6 => prop::sample::select(vec![
            0x00, 0x42, 0x02, 0x46, 0x06, 0x40, 0x43, 0x03, 0x47, 0x07, 0x41, 0x01, 0xf0,
        ]),
    ];
    (register, prop::option::weighted(0.7, value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn whatever_is_done_by_hand_the_chip_returns(
        steps in proptest::collection::vec(step(), 0..400),
        phases in proptest::collection::vec(0_u8..8, 0..4),
    ) {
        let disk = Backend::memory(vec![0; 8 * 512], false);
        let mut rig = Rig::with(Model::Lsi53c895a, disk);
        for (n, (register, value)) in steps.into_iter().enumerate() {
            match value {
                Some(value) => rig.w8(register, value),
                None => { let _ = rig.r8(register); }
            }
            if n % 50 == 49 {
                let moves: Vec<_> = phases
                    .iter()
                    .map(|&phase| mov(Phase::from_bits(phase), 3, DATA))
                    .collect();
                rig.poke32(SCRIPT, moves.as_flattened());
                rig.w32(at::DSP, SCRIPT);
            }
            let _ = rig.run_once();
        }
    }
}
