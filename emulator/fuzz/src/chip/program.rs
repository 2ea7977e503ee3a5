//! SCRIPTS as drivers have them, with parts that no driver has.

use outrigger_emulator::scsi::Bus;
use outrigger_fuzz::Input;

use crate::ram::{FIXED, RAM, Ram};

/// Where programs are in guest RAM.
pub(super) const SCRIPT: u32 = 0x1000;
/// Where tables, messages and CDBs are.
const TABLE: u32 = 0x4000;
/// Where data go.
const DATA: u32 = 0x8000;
/// DMA SCRIPTS pointer.
pub(super) const DSP: u8 = 0x2c;

/// Phases as instructions have them: data out, data in, command, status, message out, message in.
const PHASES: [u32; 6] = [0, 1, 2, 3, 6, 7];

/// An address: mostly one that there is.
fn address(base: u32, input: &mut Input<'_>) -> u32 {
    let choice = input.u8();
    let small = u32::from(choice & 0x3f);
    match choice >> 6 {
        0 => base + small * 8,
        1 => DATA + small * 64,
        2 => TABLE + small * 4,
        _ => match input.u8() & 7 {
            0 => u32::try_from(RAM).expect("small") - small,
            1 => u32::try_from(FIXED).expect("small") + small,
            2 => super::REGISTERS + small * 4,
            3 => super::SCRIPTS_RAM + small * 4,
            4 => 0xc000 + small,
            5 => small,
            _ => input.u32(),
        },
    }
}

/// So many instructions of any kind, for this place.
pub(super) fn generate(base: u32, count: usize, input: &mut Input<'_>) -> Vec<u32> {
    let mut words = Vec::new();
    for _ in 0..count {
        let choice = input.u8();
        let detail = u32::from(input.u8());
        match choice & 15 {
            0..=2 => {
                // MOVE or CHMOV, direct, indirect or by table.
                let phase = PHASES[input.below(PHASES.len())] << 24;
                let mode = detail & 3 << 4;
                let first = phase | mode << 24 | (detail & 8) << 24 | u32::from(input.u16());
                words.extend([first, address(base, input)]);
            }
            3 | 4 => {
                // SELECT, WAIT DISCONNECT, WAIT RESELECT, SET, CLEAR.
                let first = 0x4000_0000 | (detail & 7) << 27 | (detail & 0xf8) << 21;
                let second = u32::from(input.u8()) << 16;
                words.extend([
                    first | second | u32::from(input.u16()),
                    address(base, input),
                ]);
            }
            5 | 6 => {
                // Register to register.
                let first = 0x4000_0000 | (5 + detail % 3) << 27 | (detail & 0xf8) << 21;
                let registers = u32::from(input.u8()) << 16;
                words.extend([first | registers | u32::from(input.u16()), input.u32()]);
            }
            7..=9 => {
                // JUMP, CALL, RETURN, INT, on conditions.
                let first = 0x8000_0000 | (detail & 7) << 27 | u32::from(input.u8()) << 16;
                let phase = PHASES[input.below(PHASES.len())] << 24;
                words.extend([first | phase | u32::from(input.u16()), address(base, input)]);
            }
            10 => {
                // Memory to memory.
                let first = 0xc000_0000 | (detail & 1) << 24 | u32::from(input.u16());
                words.extend([first, address(base, input), address(base, input)]);
            }
            11 | 12 => {
                // LOAD and STORE.
                let first = 0xe000_0000 | (detail & 0x1f) << 24 | u32::from(input.u8()) << 16;
                words.extend([first | u32::from(input.u8() % 6), address(base, input)]);
            }
            13 => words.extend([0x9808_0000, detail]),
            _ => words.extend([input.u32(), input.u32()]),
        }
    }
    words
}

/// Selects a target and takes a command of it to its end.
pub(super) fn command(ram: &Ram, input: &mut Input<'_>) -> Vec<u32> {
    let choice = input.u8();
    let id = [0, 0, 3, 5][usize::from(choice & 3)];
    let mut messages = vec![0x80 | (choice >> 2 & 0x40) | u8::from(id == 3)];
    match choice >> 3 & 7 {
        0 | 1 => messages.extend([0x20, input.u8() & 7]),
        2 => messages.extend([0x21 + (input.u8() & 1), input.u8() & 7]),
        3 => {
            let count = input.below(8);
            messages.extend(input.bytes(count));
        }
        _ => {}
    }
    let first = input.u8();
    let mut cdb = vec![first];
    cdb.extend(input.bytes(Bus::cdb_length(first).unwrap_or(6).saturating_sub(1)));
    cdb.resize(Bus::cdb_length(first).unwrap_or(6).max(1), 0);
    let count = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a few");
    ram.gate.write(TABLE.into(), &messages).expect("RAM");
    ram.gate.write(u64::from(TABLE) + 0x40, &cdb).expect("RAM");
    let data = u32::from(input.u16());
    let phase = u32::from(choice >> 7);
    let mut words = vec![
        // SELECT ATN; MOVE, WHEN MESSAGE OUT; MOVE, WHEN COMMAND.
        0x4100_0000 | id << 16,
        SCRIPT + 8 * 12,
        0x0e00_0000 | count(&messages),
        TABLE,
        0x0a00_0000 | count(&cdb),
        TABLE + 0x40,
    ];
    // What comes in between: a disconnect and what follows, or anything.
    let between = usize::from(input.u8() & 3);
    words.extend(generate(SCRIPT, between, input));
    // Data, unless the target wants none: JUMP, WHEN NOT DATA; MOVE, WHEN DATA. A count of 0 would be illegal.
    if data != 0 {
        let status = place(&words) + 16;
        words.extend([0x8003_0000 | phase << 24, status]);
        words.extend([0x0800_0000 | phase << 24 | data, DATA]);
    }
    words.extend([
        // MOVE, WHEN STATUS; MOVE, WHEN MESSAGE IN.
        0x0b00_0000 | 1,
        TABLE + 0x80,
        0x0f00_0000 | 1,
        TABLE + 0x81,
        // CLEAR ACK; WAIT DISCONNECT; INT.
        0x6000_0040,
        0,
        0x4800_0000,
        0,
        0x9808_0000,
        0x99,
    ]);
    words
}

/// Where the next instruction is.
fn place(words: &[u32]) -> u32 {
    SCRIPT + 4 * u32::try_from(words.len()).expect("a few")
}
