//! Programs in the patterns of drivers and boot ROMs, each on every chip that it knows: Linux here, others in files of their own.

mod esiop;
mod firmware;
mod miniport;
mod probing;
mod program;
mod siop;

use super::asm::{
    clear_ack, int, int_unless, intfly, jump, jump_unless, jump_when, load_dsa, mov, mov_indirect,
    mov_table, select_atn, select_atn_table, wait_disconnect,
};
use super::{DATA, DIP, INTF, Rig, SCRIPT, SIP, TABLE, image, length, read10, write10};
use crate::lsi::Model;
use crate::lsi::Phase::{Command, DataIn, DataOut, MessageIn, MessageOut, Status};
use crate::lsi::at;
use outrigger_block::Backend;

const BOTH: [Model; 2] = [Model::Lsi53c895a, Model::Lsi53c810];

fn rig(model: Model) -> Rig {
    rig_with(model, Backend::memory(image(), false))
}

fn rig_with(model: Model, backend: Backend) -> Rig {
    Rig::with(model, backend)
}

/// A Linux-like nexus: everything from a table at DSA, a tag, LOADs of the status words, INTFLY at the end.
fn tagged(rig: &mut Rig, cdb: &[u8], data: (crate::lsi::Phase, u32)) {
    rig.poke32(
        TABLE,
        &[
            0x0300_0000, // select: SCNTL3, ID, SXFER
            3,           // messages
            TABLE + 0x40,
            length(cdb), // CDB
            TABLE + 0x50,
            data.1, // data
            DATA,
            0x0000_5a5a, // status words for SCR0
        ],
    );
    rig.poke(TABLE + 0x40, &[0xc0, 0x20, 0x17]);
    rig.poke(TABLE + 0x50, cdb);
    rig.w32(at::DSA, TABLE);
    rig.script(&[
        select_atn_table(0, SCRIPT + 14 * 8),
        load_dsa(at::SCRATCHA, 4, 0x1c),
        int_unless(MessageOut, 1),
        mov_table(MessageOut, 4),
        jump_unless(Command, SCRIPT + 13 * 8),
        mov_table(Command, 12),
        int_unless(data.0, 2),
        mov_table(data.0, 20),
        mov(Status, 1, TABLE + 0x60),
        mov(MessageIn, 1, TABLE + 0x61),
        clear_ack(),
        wait_disconnect(),
        intfly(),
        int(0x77),
        int(0x78),
    ]);
}

#[test]
fn a_tagged_read_through_tables() {
    let mut rig = Rig::new();
    rig.settle();
    tagged(&mut rig, &read10(8, 4), (DataIn, 2048));
    assert_eq!(rig.r8(at::ISTAT0), INTF | DIP);
    rig.w8(at::ISTAT0, INTF);
    rig.assert_int(0x77);
    assert_eq!(rig.peek(DATA, 2048), image()[4096..6144]);
    assert_eq!(rig.peek(TABLE + 0x60, 2), [0, 0]);
    assert_eq!(rig.r8(at::SCNTL3), 3);
    assert_eq!(rig.r32(at::SCRATCHA), 0x5a5a);
    assert_eq!(rig.r32(at::CSBC), 2048);
}

