//! What each kind of instruction leaves in the registers, on both chips: its operands and results, and nothing else.
//!
//! Every instruction is one single step; then all registers are compared with what they were before.

use std::collections::BTreeMap;

use super::asm::{
    alu, call, chmov, int, intfly, jump, load, mov, mov_indirect, mov_table, move_memory, ret,
    select_atn, select_atn_table, set, store, to_sfbr, wait_reselect,
};
use super::{DATA, REGISTERS, Rig, SCRIPT, TABLE};
use crate::lsi::Model::{self, Lsi53c810, Lsi53c895a};
use crate::lsi::Phase::{Command, DataIn, MessageOut, Status};
use crate::lsi::at;
use crate::lsi::scripts::{Operator, Signals};
use outrigger_block::Backend;

const BOTH: [Model; 2] = [Lsi53c895a, Lsi53c810];
const TEMP: u32 = 0x0012_3450;
const DSA: u32 = TABLE;
/// DCNTL: single step.
const SSM: u8 = 0x10;

/// Registers that show the bus, the interrupt or the instruction itself.
const APART: &[u8] = &[
    0x00, 0x01, 0x09, 0x0b, 0x0c, 0x0d, 0x0e,
    0x0f, // SCNTL0, SCNTL1, SOCL, SBCL, DSTAT, SSTAT0-2
    0x14, 0x1a, 0x42, 0x43, // ISTAT0, CTEST2, SIST0, SIST1
    0x20, 0x22, 0x24, 0x25, 0x26, 0x27, // DFIFO, CTEST5, DBC, DCMD
    0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, // DSP, DSPS
    0x50, 0x58, // SIDL, SBDL
];

/// Register bytes and their values.
type Bytes = Vec<(u8, u8)>;

/// A chip whose registers differ from their reset values where that is harmless.
fn rig(model: Model) -> Rig {
    let mut rig = Rig::with(model, Backend::memory(super::image(), false));
    rig.settle();
    for offset in (0x60..0xa0).step_by(4) {
        rig.w32(offset, 0x6060_6000 | u32::from(offset));
    }
    for (register, value) in [
        (at::DSA, DSA),
        (at::TEMP, TEMP),
        (at::DNAD, 0x2828_2828),
        (at::SCRATCHA, 0x3434_3434),
        (at::SCRATCHB, 0x5c5c_5c5c),
        (at::UA, 0xcccc_cccc),
        (at::RBC, 0xc8c8_c8c8),
        (at::ESA, 0xd0d0_d0d0),
        (at::IA, 0xd4d4_d4d4),
        (at::CSBC, 0xdcdc_0000),
    ] {
        rig.w32(register, value);
    }
    rig.w8(0x3a, 0x3a);
    rig.poke32(DATA, &[0x1122_3344, 0x5566_7788]);
    rig
}

fn snapshot(rig: &mut Rig) -> BTreeMap<u8, u8> {
    let apart = |offset: &u8| !APART.contains(offset);
    let offsets = (0..=u8::MAX).filter(apart);
    offsets.map(|offset| (offset, rig.r8(offset))).collect()
}

/// A register of four bytes has this value afterwards.
fn dword(offset: u8, value: u32) -> Bytes {
    (offset..).zip(value.to_le_bytes()).collect()
}

/// Executes the instruction that `words` begin with. Where DSP is then, in bytes behind its start, and DBC with DCMD; all else
/// is as before but for `changes`, and what of them the model has.
fn step(rig: &mut Rig, name: &str, words: &[u32], dsp: u32, dbc: u32, changes: &[Bytes]) {
    let model = rig.lsi.model;
    let mut expected = snapshot(rig);
    expected.insert(0x3b, rig.r8(at::DCNTL) | SSM);
    for &(offset, value) in changes.iter().flatten() {
        if model == Lsi53c895a || offset < 0x60 {
            expected.insert(offset, value);
        }
    }
    rig.poke32(SCRIPT, words);
    rig.w8(at::DCNTL, SSM);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    let name = format!("{name}, {model:?}");
    assert_eq!(rig.interrupts().1, 0x08, "{name}");
    assert_eq!(rig.r32(at::DSP), SCRIPT + dsp, "{name}: DSP");
    assert_eq!(rig.r32(at::DBC), dbc, "{name}: DBC, DCMD");
    assert_eq!(rig.r32(at::DSPS), words[1], "{name}: DSPS");
    let found = snapshot(rig);
    for (offset, value) in &found {
        assert_eq!(
            *value, expected[offset],
            "{name}: {offset:#x} is {value:#x}"
        );
    }
    rig.w8(at::DCNTL, 0);
}

