//! The chip as a target: no initiator but itself is on the bus, so nobody is ever connected to it.

use std::time::Duration;

use super::asm::{
    clear, int, int_unless, mov, select, select_atn, set_target, wait_disconnect, wait_reselect,
};
use super::{DIP, Rig, SCRIPT, SIP, TABLE};
use crate::lsi::scripts::Signals;
use crate::lsi::{Phase, at};

#[test]
fn a_reselection_times_out() {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL3, 3);
    rig.w8(at::STIME0, 1);
    // A disk is at this ID, but a disk is no initiator.
    rig.script(&[set_target(), select(0, 0), mov(Phase::DataIn, 1, TABLE)]);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
}

#[test]
fn waiting_for_a_selection_ends_by_sigp() {
    let mut rig = Rig::new();
    rig.script(&[set_target(), wait_reselect(SCRIPT + 24), int(1), int(2)]);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w8(at::ISTAT0, 0x20);
    rig.run();
    rig.assert_int(2);
}

#[test]
fn disconnecting_from_nobody_does_nothing() {
    let mut rig = Rig::new();
    rig.script(&[set_target(), wait_disconnect(), int(1)]);
    rig.assert_int(1);
    assert_eq!(rig.r8(at::SCNTL0), 0xc1);
    let target = Signals {
        target: true,
        ..Signals::default()
    };
    rig.script(&[clear(target), int(2)]);
    rig.assert_int(2);
    assert_eq!(rig.r8(at::SCNTL0), 0xc0);
}

#[test]
fn a_move_waits_for_an_initiator_until_it_is_aborted() {
    let mut rig = Rig::new();
    rig.script(&[set_target(), mov(Phase::MessageOut, 1, TABLE), int(1)]);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w8(at::ISTAT0, 0x80);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x10, 0));
}

#[test]
fn a_target_drives_the_phases_and_cannot_wait_for_one() {
    let mut rig = Rig::new();
    rig.script(&[
        select_atn(0, 0),
        set_target(),
        int_unless(Phase::MessageOut, 1),
    ]);
    assert_eq!(rig.interrupts(), (DIP, 0x01, 0));
}
