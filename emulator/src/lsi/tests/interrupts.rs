use super::asm::{int, intfly, jump, mov, select_atn, wait_reselect};
use super::{DATA, DIP, FIELD_4, INTF, Rig, SCRIPT, SIP, TABLE, TICK};
use crate::lsi::{Phase, at};
use outrigger_device::device::{Device, Progress};

#[test]
fn int_asserts_the_line_only_when_enabled() {
    let mut rig = Rig::new();
    rig.script(&[int(7)]);
    assert!(!rig.lsi.interrupt());
    rig.w8(at::DIEN, 0x04);
    assert!(rig.lsi.interrupt());
    // IRQD cuts the pin off and leaves ISTAT alone.
    rig.w8(at::DCNTL, 0x02);
    assert!(!rig.lsi.interrupt());
    assert_eq!(rig.r8(at::ISTAT0), DIP);
    rig.w8(at::DCNTL, 0);
    rig.assert_int(7);
    assert!(!rig.lsi.interrupt());
    assert_eq!(rig.r32(at::DSP), SCRIPT + 8);
}

#[test]
fn interrupts_blocked_by_si_stay_asserted_until_serviced() {
    let mut rig = Rig::new();
    rig.w8(at::DIEN, 0x04);
    rig.script(&[int(1)]);
    rig.w8(at::ISTAT1, 1);
    assert!(rig.lsi.interrupt());
    rig.assert_int(1);
    assert!(!rig.lsi.interrupt());
    rig.script(&[int(2)]);
    assert!(!rig.lsi.interrupt());
    rig.assert_int(2);
}

#[test]
fn intfly_goes_on_and_is_cleared_by_writing_one() {
    let mut rig = Rig::new();
    rig.script(&[intfly(), int(3)]);
    assert_eq!(rig.r8(at::ISTAT0) & 7, INTF | DIP);
    assert!(rig.lsi.interrupt());
    rig.w8(at::ISTAT0, INTF);
    assert_eq!(rig.r8(at::ISTAT0) & 7, DIP);
    rig.assert_int(3);
}

#[test]
fn a_later_interrupt_waits_behind_the_first() {
    let mut rig = Rig::new();
    // Selection time-out, then an INT from a script that the driver starts without having looked.
    rig.script(&[select_atn(3, 0), mov(Phase::MessageOut, 1, TABLE)]);
    rig.script(&[int(5)]);
    assert_eq!(rig.r8(at::ISTAT0) & 7, SIP);
    assert_eq!(rig.r8(at::DSTAT), 0x80);
    assert_eq!(rig.r8(at::SIST0), 0);
    assert_eq!(rig.r8(at::SIST1), 0x04);
    rig.assert_int(5);
}

#[test]
fn a_selection_that_nobody_answers_times_out_at_the_next_phase() {
    let mut rig = Rig::new();
    rig.script(&[
        select_atn(5, 0),
        super::asm::alu(crate::lsi::scripts::Operator::Move, at::SCRATCHA, 0x5a),
        super::asm::int_unless(Phase::MessageOut, 1),
        int(2),
    ]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
    assert_eq!(rig.r8(at::SCRATCHA), 0x5a);
    // Linux looks for the instruction that waited.
    assert_eq!(rig.r32(at::DSP), SCRIPT + 3 * 8);
}

#[test]
fn a_selection_times_out_even_if_the_script_never_looks() {
    let mut rig = Rig::new();
    rig.poke32(SCRIPT, &[0x4005_0000, 0, 0x8008_0000, SCRIPT + 8]);
    rig.w32(at::DSP, SCRIPT);
    assert_eq!(rig.run_once(), Progress::More);
    assert_eq!(rig.run_once(), Progress::Idle);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
}

#[test]
fn gen_is_posted_masked_and_raised_unmasked() {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL3, 3);
    rig.w8(at::STIME1, 4);
    let due = rig.lsi.deadline().expect("a timer runs");
    assert_eq!(due, rig.now + FIELD_4);
    rig.pass(FIELD_4 - TICK);
    assert_eq!(rig.r8(at::SIST1), 0);
    rig.pass(TICK);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    assert_eq!(rig.r8(at::SIST1), 0x02);
    assert_eq!(rig.lsi.deadline(), None);

    rig.w8(at::SIEN1, 0x02);
    rig.w8(at::STIME1, 4);
    // Enabled, it is fatal.
    rig.script(&[wait_reselect(SCRIPT + 8), int(8)]);
    rig.pass(FIELD_4);
    assert!(rig.lsi.interrupt());
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0200));
    rig.w8(at::ISTAT0, 0x20);
    rig.run();
    assert_eq!(rig.r8(at::ISTAT0), 0x20);
}

#[test]
fn a_masked_gen_leaves_scripts_running() {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL3, 3);
    rig.w8(at::STIME1, 4);
    rig.script(&[wait_reselect(SCRIPT + 8), int(8)]);
    rig.pass(FIELD_4);
    rig.w8(at::ISTAT0, 0x20);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x04, 0x0200));
    assert_eq!(rig.r32(at::DSPS), 8);
}

