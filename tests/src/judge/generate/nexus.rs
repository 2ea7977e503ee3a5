//! Programs that talk to a disk: selection, messages, a command, its data, status, and the end.

use outrigger_emulator::lsi::{Model, Phase};

use super::{alu, instruction, one_in, pick};
use crate::judge::chip::{Action, at};
use crate::judge::program::{DATA, Item, Program, TABLE};
use crate::random::Random;

/// Where messages and the CDB are.
const MESSAGES: u32 = TABLE + 0x300;
const CDB: u32 = TABLE + 0x320;
/// Where status and messages of the target go.
const ANSWERS: u32 = TABLE + 0x340;
/// Where table entries and pointers are, from DSA on.
const ENTRIES: u32 = 0x40;

/// Where SCRIPTS go at a phase mismatch, one place for each jump address.
const MISMATCH: [u32; 2] = [TABLE + 0x380, TABLE + 0x3c0];

/// Bits of CCNTL1.
const EN64DBMV: u8 = 0x01;
const EN64TIBMV: u8 = 0x02;
const TIMOD64: u8 = 0x04;

/// A command whose answer does not wait for a medium, and how its data go.
const COMMANDS: [(&[u8], Phase, u32); 9] = [
    (&[0x03, 0, 0, 0, 12, 0], Phase::DataIn, 12),
    (&[0x00, 0, 0, 0, 0, 0], Phase::Status, 0),
    (&[0x12, 0, 0, 0, 4, 0], Phase::DataIn, 4),
    (&[0x12, 1, 0x80, 0, 3, 0], Phase::DataIn, 3),
    (&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Phase::DataIn, 8),
    (&[0x1a, 0, 0x08, 0, 24, 0], Phase::DataIn, 24),
    (&[0x5a, 0, 0x08, 0, 0, 0, 0, 0, 28, 0], Phase::DataIn, 28),
    (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], Phase::DataIn, 16),
    (&[0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0], Phase::DataOut, 512),
];

/// Builds the script step by step.
struct Script<'a> {
    random: &'a mut Random,
    program: &'a mut Program,
    entries: u32,
    /// CCNTL1.
    addressing: u8,
    /// CCNTL0.ENPMJ.
    jumps: bool,
}

/// Fills the program.
pub(super) fn fill(random: &mut Random, program: &mut Program) {
    program.ready = !one_in(random, 4);
    let mut script = Script {
        random,
        program,
        entries: ENTRIES,
        addressing: 0,
        jumps: false,
    };
    if script.program.model == Model::Lsi53c895a {
        if one_in(script.random, 3) {
            script.jump_at_mismatches();
        }
        if one_in(script.random, 3) {
            script.address_above();
        }
    }
    script.select();
    script.noise();
    // What REQUEST SENSE says after a reset is the disk's matter.
    let commands = if script.program.ready {
        &COMMANDS
    } else {
        &COMMANDS[1..]
    };
    let command = pick(script.random, commands);
    script.messages(command.1);
    script.noise();
    let (phase, bytes) = script.command(command);
    script.noise();
    script.data(phase, bytes);
    script.noise();
    script.end();
    if one_in(random, 10) {
        // One instruction too few.
        let gone = random.below(u32::try_from(program.items.len()).unwrap_or(1));
        program.items.remove(gone as usize);
    }
}

