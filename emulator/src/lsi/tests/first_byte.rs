//! SFBR after DATA IN.

use super::asm::{int, jump_if_data, mov, move_memory, store, to_sfbr};
use super::{DATA, DIP, REGISTERS, Rig, SCRIPT, TABLE, image, read10};
use crate::lsi::Phase::{DataIn, Status};
use crate::lsi::at;
use crate::lsi::scripts::Operator;

/// Block 3 starts with this byte.
const FIRST: u8 = 21;

/// READ of block 3, the data in two moves; then `then`.
fn read(rig: &mut Rig, then: &[[u32; 2]]) {
    let mut words = vec![mov(DataIn, 100, DATA)];
    words.extend(then);
    rig.nexus(&[0x80], &read10(3, 1), &words);
}

#[test]
fn a_script_waits_for_the_first_byte_that_it_looks_at() {
    let rest = mov(DataIn, 412, DATA + 100);
    for looks in [
        jump_if_data(FIRST, 0, SCRIPT + 6 * 8),
        to_sfbr(Operator::And, at::SFBR, 0xff),
        store(at::SFBR, 1, TABLE + 0x40),
        move_memory(4, REGISTERS + 8),
    ] {
        let (mut rig, handle) = Rig::delayed();
        rig.settle();
        let third = [TABLE + 0x40, 0x9808_0000];
        let then = if looks[0] >> 29 == 6 {
            vec![looks, third, [9, 0]]
        } else {
            vec![looks, int(8), rest, int(9)]
        };
        read(&mut rig, &then);
        // Only what has been named is read.
        assert_eq!(handle.held(), 1, "{looks:x?}");
        assert_eq!(rig.r8(at::ISTAT0), 0x08);
        handle.release(1);
        rig.run();
        assert_eq!(rig.r8(at::SFBR), FIRST, "{looks:x?}");
        assert_eq!(rig.interrupts(), (DIP, 4, 0), "{looks:x?}");
    }
}

#[test]
fn the_transfer_goes_on_after_the_look() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    read(
        &mut rig,
        &[
            jump_if_data(FIRST, 0, SCRIPT + 6 * 8),
            int(1),
            mov(DataIn, 412, DATA + 100),
            jump_if_data(image()[1536 + 100], 0, SCRIPT + 9 * 8),
            int(2),
            mov(Status, 1, TABLE + 0x40),
            int(3),
        ],
    );
    handle.release(1);
    rig.run();
    assert_eq!(handle.held(), 1);
    handle.release(1);
    rig.run();
    rig.assert_int(3);
    assert_eq!(rig.peek(DATA, 512), image()[1536..2048]);
    // The status replaced it.
    assert_eq!(rig.r8(at::SFBR), 0);
}

#[test]
fn who_does_not_look_waits_for_nothing() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    read(&mut rig, &[int(1)]);
    rig.assert_int(1);
    assert_eq!(handle.held(), 0);
    // The host asks: the byte is fetched, and shows when it has come.
    assert_eq!(rig.r8(at::SFBR), 0);
    rig.run();
    assert_eq!(handle.held(), 1);
    handle.release(1);
    rig.run();
    assert_eq!(rig.r8(at::SFBR), FIRST);
}

#[test]
fn a_synchronous_transfer_leaves_sfbr_alone() {
    let mut rig = Rig::new();
    rig.settle();
    rig.w8(at::SXFER, 0x0f);
    read(&mut rig, &[int(1)]);
    rig.assert_int(1);
    assert_eq!(rig.r8(at::SFBR), 0);
}

#[test]
fn a_lost_task_leaves_what_memory_has() {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    rig.poke(DATA, &[0x77]);
    read(
        &mut rig,
        &[jump_if_data(0x77, 0, SCRIPT + 6 * 8), int(1), int(2)],
    );
    assert_eq!(handle.held(), 1);
    rig.reset_bus();
    rig.run();
    assert_eq!(rig.r8(at::SFBR), 0x77);
}
