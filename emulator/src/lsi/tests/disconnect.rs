use super::asm::{
    clear_ack, from_sfbr, int, int_unless, jump_when, mov, select_atn, set, to_sfbr,
    wait_disconnect, wait_reselect,
};
use super::{DATA, DIP, Rig, SCRIPT, SIP, TABLE, image, length, read10};
use crate::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::at;
use crate::lsi::scripts::{Operator, Signals};
use outrigger_block::DelayHandle;
use outrigger_device::device::Device;

const MESSAGES: u32 = TABLE + 0x40;

/// Starts READs with these tags, each until its DISCONNECT, then waits for a reselection and serves it; SIGP
/// ends the wait with `INT 9`.
pub(super) fn start_reads(rig: &mut Rig, tags: &[u8]) {
    rig.settle();
    for (n, &tag) in (0..).zip(tags) {
        rig.nexus(
            &[0xc0, 0x20, tag],
            &read10(10 + n, 1),
            &[
                mov(DataIn, 512, DATA + 512 * n),
                mov(MessageIn, 1, MESSAGES),
                clear_ack(),
                mov(MessageIn, 1, MESSAGES + 1),
                clear_ack(),
                wait_disconnect(),
                int(n),
            ],
        );
        rig.assert_int(n);
        // SAVE DATA POINTERS, DISCONNECT.
        assert_eq!(rig.peek(MESSAGES, 2), [2, 4]);
        assert_eq!(rig.r8(at::ISTAT0) & 8, 0);
    }
}

fn serve_one(rig: &mut Rig) {
    rig.script(&[
        wait_reselect(SCRIPT + 11 * 8),
        int_unless(MessageIn, 1),
        mov(MessageIn, 1, MESSAGES),
        clear_ack(),
        mov(MessageIn, 2, MESSAGES + 1),
        clear_ack(),
        mov(Status, 1, MESSAGES + 3),
        mov(MessageIn, 1, MESSAGES + 4),
        clear_ack(),
        wait_disconnect(),
        int(8),
        int(9),
    ]);
}

#[test]
fn a_tagged_read_disconnects_and_comes_back() {
    let (mut rig, handle) = Rig::delayed();
    start_reads(&mut rig, &[0x55]);
    assert_eq!(handle.held(), 1);
    serve_one(&mut rig);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    handle.release(1);
    rig.run();
    rig.assert_int(8);
    assert_eq!(rig.peek(MESSAGES, 5), [0x80, 0x20, 0x55, 0, 0]);
    assert_eq!(rig.r8(at::SSID), 0x80);
    assert_eq!(rig.peek(DATA, 512), image()[5120..5632]);
}

#[test]
fn sigp_ends_the_wait_for_a_reselection() {
    let (mut rig, _handle) = Rig::delayed();
    start_reads(&mut rig, &[1]);
    serve_one(&mut rig);
    rig.w8(at::ISTAT0, 0x20);
    rig.run();
    rig.assert_int(9);
}

#[test]
fn a_task_that_waits_wins_against_a_selection() {
    let (mut rig, handle) = Rig::delayed();
    start_reads(&mut rig, &[7]);
    handle.release(1);
    rig.w8(at::SCID, 7);
    rig.script(&[
        select_atn(0, SCRIPT + 16),
        int(1),
        // The ID comes to SSID, and without COM the data bus with both IDs to SFBR.
        from_sfbr(Operator::Or, at::SCRATCHA, 0),
        to_sfbr(Operator::And, at::SSID, 0x8f),
        int(2),
    ]);
    rig.assert_int(2);
    assert_eq!(rig.r8(at::SCRATCHA), 0x81);
    assert_eq!(rig.r8(at::SSID), 0x80);
    assert_eq!(rig.r8(at::ISTAT0) & 8, 8);
}

#[test]
fn several_tasks_come_back_in_the_order_of_their_completion() {
    let (mut rig, handle) = Rig::delayed();
    start_reads(&mut rig, &[1, 2, 3]);
    for tag in [1, 2, 3] {
        handle.release(1);
        serve_one(&mut rig);
        rig.assert_int(8);
        assert_eq!(rig.peek(MESSAGES + 2, 1), [tag]);
    }
    assert_eq!(rig.peek(DATA, 1536), image()[5120..6656]);
}

