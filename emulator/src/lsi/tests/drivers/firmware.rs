//! The way of SeaBIOS and OVMF: SCRIPTS for one command, without interrupts.

use super::super::asm::{chmov, int, mov, select, wait_reselect};
use super::super::{DATA, Rig, SCRIPT, SIP, TABLE, image, read10};
use crate::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::at;
use outrigger_device::device::Width;

/// The way SeaBIOS reads: no ATN, no disconnect privilege, a CDB of 16 bytes whatever its length, DSP written
/// byte by byte through the I/O BAR, and polling.
#[test]
fn seabios_reads_a_sector() {
    let mut rig = Rig::new();
    rig.settle();
    rig.write(0, 0x14, Width::Byte, 0x40);
    let (message_out, cdb, message_in, status) = (TABLE, TABLE + 0x10, TABLE + 0x30, TABLE + 0x34);
    for attempt in 0..2 {
        rig.poke(message_out, &[0x80]);
        rig.poke(cdb, &[0xee; 16]);
        rig.poke(cdb, &read10(3 + attempt, 1));
        let words = [
            select(0, 0),
            chmov(MessageOut, 1, message_out),
            chmov(Command, 16, cdb),
            [0x8782_0000, 0x18], // JUMP REL(24), IF NOT MSG_IN
            mov(MessageIn, 2, message_in),
            wait_reselect(0),
            mov(MessageIn, 2, message_in),
            chmov(DataIn, 512, DATA),
            mov(Status, 1, status),
            mov(MessageIn, 1, message_in),
            int(0x0401),
        ];
        rig.poke32(SCRIPT, words.as_flattened());
        for (offset, byte) in (0x2c..).zip(SCRIPT.to_le_bytes()) {
            rig.write(0, offset, Width::Byte, u64::from(byte));
            if offset < 0x2f {
                rig.run();
                assert_eq!(rig.r8(at::ISTAT0), if attempt == 0 { 0x40 } else { 0x48 });
            }
        }
        rig.run();
        assert_eq!(rig.r8(at::SIST0), 0);
        assert_eq!(rig.r8(at::SIST1), 0);
        assert_eq!(rig.r8(at::DSTAT) & 0x7f, 0x04);
        assert_eq!(rig.peek(status, 1), [0]);
        let block = 3 + attempt as usize;
        assert_eq!(rig.peek(DATA, 512), image()[512 * block..512 * (block + 1)]);
    }
}

/// A command without data has two empty Dwords in its script.
#[test]
fn seabios_tests_whether_the_unit_is_ready() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0x80]);
    for expected in [0x02, 0x00] {
        rig.script(&[
            select(0, 0),
            chmov(MessageOut, 1, TABLE),
            chmov(Command, 16, TABLE + 0x10),
            [0x8782_0000, 0x18],
            mov(MessageIn, 2, TABLE + 0x30),
            wait_reselect(0),
            mov(MessageIn, 2, TABLE + 0x30),
            [0, 0],
            mov(Status, 1, TABLE + 0x34),
            mov(MessageIn, 1, TABLE + 0x35),
            int(0x0401),
        ]);
        rig.assert_int(0x0401);
        assert_eq!(rig.peek(TABLE + 0x34, 2), [expected, 0]);
    }
}

/// OVMF counts what has moved by CSBC, which it clears before; the target has less than there is room for.
#[test]
fn ovmf_reads_how_much_has_moved_from_csbc() {
    let mut rig = Rig::new();
    rig.settle();
    rig.w32(at::CSBC, 0);
    rig.poke(TABLE, &[0x80]);
    rig.poke(TABLE + 0x10, &[0x12, 0, 0, 0, 255, 0]);
    rig.script(&[
        select(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 6, TABLE + 0x10),
        [0x8782_0000, 0x18],
        mov(MessageIn, 2, TABLE + 0x30),
        wait_reselect(0),
        mov(MessageIn, 2, TABLE + 0x30),
        mov(DataIn, 255, DATA),
        mov(Status, 1, TABLE + 0x34),
        mov(MessageIn, 1, TABLE + 0x35),
        int(1),
    ]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x80));
    let length = 5 + u32::from(rig.peek(DATA + 4, 1)[0]);
    assert_eq!(rig.r32(at::CSBC), length);
}

/// Nobody at the ID: SeaBIOS sees a SIST bit.
#[test]
fn seabios_finds_no_disk() {
    let mut rig = Rig::new();
    rig.script(&[select(4, 0), chmov(MessageOut, 1, TABLE), int(0x0401)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0400));
}