/// Section 5.6: only CALL writes TEMP, only RETURN reads it, and a condition that does not hold leaves all alone.
#[test]
fn transfer_control() {
    let when_never = 0x0008_0000;
    for model in BOTH {
        let cases: [(&str, [u32; 2], u32, Vec<Bytes>); 10] = [
            ("JUMP", jump(SCRIPT + 0x40), 0x40, vec![]),
            ("JUMP not taken", [0x8000_0000, SCRIPT + 0x40], 8, vec![]),
            (
                "JUMP REL",
                [0x8088_0000, 0x10],
                0x18,
                vec![dword(at::ADDER, SCRIPT + 0x18)],
            ),
            (
                "CALL",
                call(SCRIPT + 0x40),
                0x40,
                vec![dword(at::TEMP, SCRIPT + 8)],
            ),
            (
                "CALL not taken",
                [call(0)[0] & !when_never, SCRIPT + 0x40],
                8,
                vec![],
            ),
            ("RETURN", ret(), TEMP - SCRIPT, vec![]),
            ("RETURN not taken", [ret()[0] & !when_never, 0], 8, vec![]),
            ("INT not taken", [int(0)[0] & !when_never, 7], 8, vec![]),
            ("INTFLY", intfly(), 8, vec![]),
            ("the empty instruction", [0, 0], 8, vec![]),
        ];
        for (name, words, dsp, changes) in cases {
            step(&mut rig(model), name, &words, dsp, words[0], &changes);
        }
    }
}

/// Section 5.5: the destination, and SFBR if it is one.
#[test]
fn registers() {
    for model in BOTH {
        let cases: [(&str, [u32; 2], Bytes); 4] = [
            (
                "to TEMP1",
                alu(Operator::Move, at::TEMP + 1, 0x5a),
                vec![(0x1d, 0x5a)],
            ),
            (
                "to DSA0",
                alu(Operator::Or, at::DSA, 0x5a),
                vec![(0x10, 0x5a)],
            ),
            ("to SBR", alu(Operator::Add, 0x3a, 1), vec![(0x3a, 0x3b)]),
            (
                "to SFBR",
                to_sfbr(Operator::Move, at::SFBR, 0x77),
                vec![(0x08, 0x77)],
            ),
        ];
        for (name, words, changes) in cases {
            step(&mut rig(model), name, &words, 8, words[0], &[changes]);
        }
    }
}

/// Sections 5.2 and 5.7: a memory move counts DBC down and leaves TEMP and DSA alone, unless it writes there.
#[test]
fn memory_moves() {
    let window = |offset: u8| REGISTERS + u32::from(offset);
    for model in BOTH {
        let cases: [(&str, u32, u32, Vec<Bytes>); 8] = [
            ("memory to memory", DATA, DATA + 0x40, vec![]),
            ("TEMP to memory", window(at::TEMP), DATA, vec![]),
            ("DSA to memory", window(at::DSA), DATA, vec![]),
            (
                "to TEMP",
                DATA,
                window(at::TEMP),
                vec![dword(at::TEMP, 0x1122_3344)],
            ),
            (
                "to DSA",
                DATA,
                window(at::DSA),
                vec![dword(at::DSA, 0x1122_3344)],
            ),
            (
                "to SCRATCHA",
                DATA,
                window(at::SCRATCHA),
                vec![dword(at::SCRATCHA, 0x1122_3344)],
            ),
            (
                "DSA to TEMP",
                window(at::DSA),
                window(at::TEMP),
                vec![dword(at::TEMP, DSA)],
            ),
            // The host's way cannot write SFBR (section 4.2, SFBR); SSID and SBCL are read-only.
            ("to SFBR", DATA, window(at::SFBR), vec![vec![(0x09, 0x33)]]),
        ];
        for (name, source, destination, changes) in cases {
            for no_flush in [0, 0x0100_0000] {
                let mut rig = rig(model);
                let first = move_memory(4, 0)[0] | no_flush;
                let words = [first, source, destination];
                step(&mut rig, name, &words, 12, first & 0xff00_0000, &changes);
                if name.ends_with("to memory") && name != "memory to memory" {
                    let value = if name == "DSA to memory" { DSA } else { TEMP };
                    assert_eq!(rig.peek32(DATA), value, "{name}");
                }
            }
        }
    }
}