#[test]
fn hth_expires_while_a_target_keeps_the_chip_waiting() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    rig.w8(at::SCNTL3, 3);
    rig.w8(at::STIME0, 0x40);
    rig.w8(at::SIEN1, 0x01);
    rig.nexus(
        &[0x80],
        &super::read10(1, 1),
        &[
            mov(Phase::DataIn, 512, DATA),
            mov(Phase::Status, 1, TABLE + 0x20),
            int(1),
        ],
    );
    assert_eq!(rig.r8(at::ISTAT0) & 7, 0);
    rig.pass(FIELD_4);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0100));
    handle.release(1);
    // The driver goes on with the instruction that was stopped.
    let dsp = rig.r32(at::DSP);
    rig.w32(at::DSP, dsp - 8);
    rig.run();
    rig.assert_int(1);
    assert_eq!(rig.peek(DATA, 512), super::image()[512..1024]);
}

#[test]
fn abort_stops_an_endless_script() {
    let mut rig = Rig::new();
    rig.poke32(SCRIPT, &jump(SCRIPT));
    rig.w32(at::DSP, SCRIPT);
    for _ in 0..10 {
        assert_eq!(rig.run_once(), Progress::More);
    }
    assert_eq!(rig.r8(at::ISTAT1) & 2, 2);
    rig.w8(at::ISTAT0, 0x80);
    assert_eq!(rig.run_once(), Progress::Idle);
    assert_eq!(rig.r8(at::ISTAT1) & 2, 0);
    rig.w8(at::ISTAT0, 0);
    assert_eq!(rig.interrupts(), (DIP, 0x10, 0));
}

#[test]
fn single_step_and_manual_start() {
    let mut rig = Rig::new();
    rig.w8(at::DCNTL, 0x10);
    rig.w8(at::DMODE, 0x01);
    rig.script(&[intfly(), int(1)]);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w8(at::DCNTL, 0x14);
    rig.run();
    assert_eq!(rig.r32(at::DSP), SCRIPT + 8);
    assert_eq!(rig.interrupts(), (INTF | DIP, 0x08, 0));
    rig.w8(at::ISTAT0, INTF);
    rig.w8(at::DCNTL, 0x14);
    rig.run();
    rig.assert_int(1);
}

#[test]
fn a_fault_is_a_bus_fault() {
    let mut rig = Rig::new();
    rig.w32(at::DSP, 0x8000_0000);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    // Bus mastering off: likewise.
    rig.gate.set_bus_master(false);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
}

#[test]
fn soft_reset_clears_registers_and_keeps_com() {
    let mut rig = Rig::new();
    rig.w32(at::DSA, 0x1234_5678);
    rig.w8(at::DCNTL, 0x01);
    rig.write(2, 0x10, outrigger_device::device::Width::Byte, 0x77);
    rig.script(&[int(1)]);
    rig.w8(at::ISTAT0, 0x40);
    assert_eq!(rig.r8(at::ISTAT0), 0x40);
    assert_eq!(rig.r32(at::DSA), 0);
    assert_eq!(rig.r8(at::DCNTL), 0x01);
    assert_eq!(rig.scripts_ram(0x10), [0x77]);
    // SeaBIOS goes on without clearing it.
    rig.script(&[int(2)]);
    assert_eq!(rig.r32(at::DSPS), 2);
}

#[test]
fn the_bus_reset_that_the_chip_asserts_comes_back_to_it() {
    let mut rig = Rig::new();
    rig.w8(at::SCNTL1, 0x08);
    assert_eq!(rig.r8(at::SSTAT0), 0x02);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0002));
    assert_eq!(rig.r8(at::SBCL), 0);
    rig.w8(at::SCNTL1, 0x00);
    assert_eq!(rig.r8(at::SSTAT0), 0);
}

#[test]
fn ctest2_shows_and_clears_sigp_and_can_show_the_bars() {
    let mut rig = Rig::new();
    rig.w8(at::ISTAT0, 0x20);
    assert_eq!(rig.r8(at::CTEST2), 0x71);
    assert_eq!(rig.r8(at::CTEST2), 0x31);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    rig.w32(at::SCRATCHA, 5);
    rig.w8(at::CTEST2, 0x08);
    assert_eq!(rig.r32(at::SCRATCHA), super::REGISTERS);
    assert_eq!(rig.r32(at::SCRATCHB), super::SCRIPTS_RAM);
    // MACNTL's chip type refers to PCI's device ID and revision.
    assert_eq!(rig.r8(at::MACNTL), 0xf0);
    assert_eq!(rig.r32(at::SFS), 0x0000_0012);
    rig.w8(at::CTEST2, 0);
    assert_eq!(rig.r32(at::SCRATCHA), 5);
}