#[test]
fn a_tagged_write_reaches_the_disk() {
    let mut rig = Rig::new();
    rig.settle();
    let bytes: Vec<u8> = (0..1024_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    rig.poke(DATA, &bytes);
    tagged(&mut rig, &write10(100, 2), (DataOut, 1024));
    rig.w8(at::ISTAT0, INTF);
    rig.assert_int(0x77);
    rig.poke(DATA, &[0; 1024]);
    assert_eq!(rig.command(&read10(100, 2), Some((DataIn, 1024))), 0);
    assert_eq!(rig.peek(DATA, 1024), bytes);
}

/// IDs beyond 7 and logical units beyond 0, with each kind of tag.
#[test]
fn high_ids_units_and_all_tags() {
    let mut rig = Rig::new();
    for (attempt, tag) in [0x20, 0x20, 0x21, 0x22].into_iter().enumerate() {
        rig.poke(TABLE, &[0xc5, tag, 9]);
        rig.poke(TABLE + 0x10, &read10(7, 1));
        rig.script(&[
            select_atn(12, 0),
            mov(MessageOut, 3, TABLE),
            mov(Command, 10, TABLE + 0x10),
            jump_unless(DataIn, SCRIPT + 5 * 8),
            mov(DataIn, 512, DATA),
            mov(Status, 1, TABLE + 0x30),
            mov(MessageIn, 1, TABLE + 0x31),
            clear_ack(),
            wait_disconnect(),
            int(1),
        ]);
        rig.assert_int(1);
        // The first command meets the unit attention of power-on.
        let expected = if attempt == 0 { 2 } else { 0 };
        assert_eq!(rig.peek(TABLE + 0x30, 1), [expected]);
    }
    assert_eq!(rig.peek(DATA, 512), vec![0x3c; 512]);
    // ID 12 has no LUN 0: INQUIRY tells.
    rig.poke(TABLE, &[0x80]);
    rig.poke(TABLE + 0x10, &[0x12, 0, 0, 0, 36, 0]);
    rig.script(&[
        select_atn(12, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 6, TABLE + 0x10),
        mov(DataIn, 36, DATA),
        int(2),
    ]);
    rig.assert_int(2);
    assert_eq!(rig.peek(DATA, 1), [0x7f]);
}

#[test]
fn indirect_moves_follow_the_pointer() {
    let mut rig = Rig::new();
    rig.settle();
    rig.poke(TABLE, &[0x80]);
    rig.poke(TABLE + 0x10, &read10(1, 1));
    rig.poke32(TABLE + 0x20, &[DATA + 0x100]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 10, TABLE + 0x10),
        mov_indirect(DataIn, 512, TABLE + 0x20),
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(rig.peek(DATA + 0x100, 512), image()[512..1024]);
}

#[test]
fn sixty_four_bit_direct_moves_have_three_dwords() {
    let mut rig = Rig::new();
    rig.settle();
    rig.w8(at::CCNTL1, 0x01);
    rig.poke(TABLE, &[0x80]);
    let identify = mov(MessageOut, 1, TABLE);
    let words = [select_atn(0, 0), identify, [0, int(6)[0]], [6, 0]];
    rig.script(&words);
    rig.assert_int(6);
    // The upper half counts.
    let words = [
        select_atn(0, SCRIPT + 8),
        mov(Command, 6, TABLE),
        [7, int(6)[0]],
        [6, 0],
    ];
    rig.script(&words);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    assert_eq!(rig.r32(at::DBMS), 7);
}

#[test]
fn sixty_four_bit_tables_select_the_upper_half() {
    for (ccntl1, top, selector) in [
        (0x06, 0x07, None),
        (0x02, 0x01, Some(0x64)), // SCRATCHD
        (0x02, 0x11, Some(at::MMWS)),
    ] {
        let mut rig = Rig::new();
        rig.settle();
        rig.w8(at::CCNTL1, ccntl1);
        if let Some(selector) = selector {
            rig.w32(selector, 7);
        }
        rig.poke32(TABLE, &[top << 24 | 1, TABLE + 0x40]);
        rig.w32(at::DSA, TABLE);
        rig.script(&[select_atn(0, 0), mov_table(MessageOut, 0)]);
        assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
        assert_eq!(rig.r32(at::DNAD64), 7);
        // A table entry may choose DBMS itself, so that no move by table may change it.
        assert_eq!(rig.r32(at::DBMS), 0);
    }
}

/// A target that has less than the driver's buffer: the move is cut short.
fn short_read(rig: &mut Rig, ccntl0: u8) {
    rig.settle();
    rig.w8(at::CCNTL0, ccntl0);
    rig.w32(at::PMJAD1, SCRIPT + 7 * 8);
    rig.w32(at::PMJAD2, SCRIPT + 8 * 8);
    rig.poke(TABLE, &[0x80]);
    rig.poke(TABLE + 0x10, &read10(2, 1));
    rig.poke32(TABLE + 0x40, &[0x0000_0300, DATA]);
    rig.w32(at::DSA, TABLE);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 10, TABLE + 0x10),
        mov_table(DataIn, 0x40),
        int(1),
        int(2),
        int(3),
        int(4),
        int(5),
    ]);
}