impl Script<'_> {
    fn push(&mut self, words: &[u32]) {
        self.program.items.push(Item::plain(words));
    }

    fn note(&mut self, address: u32, bytes: &[u8]) {
        self.program.memory.push((address, bytes.to_vec()));
    }

    /// Turns phase mismatch jumps on (section 4.4): the command is ended there.
    fn jump_at_mismatches(&mut self) {
        self.jumps = true;
        // ENPMJ, often PMJCTL, sometimes ENNDJ.
        let control = 0x80 | pick(self.random, &[0, 0x40, 0x40]) | pick(self.random, &[0, 0, 0x20]);
        let setup = &mut self.program.setup;
        setup.push(Action::byte(at::CCNTL0, control));
        for (register, place) in [at::PMJAD1, at::PMJAD2].into_iter().zip(MISMATCH) {
            setup.push(Action::dword(register, place));
            let words = [
                [0x0b00_0001, ANSWERS],
                [0x0f00_0001, ANSWERS + 1],
                [0x6000_0040, 0],
                [0x4800_0000, 0],
                [0x9808_0000, place],
            ];
            let words = words.iter().flatten().copied();
            let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
            self.program.memory.push((place, bytes));
        }
    }

    /// Lets addresses have more than 32 bits (section 4.2, CCNTL1).
    fn address_above(&mut self) {
        // The code for phase mismatches has direct moves of the short kind.
        self.addressing = if self.jumps {
            pick(self.random, &[EN64TIBMV, EN64TIBMV | TIMOD64])
        } else {
            pick(
                self.random,
                &[
                    EN64DBMV,
                    EN64DBMV | EN64TIBMV,
                    EN64TIBMV,
                    EN64TIBMV | TIMOD64,
                    EN64DBMV | EN64TIBMV | TIMOD64,
                ],
            )
        };
        self.program.long = true;
        let setup = &mut self.program.setup;
        setup.push(Action::byte(at::CCNTL1, self.addressing));
        // Upper halves: SCRATCHC to SCRATCHR by number, MMRS to DBMS.
        for register in (0x60..0xa0).step_by(4).chain([0xa0, 0xa4, 0xa8, 0xac]) {
            let upper = u32::from((0x60..0xa0).contains(&register) && register & 4 != 0);
            setup.push(Action::dword(register, upper));
        }
    }

    /// Something that has nothing to do with the bus, sometimes.
    fn noise(&mut self) {
        while one_in(self.random, 3) {
            let here = self.program.items.len();
            let model = self.program.model;
            let item = match self.random.below(4) {
                0 => instruction(self.random, model, here, here + 1),
                1 => {
                    // IF or WHEN some phase, go on with the next instruction.
                    let first = 0x8002_0000
                        | self.random.below(8) << 24
                        | self.random.below(2) << 19
                        | self.random.below(2) << 16;
                    Item {
                        words: vec![first, 0],
                        target: Some(here + 1),
                    }
                }
                _ => alu(self.random, model),
            };
            self.program.items.push(item);
        }
    }

    /// An offset from DSA.
    fn entry(&mut self, bytes: &[u8]) -> u32 {
        let offset = self.entries;
        self.entries += 8;
        self.note(TABLE + offset, bytes);
        offset
    }

    fn select(&mut self) {
        let id = if one_in(self.random, 12) {
            self.random.below(8)
        } else {
            pick(self.random, &[0, 2])
        };
        let mut first = 0x4000_0000 | u32::from(!one_in(self.random, 8)) << 24;
        if one_in(self.random, 2) {
            let clock = pick(self.random, &[0, 0, 0x33]);
            let narrow = [0, 0, id.to_le_bytes()[0], clock];
            first |= 1 << 25 | self.entry(&narrow);
        } else {
            first |= id << 16;
        }
        let relative = u32::from(one_in(self.random, 2));
        let item = Item {
            words: vec![first | relative << 26, 0],
            target: Some(usize::MAX),
        };
        self.program.items.push(item);
    }

    /// A block move: direct, indirect or by table.
    fn block_move(&mut self, phase: Phase, count: u32, address: u32) {
        // QEMU has addresses above 4 GiB for data only.
        let above = phase.is_data() && one_in(self.random, 2);
        let phase = u32::from(phase.bits()) << 24;
        let opcode = u32::from(!one_in(self.random, 6)) << 27;
        match self.random.below(4) {
            0 => {
                let offset = self.entry(&address.to_le_bytes());
                self.push(&[1 << 29 | opcode | phase | count, TABLE + offset]);
            }
            1 => {
                // The upper half itself, or the number of the register that has it.
                let top = match self.addressing & (EN64TIBMV | TIMOD64) {
                    0 => 0,
                    EN64TIBMV if above && one_in(self.random, 20) => self.random.below(0x20),
                    EN64TIBMV => 2 * self.random.below(8) + u32::from(above),
                    _ => u32::from(above),
                };
                let mut bytes = (top << 24 | count).to_le_bytes().to_vec();
                bytes.extend(address.to_le_bytes());
                let offset = self.entry(&bytes);
                self.push(&[1 << 28 | opcode | phase, offset]);
            }
            _ if self.addressing & EN64DBMV != 0 => {
                self.push(&[opcode | phase | count, address, u32::from(above)]);
            }
            _ => self.push(&[opcode | phase | count, address]),
        }
    }

    fn messages(&mut self, phase: Phase) {
        // Whether a target disconnects when it may and its medium is slow is its own choice.
        let may_disconnect = phase != Phase::DataOut && one_in(self.random, 4);
        let mut bytes = vec![if may_disconnect { 0xc0 } else { 0x80 }];
        match self.random.below(8) {
            0 | 1 => bytes.extend([0x20, self.random.below(256).to_le_bytes()[0]]),
            2 => bytes.push(0x08),
            3 if one_in(self.random, 4) => bytes.extend([1, 3, 1, 25, 8]),
            4 if one_in(self.random, 4) => bytes.extend([1, 2, 3, 1]),
            5 if one_in(self.random, 4) => bytes.push(pick(self.random, &[6, 0x0c, 0x0d, 0x0e, 7])),
            _ => {}
        }
        self.note(MESSAGES, &bytes);
        let count = u32::try_from(bytes.len()).unwrap_or(1);
        self.block_move(Phase::MessageOut, count, MESSAGES);
    }

    fn command(&mut self, (cdb, phase, bytes): (&[u8], Phase, u32)) -> (Phase, u32) {
        self.note(CDB, cdb);
        let count = u32::try_from(cdb.len()).unwrap_or(6);
        self.block_move(Phase::Command, count, CDB);
        (phase, bytes)
    }

    fn data(&mut self, phase: Phase, bytes: u32) {
        if bytes == 0 {
            return;
        }
        // In up to three pieces, all in all sometimes too much or too little.
        let mut left = match self.random.below(if self.jumps { 3 } else { 8 }) {
            0 => bytes + 1 + self.random.below(8),
            1 => bytes.saturating_sub(self.random.below(4)).max(1),
            _ => bytes,
        };
        let mut address = DATA + self.random.below(64);
        for last in [false, false, true] {
            if left == 0 {
                return;
            }
            let piece = if last || one_in(self.random, 2) {
                left
            } else {
                1 + self.random.below(left)
            };
            self.block_move(phase, piece, address);
            address += piece + self.random.below(4);
            left -= piece;
        }
    }

    fn end(&mut self) {
        self.block_move(Phase::Status, 1, ANSWERS);
        self.block_move(Phase::MessageIn, 1, ANSWERS + 1);
        if !one_in(self.random, 6) {
            self.push(&[0x6000_0040, 0]);
        }
        if !one_in(self.random, 6) {
            self.push(&[0x4800_0000, 0]);
        }
    }
}