/// ABORT TAG, twice, for a disconnected task; then nothing comes back and nothing is written.
fn abort(rig: &mut Rig, messages: &[u8]) {
    rig.poke(TABLE, messages);
    let sdu_off = super::asm::alu(Operator::And, at::SCNTL2, 0x7f);
    rig.script(&[
        select_atn(0, 0),
        int_unless(MessageOut, 1),
        sdu_off,
        mov(MessageOut, length(messages), TABLE),
        super::asm::clear(Signals {
            ack: true,
            atn: true,
            ..Signals::default()
        }),
        wait_disconnect(),
        int(5),
    ]);
    rig.assert_int(5);
}

fn is_silent(rig: &mut Rig, handle: &DelayHandle) {
    // What arrived before the abort took effect does not matter; nothing may arrive after it.
    rig.poke(DATA, &[0; 512]);
    handle.release(8);
    serve_one(rig);
    assert_eq!(rig.r8(at::ISTAT0), 0);
    assert!(rig.peek(DATA, 512).iter().all(|&byte| byte == 0));
}

#[test]
fn an_aborted_task_does_not_come_back() {
    for messages in [
        &[0xc0, 0x20, 0x33, 0x0d][..],
        &[0xc0, 0x06],
        &[0xc0, 0x06, 0x06, 0x0d, 0x0c],
        &[0xc0, 0x0e],
        &[0xc0, 0x0c],
        &[0xc0, 0x17],
    ] {
        let (mut rig, handle) = Rig::delayed();
        start_reads(&mut rig, &[0x33]);
        // Repeated cancelling finds nothing more to cancel.
        abort(&mut rig, messages);
        abort(&mut rig, messages);
        is_silent(&mut rig, &handle);
    }
}

#[test]
fn resets_end_disconnected_tasks() {
    for reset in [0, 1, 2] {
        let (mut rig, handle) = Rig::delayed();
        start_reads(&mut rig, &[0x33]);
        match reset {
            0 => {
                rig.w8(at::SCNTL1, 0x08);
                rig.w8(at::SCNTL1, 0x00);
                assert_eq!(rig.interrupts(), (SIP, 0, 0x0002));
            }
            1 => rig.w8(at::ISTAT0, 0x40),
            _ => {
                let mut context = outrigger_device::device::Context {
                    dma: &rig.gate,
                    now: rig.now,
                };
                rig.lsi.reset(&mut context);
            }
        }
        rig.w8(at::ISTAT0, 0);
        is_silent(&mut rig, &handle);
    }
}

#[test]
fn an_unexpected_disconnect_is_reported() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0x80, 0x0c]);
    rig.script(&[select_atn(0, 0), mov(MessageOut, 2, TABLE), int(1)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0004));
    assert_eq!(rig.r8(at::SSTAT2) & 2, 2);
}

#[test]
fn waiting_for_a_disconnect_while_the_target_asks_is_illegal() {
    let mut rig = Rig::new();
    rig.script(&[select_atn(0, 0), wait_disconnect()]);
    assert_eq!(rig.interrupts(), (DIP, 0x01, 0));
}

#[test]
fn without_the_privilege_the_target_stays() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    rig.nexus(
        &[0x80],
        &read10(4, 1),
        &[
            mov(DataIn, 512, DATA),
            jump_when(Status, SCRIPT + 6 * 8),
            int(1),
            int(2),
        ],
    );
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    assert_eq!(rig.r8(at::SBCL), 0x20);
    handle.release(1);
    rig.run();
    rig.assert_int(2);
}

#[test]
fn a_rejected_disconnect_keeps_the_bus() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    rig.poke(TABLE, &[0xc0]);
    rig.poke(TABLE + 1, &[0x07]);
    rig.poke(TABLE + 0x10, &read10(4, 1));
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 10, TABLE + 0x10),
        mov(DataIn, 512, DATA),
        mov(MessageIn, 2, MESSAGES),
        set(Signals {
            atn: true,
            ..Signals::default()
        }),
        clear_ack(),
        mov(MessageOut, 1, TABLE + 1),
        jump_when(Status, SCRIPT + 10 * 8),
        int(1),
        int(2),
    ]);
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    handle.release(1);
    rig.run();
    rig.assert_int(2);
}