/// Section 4.2, CTEST4: with SRTM, TEMP and DSA are the holding registers of memory moves, for reads and for writes.
#[test]
fn the_shadows_show_with_srtm() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.script(&[move_memory(4, DATA), [DATA + 0x40, int(1)[0]], [1, 0]]);
        rig.assert_int(1);
        assert_eq!((rig.r32(at::TEMP), rig.r32(at::DSA)), (TEMP, DSA));
        rig.w8(at::CTEST4, 0x10);
        assert_eq!((rig.r32(at::TEMP), rig.r32(at::DSA)), (DATA + 0x40, DATA));
        rig.w32(at::TEMP, 0x0102_0304);
        rig.w8(at::DSA + 2, 0x99);
        assert_eq!(rig.r32(at::TEMP), 0x0102_0304);
        assert_eq!(rig.r32(at::DSA), 0x0099_0000 | DATA & 0xff00_ffff);
        // SCRIPTS access registers too, and use TEMP and DSA themselves.
        rig.script(&[
            to_sfbr(Operator::Or, at::TEMP, 0),
            call(SCRIPT + 3 * 8),
            int(2),
            ret(),
        ]);
        rig.assert_int(2);
        assert_eq!(rig.r8(at::SFBR), 0x04);
        assert_eq!(rig.r32(at::TEMP), 0x0102_0304);
        rig.w8(at::CTEST4, 0);
        assert_eq!((rig.r32(at::TEMP), rig.r32(at::DSA)), (SCRIPT + 16, DSA));
        // SRST clears them as it does the registers.
        rig.w8(at::ISTAT0, 0x40);
        rig.w8(at::ISTAT0, 0x00);
        rig.w8(at::CTEST4, 0x10);
        assert_eq!((rig.r32(at::TEMP), rig.r32(at::DSA)), (0, 0), "{model:?}");
    }
}

/// Section 5.8.
#[test]
fn loads_and_stores() {
    let mut rig = rig(Lsi53c895a);
    let words = load(at::TEMP, 4, DATA);
    let loaded = [dword(at::TEMP, 0x1122_3344)];
    step(&mut rig, "LOAD", &words, 8, words[0], &loaded);
    let words = store(at::TEMP, 4, DATA + 8);
    step(&mut rig, "STORE", &words, 8, words[0], &[]);
    assert_eq!(rig.peek32(DATA + 8), 0x1122_3344);
    // Section 4.2, SFBR: no LOAD writes it.
    let words = load(at::SFBR, 2, DATA);
    let loaded = [vec![(0x09, 0x33)]];
    step(&mut rig, "LOAD of SFBR", &words, 8, words[0], &loaded);
    let words = load(at::SCRATCHA + 1, 2, DATA + 1);
    let loaded = [vec![(0x35, 0x33), (0x36, 0x22)]];
    step(&mut rig, "LOAD of two bytes", &words, 8, words[0], &loaded);
    // In I/O space only the chip's own registers answer, which a LOAD may not reach.
    for (dmode, words, dstat) in [
        (0x20, load(at::SCRATCHA, 4, DATA), 0x20),
        (0x20, load(at::SCRATCHA, 4, 0xc034), 0x01),
        (0x10, store(at::SCRATCHA, 4, DATA), 0x20),
        (0x10, store(at::SCRATCHA, 4, 0xc034), 0x01),
    ] {
        rig.w8(at::DMODE, dmode);
        rig.script(&[words]);
        assert_eq!(rig.interrupts().1, dstat, "{dmode:#x} {words:x?}");
    }
    rig.w8(at::DMODE, 0x10);
    rig.script(&[load(at::SCRATCHA, 4, DATA), int(1)]);
    rig.assert_int(1);
}

/// Section 5.4: SELECT loads the registers of its table entry; the entry's place is in DSPS and DBC as fetched.
#[test]
fn selections() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.poke32(TABLE + 0x20, &[0x3300_0500]);
        let words = select_atn_table(0x20, SCRIPT + 0x40);
        let changes = [
            vec![(0x02, 0x80), (0x03, 0x33), (0x05, 0x05)],
            dword(at::DNAD, SCRIPT + 0x40),
        ];
        step(&mut rig, "SELECT FROM", &words, 8, words[0], &changes);
        let words = set(Signals {
            atn: true,
            ..Signals::default()
        });
        step(&mut rig, "SET ATN", &words, 8, words[0], &[]);
        // The target is there already: the alternate address.
        let words = select_atn(0, SCRIPT + 0x44);
        let changes = [dword(at::DNAD, SCRIPT + 0x44)];
        step(&mut rig, "SELECT", &words, 0x44, words[0], &changes);
        let words = wait_reselect(SCRIPT + 0x40);
        let changes = [dword(at::DNAD, SCRIPT + 0x40)];
        step(&mut rig, "WAIT RESELECT", &words, 8, words[0], &changes);
    }
}