#[test]
fn a_phase_mismatch_interrupts_with_the_residue_in_dbc() {
    let mut rig = Rig::new();
    short_read(&mut rig, 0);
    assert_eq!(rig.r32(at::DBC), 0x1900_0100);
    assert_eq!(rig.r32(at::DNAD), DATA + 512);
    assert_eq!(rig.r32(at::DSP), SCRIPT + 4 * 8);
    // What Linux adds to the residue must be nothing.
    assert_eq!(rig.r8(at::DFIFO), 0);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0080));
    assert_eq!(rig.r8(at::SSTAT1) & 7, Status.bits());
}

#[test]
fn a_phase_mismatch_jumps_with_the_whole_context() {
    for (ccntl0, number) in [(0x80, 4), (0xc0, 5)] {
        let mut rig = Rig::new();
        short_read(&mut rig, ccntl0);
        rig.assert_int(number);
        assert_eq!(rig.r32(at::RBC), 0x100);
        assert_eq!(rig.r32(at::UA), DATA + 512);
        assert_eq!(rig.r32(at::IA), SCRIPT + 3 * 8);
        assert_eq!(rig.r32(at::ESA), TABLE + 0x40);
        assert_eq!(rig.r32(at::SBC) & 0x00ff_ffff, 512);
    }
}

#[test]
fn outside_the_data_phases_the_jump_needs_enndj() {
    for (ccntl0, interrupts) in [(0x80, (SIP, 0, 0x80)), (0xa0, (DIP, 4, 0))] {
        let mut rig = Rig::new();
        rig.w8(at::CCNTL0, ccntl0);
        rig.w32(at::PMJAD1, SCRIPT + 16);
        rig.script(&[select_atn(0, 0), mov(Status, 1, TABLE), int(1)]);
        assert_eq!(rig.interrupts(), interrupts);
    }
}

#[test]
fn negotiations_are_answered_before_the_command() {
    let mut rig = Rig::new();
    rig.settle();
    rig.poke(TABLE, &[0xc0, 1, 6, 4, 9, 0, 62, 1, 2]);
    rig.poke(TABLE + 0x10, &[0; 6]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 9, TABLE),
        int_unless(MessageIn, 1),
        mov(MessageIn, 1, TABLE + 0x40),
        clear_ack(),
        mov(MessageIn, 1, TABLE + 0x41),
        clear_ack(),
        mov(MessageIn, 6, TABLE + 0x42),
        clear_ack(),
        int_unless(Command, 2),
        mov(Command, 6, TABLE + 0x10),
        jump_when(Status, SCRIPT + 13 * 8),
        int(3),
        mov(Status, 1, TABLE + 0x50),
        mov(MessageIn, 1, TABLE + 0x51),
        clear_ack(),
        wait_disconnect(),
        int(4),
    ]);
    rig.assert_int(4);
    assert_eq!(rig.peek(TABLE + 0x40, 8), [1, 6, 4, 10, 0, 31, 1, 0]);
}

#[test]
fn sidl_and_sfbr_hold_message_bytes() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0xc0, 1, 3, 1, 25, 15]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 6, TABLE),
        mov(MessageIn, 5, TABLE + 0x40),
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(rig.r8(at::SFBR), 1);
    assert_eq!(rig.r8(at::SIDL), 15);
    // REQ waits behind ACK: BSY and ACK.
    assert_eq!(rig.r8(at::SBCL), 0x60);
    assert_eq!(rig.r8(at::ISTAT0), 0x08);
}

#[test]
fn an_unknown_message_is_rejected_and_a_half_one_awaited() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0xc0, 0x11, 0x01]);
    rig.poke(TABLE + 0x10, &[3, 1, 25, 15]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 3, TABLE),
        int_unless(MessageOut, 1),
        mov(MessageOut, 4, TABLE + 0x10),
        mov(MessageIn, 6, TABLE + 0x40),
        jump(SCRIPT + 6 * 8),
        int(2),
    ]);
    rig.assert_int(2);
    assert_eq!(rig.peek(TABLE + 0x40, 6), [7, 1, 3, 1, 25, 15]);
}
