use proptest::prelude::*;

use super::asm::{alu, chmov, int, int_unless, mov};
use super::{DATA, DIP, Rig, SCRIPT, TABLE, image, read10, write10};
use crate::lsi::Phase::{DataIn, DataOut, MessageIn, Status};
use crate::lsi::scripts::Operator;
use crate::lsi::{Model, at};
use outrigger_block::Backend;
use outrigger_device::device::{Device, MemoryRange};

const WSR: u8 = 0x01;
const WSS: u8 = 0x08;

/// Selects, sends the CDB on a wide bus, and goes on with `then`.
fn wide(rig: &mut Rig, cdb: &[u8], then: &[[u32; 2]]) {
    rig.w8(at::SCNTL3, 0x08);
    rig.nexus(&[0x80], cdb, then);
}

fn settled() -> Rig {
    let mut rig = Rig::new();
    rig.settle();
    rig
}

#[test]
fn odd_pieces_of_a_read_join_without_a_gap() {
    let mut rig = settled();
    wide(
        &mut rig,
        &read10(1, 1),
        &[
            chmov(DataIn, 3, DATA),
            int(1),
            chmov(DataIn, 2, DATA + 3),
            int(2),
            chmov(DataIn, 507, DATA + 5),
            int(3),
        ],
    );
    for (number, wsr) in [(1, WSR), (2, WSR), (3, 0)] {
        rig.assert_int(number);
        assert_eq!(rig.r8(at::SCNTL2) & WSR, wsr, "{number}");
        if number < 3 {
            rig.resume();
        }
    }
    assert_eq!(rig.peek(DATA, 512), image()[512..1024]);
}

#[test]
fn odd_pieces_of_a_write_join_without_a_gap() {
    let mut rig = settled();
    let bytes: Vec<u8> = (0..512_u32).map(|i| (i % 253).to_le_bytes()[0]).collect();
    rig.poke(DATA, &bytes);
    wide(
        &mut rig,
        &write10(5, 1),
        &[
            chmov(DataOut, 255, DATA),
            int(1),
            mov(DataOut, 257, DATA + 255),
            int_unless(Status, 2),
            int(3),
        ],
    );
    rig.assert_int(1);
    assert_eq!(rig.r8(at::SCNTL2) & WSS, WSS);
    assert_eq!(rig.r8(at::SODL), bytes[254]);
    rig.resume();
    rig.assert_int(3);
    assert_eq!(rig.r8(at::SCNTL2) & WSS, 0);
}

/// INQUIRY with an odd allocation length: 5 bytes and a pad.
#[test]
fn an_odd_end_leaves_the_pad_in_swide_and_is_announced() {
    let mut rig = settled();
    rig.poke(DATA, &[0xaa; 8]);
    wide(
        &mut rig,
        &[0x12, 0, 0, 0, 5, 0],
        &[
            chmov(DataIn, 5, DATA),
            int_unless(MessageIn, 1),
            mov(MessageIn, 2, TABLE + 0x40),
            int_unless(Status, 2),
            int(3),
        ],
    );
    rig.assert_int(3);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, WSR);
    assert_eq!(rig.peek(TABLE + 0x40, 2), [0x23, 1]);
    assert_eq!(rig.peek(DATA + 5, 3), [0xaa; 3]);
    // Writing the flag clears it.
    rig.script(&[alu(Operator::Or, at::SCNTL2, WSR), int(4)]);
    rig.assert_int(4);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, 0);
}

#[test]
fn an_odd_end_with_room_left_delivers_the_pad() {
    let mut rig = settled();
    rig.poke(DATA, &[0xaa; 8]);
    rig.w8(at::CCNTL0, 0x80);
    rig.w32(at::PMJAD1, SCRIPT + 5 * 8);
    wide(
        &mut rig,
        &[0x12, 0, 0, 0, 5, 0],
        &[
            chmov(DataIn, 8, DATA),
            int(1),
            mov(MessageIn, 2, TABLE + 0x40),
            int(2),
        ],
    );
    rig.assert_int(2);
    assert_eq!(rig.r32(at::RBC) & 0x00ff_ffff, 2);
    assert_eq!(rig.peek(DATA + 5, 2), [0, 0xaa]);
    assert_eq!(rig.peek(TABLE + 0x40, 2), [0x23, 1]);
}

/// The target has one byte more than the script's buffers: it is in SWIDE when the phase changes.
#[test]
fn a_last_byte_beyond_the_buffer_is_in_swide() {
    let mut rig = settled();
    wide(
        &mut rig,
        &[0x12, 0, 0, 0, 36, 0],
        &[
            chmov(DataIn, 35, DATA),
            int_unless(Status, 1),
            int(2),
            // WSR needs no bus: the byte comes from SWIDE.
            chmov(DataIn, 1, DATA + 35),
            int(3),
        ],
    );
    rig.assert_int(2);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, WSR);
    let byte = rig.r8(at::SWIDE);
    rig.resume();
    rig.assert_int(3);
    assert_eq!(rig.peek(DATA + 35, 1), [byte]);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, 0);
}