/// What a block move leaves: DNAD behind the data (section 4.2), and on the 53C895A the context of a phase mismatch (section 4.4).
fn moved(address: u32, count: u32, instruction: u32, entry: u32) -> Bytes {
    let registers = [
        (at::DNAD, address + count),
        (at::IA, instruction),
        (at::ESA, entry),
        (at::SBC, count),
    ];
    let bytes = |(offset, value)| dword(offset, value);
    registers.into_iter().flat_map(bytes).collect()
}

/// Section 5.3: direct, indirect and by table. CHM is the 53C895A's.
#[test]
fn block_moves() {
    for model in BOTH {
        let chained = |wide: u8| if model == Lsi53c895a { wide } else { 0x80 };
        let mut rig = rig(model);
        rig.poke(TABLE, &[0x80]);
        rig.poke(TABLE + 0x10, &super::read10(2, 2));
        rig.poke32(TABLE + 0x30, &[10, TABLE + 0x10]);
        rig.poke32(TABLE + 0x38, &[DATA + 0x100]);
        rig.script(&[select_atn(0, 0), int(1)]);
        rig.assert_int(1);

        let words = chmov(MessageOut, 1, TABLE);
        let changes = [moved(TABLE, 1, SCRIPT, SCRIPT), vec![(0x02, chained(0xc0))]];
        step(
            &mut rig,
            "MESSAGE OUT",
            &words,
            8,
            words[0] & 0xff00_0000,
            &changes,
        );
        let words = mov_table(Command, 0x30);
        let changes = [
            moved(TABLE + 0x10, 10, SCRIPT, TABLE + 0x30),
            vec![(0x02, 0x80)],
        ];
        step(
            &mut rig,
            "COMMAND",
            &words,
            8,
            words[0] & 0xff00_0000,
            &changes,
        );
        // Asynchronous: SFBR is the first byte.
        let words = mov_indirect(DataIn, 1000, TABLE + 0x38);
        let [first, ..] = super::image()[1024..] else {
            unreachable!();
        };
        let changes = [
            moved(DATA + 0x100, 1000, SCRIPT, SCRIPT),
            vec![(0x08, first)],
            dword(at::CSBC, 0xdcdc_0000 + 1000),
        ];
        step(
            &mut rig,
            "DATA IN",
            &words,
            8,
            words[0] & 0xff00_0000,
            &changes,
        );
        let words = mov(DataIn, 24, DATA);
        rig.script(&[words, int(2)]);
        rig.assert_int(2);
        let words = mov(Status, 1, TABLE + 0x60);
        let changes = [moved(TABLE + 0x60, 1, SCRIPT, SCRIPT), vec![(0x08, 0)]];
        step(
            &mut rig,
            "STATUS",
            &words,
            8,
            words[0] & 0xff00_0000,
            &changes,
        );
    }
}

/// What the 53C810 lacks shows nothing of the chip's work: it is no CHM, IA, SBC or RBC there.
#[test]
fn what_the_53c810_lacks_reads_as_nothing() {
    let mut rig = rig(Lsi53c810);
    rig.poke32(TABLE + 0x40, &[0x300, DATA]);
    rig.nexus(
        &[0x80],
        &super::read10(2, 1),
        &[chmov(MessageOut, 1, TABLE), int(1)],
    );
    // A phase mismatch, and what it leaves.
    assert_eq!(rig.interrupts().2, 0x80);
    rig.script(&[mov_table(DataIn, 0x40)]);
    assert_eq!(rig.interrupts().2, 0x80);
    assert_eq!(rig.r8(at::SCNTL2), 0x80);
    for offset in (0x15..=0x17)
        .chain([0x45, 0x4b, 0x51, 0x52, 0x55, 0x56, 0x57])
        .chain(0x60..=0xff)
    {
        assert_eq!(rig.r8(offset), 0, "{offset:#x}");
    }
}

/// A refused instruction has been fetched, and that is all (section 4.2, DSTAT.IID).
#[test]
fn illegal_instructions() {
    for model in BOTH {
        let mut rig = rig(model);
        let before = snapshot(&mut rig);
        for words in [[0xa000_0000, 7], [0x3800_0001, 7], mov(DataIn, 0, DATA)] {
            rig.script(&[words]);
            assert_eq!(rig.interrupts().1, 0x01);
            assert_eq!(rig.r32(at::DSP), SCRIPT + 8);
            assert_eq!([rig.r32(at::DBC), rig.r32(at::DSPS)], words);
            assert_eq!(snapshot(&mut rig), before, "{words:x?}");
        }
    }
}
