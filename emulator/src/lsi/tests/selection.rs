//! Selection time-out, and reselections that no instruction waits for.

use super::asm::{alu, int, int_unless, mov, select_atn, wait_disconnect, wait_reselect};
use super::disconnect::start_reads;
use super::{DATA, DIP, FIELD_4, Rig, SCRIPT, SIP, TABLE, TICK};
use crate::lsi::scripts::Operator;
use crate::lsi::{Phase, at};
use outrigger_device::device::Device;

/// What the chip would wait is not waited for.
fn timed() -> Rig {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL3, 3);
    rig.w8(at::STIME0, 0x0f);
    rig
}

#[test]
fn a_script_runs_on_to_what_needs_the_target() {
    let mut rig = timed();
    rig.script(&[
        select_atn(5, 0),
        alu(Operator::Move, at::SCRATCHA, 0x5a),
        int_unless(Phase::MessageOut, 1),
        int(2),
    ]);
    assert_eq!(rig.r8(at::SCRATCHA), 0x5a);
    assert_eq!(rig.r8(at::SBCL), 0);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
    // Linux looks for the instruction that waited.
    assert_eq!(rig.r32(at::DSP), SCRIPT + 3 * 8);
    assert_eq!(rig.lsi.deadline(), None);
}

#[test]
fn every_instruction_that_needs_the_target_ends_in_the_time_out() {
    for waiting in [
        mov(Phase::MessageOut, 1, TABLE),
        select_atn(0, SCRIPT),
        wait_reselect(SCRIPT),
        wait_disconnect(),
        [0x868a_0000, SCRIPT], // JUMP IF MSG_OUT
        int_unless(Phase::MessageOut, 1),
    ] {
        let mut rig = timed();
        rig.script(&[select_atn(5, 0), waiting, int(1)]);
        assert_eq!(rig.interrupts(), (SIP, 0, 0x0400), "{waiting:x?}");
        assert_eq!(rig.r32(at::DSP), SCRIPT + 16, "{waiting:x?}");
    }
}

#[test]
fn a_script_that_never_looks_is_stopped() {
    let mut rig = timed();
    rig.poke32(SCRIPT, &[0x4005_0000, 0, 0x8008_0000, SCRIPT + 8]);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
}

#[test]
fn the_end_of_a_selection_interrupts_only_if_enabled() {
    let mut rig = Rig::new();
    rig.script(&[select_atn(0, 0), int(1)]);
    rig.assert_int(1);
    let mut rig = Rig::new();
    rig.w8(at::SIEN0, 0x40);
    rig.script(&[select_atn(0, 0), int(1)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x40));
    assert_eq!(rig.r32(at::DSP), SCRIPT + 8);
}

/// A chip that answers reselections by itself, with a read disconnected.
fn answering() -> (Rig, outrigger_block::DelayHandle) {
    let (mut rig, handle) = Rig::delayed();
    rig.w8(at::SCID, 0x47);
    rig.w8(at::RESPID, 0x80);
    start_reads(&mut rig, &[0x21]);
    (rig, handle)
}

#[test]
fn a_reselection_that_no_script_waits_for_is_posted() {
    let (mut rig, handle) = answering();
    handle.release(1);
    rig.run();
    // Masked: CON shows it, and SIST0.
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    assert_eq!(rig.r8(at::SCNTL1) & 0x10, 0x10);
    assert_eq!(rig.r8(at::SSID), 0x80);
    assert_eq!(rig.r8(at::SBCL), 0xa7);
    assert_eq!(rig.interrupts(), (0, 0, 0x10));
    // A SELECT has lost; WAIT RESELECT finds it done.
    rig.script(&[
        select_atn(0, SCRIPT + 16),
        int(1),
        wait_reselect(SCRIPT),
        int_unless(Phase::MessageIn, 2),
        int(3),
    ]);
    rig.assert_int(3);
}

#[test]
fn an_enabled_reselection_stops_scripts() {
    let (mut rig, handle) = answering();
    rig.w8(at::SIEN0, 0x10);
    rig.script(&[wait_reselect(SCRIPT), int(1)]);
    handle.release(1);
    rig.run();
    assert!(rig.lsi.interrupt());
    assert_eq!(rig.interrupts(), (SIP, 0, 0x10));
    assert_eq!(rig.r32(at::DSP), SCRIPT + 8);
}

#[test]
fn without_rre_and_its_id_nothing_answers() {
    for (scid, respid) in [(0x07, 0x80), (0x47, 0x40)] {
        let (mut rig, handle) = answering();
        rig.w8(at::SCID, scid);
        rig.w8(at::RESPID, respid);
        handle.release(1);
        rig.run();
        assert_eq!(rig.r8(at::ISTAT0), 0);
        assert_eq!(rig.interrupts(), (0, 0, 0));
        // An instruction that waits does.
        rig.script(&[wait_reselect(SCRIPT), int(1)]);
        assert_eq!(rig.interrupts(), (DIP, 4, 0));
    }
}

#[test]
fn with_hthba_hth_runs_while_nobody_serves_the_bus() {
    for (stime1, sist) in [(0x00, 0), (0x40, 0x0100)] {
        let mut rig = timed();
        rig.w8(at::STIME0, 0x40);
        rig.w8(at::STIME1, stime1);
        rig.script(&[select_atn(0, 0), int(1)]);
        rig.assert_int(1);
        rig.pass(FIELD_4 - TICK);
        assert_eq!(rig.interrupts(), (0, 0, 0));
        rig.pass(TICK);
        assert_eq!(rig.interrupts(), (0, 0, sist));
    }
}

/// A target cannot know how long a vendor's CDB is: it takes what the initiator sends in one go, and refuses it.
#[test]
fn vendors_commands_of_any_length_end() {
    let mut rig = Rig::new();
    rig.settle();
    for (code, length) in [
        (0xc0, 6),
        (0xc7, 10),
        (0xda, 12),
        (0xe0, 6),
        (0xff, 16),
        (0x60, 6),
        (0x7f, 10),
        // What is known to be shorter than what SeaBIOS sends.
        (0x1f, 16),
    ] {
        let mut cdb = vec![0; length];
        cdb[0] = code;
        // A driver that expects data gets none.
        let data = Some((Phase::DataIn, 36));
        assert_eq!(rig.command(&cdb, data), 2, "{code:02x} {length}");
        assert_eq!(
            rig.command(&[3, 0, 0, 0, 18, 0], Some((Phase::DataIn, 18))),
            0
        );
        assert_eq!(rig.peek(DATA + 12, 1), [0x20]);
    }
}