#[test]
fn a_phase_mismatch_with_wsr_counts_the_byte_as_received() {
    let mut rig = settled();
    rig.w8(at::CCNTL0, 0x80);
    rig.w32(at::PMJAD1, SCRIPT + 6 * 8);
    rig.w32(at::PMJAD2, SCRIPT + 7 * 8);
    wide(
        &mut rig,
        &[0x12, 0, 0, 0, 36, 0],
        &[
            chmov(DataIn, 35, DATA),
            int_unless(Status, 1),
            chmov(DataIn, 9, DATA + 64),
            int(4),
            int(5),
        ],
    );
    rig.assert_int(5);
    assert_eq!(rig.r32(at::RBC) & 0x00ff_ffff, 8);
    assert_eq!(rig.r32(at::UA), DATA + 64);
}

#[test]
fn a_narrow_bus_knows_no_residue() {
    let mut rig = settled();
    wide(&mut rig, &[0x12, 0, 0, 0, 5, 0], &[int(9)]);
    rig.assert_int(9);
    rig.w8(at::SCNTL3, 0);
    rig.script(&[mov(DataIn, 5, DATA), int_unless(Status, 1), int(2)]);
    assert_eq!(rig.interrupts(), (DIP, 4, 0));
    assert_eq!(rig.r32(at::DSPS), 2);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, 0);
}

/// The same as [`wide`] with the privilege to disconnect, on a disk whose requests wait until they are released.
fn wide_and_slow(cdb: &[u8], then: &[[u32; 2]]) -> (Rig, outrigger_block::DelayHandle) {
    let (mut rig, handle) = Rig::delayed();
    rig.settle();
    rig.w8(at::SCNTL3, 0x08);
    rig.nexus(&[0xc0], cdb, then);
    (rig, handle)
}

/// So many pieces that the target goes to its medium before all have come, in the middle of a word.
#[test]
fn a_target_does_not_disconnect_in_the_middle_of_a_word() {
    let mut moves: Vec<_> = (0..511).map(|n| chmov(DataIn, 2, DATA + 4 * n)).collect();
    moves.extend([
        chmov(DataIn, 1, DATA + 0x1000),
        chmov(DataIn, 513, DATA + 0x1001),
        mov(MessageIn, 2, TABLE + 0x40),
        int(1),
    ]);
    let (mut rig, handle) = wide_and_slow(&read10(1, 3), &moves);
    assert_eq!(handle.held(), 1);
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    assert_eq!(rig.r8(at::SBCL), 0x20);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, WSR);
    handle.release(1);
    rig.run();
    // The rest has been named, and now it does: SAVE DATA POINTERS, DISCONNECT.
    rig.run();
    assert_eq!(rig.peek(DATA + 0x1000, 1), [image()[512 + 1022]]);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, 0);
    assert_eq!(handle.held(), 1);
    handle.release(1);
    rig.run();
    assert_eq!(rig.peek(DATA + 0x1001, 513), image()[512 + 1023..2048]);
}

/// The last byte of a read belongs to the chip, although it must be read first.
#[test]
fn a_last_byte_is_waited_for() {
    let (mut rig, handle) = wide_and_slow(
        &read10(1, 1),
        &[chmov(DataIn, 511, DATA), int_unless(Status, 1), int(2)],
    );
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
    for _ in 0..2 {
        handle.release(1);
        rig.run();
    }
    rig.assert_int(2);
    assert_eq!(rig.r8(at::SCNTL2) & WSR, WSR);
    assert_eq!(rig.r8(at::SWIDE), image()[1023]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn any_cut_of_a_read_gives_the_same_bytes(
        cuts in proptest::collection::btree_set(1_u32..2048, 0..12),
        is_wide: bool,
    ) {
        let mut rig = settled();
        rig.w8(at::SCNTL3, if is_wide { 8 } else { 0 });
        let mut bounds: Vec<u32> = cuts.into_iter().collect();
        bounds.push(2048);
        let mut words = Vec::new();
        let mut from = 0;
        for to in bounds {
            words.push(chmov(DataIn, to - from, DATA + from));
            from = to;
        }
        words.extend([int_unless(Status, 1), int(2)]);
        rig.nexus(&[0x80], &read10(16, 4), &words);
        rig.assert_int(2);
        prop_assert_eq!(&rig.peek(DATA, 2048)[..], &image()[8192..10240]);
        prop_assert_eq!(rig.r8(at::SCNTL2) & WSR, 0);
    }
}

#[test]
fn only_the_895a_has_memory_to_share() {
    let shared = |model| {
        let mut rig = Rig::with(model, Backend::memory(image(), false));
        let ranges = rig.lsi.share_memory().expect("memory");
        let place = |range: &MemoryRange| (range.bar, range.offset, range.size);
        ranges.iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(shared(Model::Lsi53c895a), [(2, 0, 0x2000)]);
    assert_eq!(shared(Model::Lsi53c810), []);
}
