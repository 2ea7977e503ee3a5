//! Step 7, decode: two Dwords become an [`Instruction`] and back, without any state (manual, chapter 5).
//!
//! What the chip ignores (reserved bits that no instruction check names) is ignored here and encodes as
//! zero; what it refuses is [`Instruction::Illegal`].

use super::instruction::{
    Addressing, BlockMove, Condition, DataCompare, Instruction, Io, IoOperation, LoadStore,
    MemoryMove, Operator, RegisterMove, RegisterOperation, Signals, TransferControl,
    TransferOperation,
};
use crate::lsi::phase::Phase;

fn bit(word: u32, n: u32) -> bool {
    word >> n & 1 == 1
}

fn put(on: bool, n: u32) -> u32 {
    u32::from(on) << n
}

/// Byte `n` of a word.
fn byte(word: u32, n: usize) -> u8 {
    word.to_le_bytes().get(n).copied().unwrap_or(0)
}

impl Instruction {
    /// Decodes the first two Dwords of an instruction.
    #[inline]
    #[must_use]
    pub fn decode(words: [u32; 2]) -> Self {
        let [first, operand] = words;
        let illegal = Self::Illegal(words);
        match first >> 30 {
            0 => block_move(first, operand).map_or(illegal, Self::BlockMove),
            1 => match first >> 27 & 7 {
                0..=4 => io(first, operand).map_or(illegal, Self::Io),
                _ => Self::Register(register(first)),
            },
            2 => transfer(first, operand).map_or(illegal, Self::Transfer),
            _ if !bit(first, 29) => {
                if first & 0x1e00_0000 != 0 {
                    return illegal;
                }
                Self::MemoryMove(MemoryMove {
                    no_flush: bit(first, 24),
                    count: first & 0x00ff_ffff,
                    source: operand,
                })
            }
            _ => load_store(first, operand).map_or(illegal, Self::LoadStore),
        }
    }

    /// The inverse of [`Instruction::decode`]: reserved bits are zero.
    #[must_use]
    pub fn encode(self) -> [u32; 2] {
        match self {
            Self::BlockMove(m) => {
                let mode = match m.addressing {
                    Addressing::Direct => 0,
                    Addressing::Indirect => 1 << 29,
                    Addressing::Table => 1 << 28,
                };
                let first = mode
                    | put(m.opcode, 27)
                    | u32::from(m.phase.bits()) << 24
                    | m.count & 0x00ff_ffff;
                [first, m.operand]
            }
            Self::Io(i) => {
                let low = if i.table && i.operation == IoOperation::Select {
                    i.table_offset & 0x00ff_ffff
                } else {
                    u32::from(i.id & 15) << 16
                        | put(i.signals.carry, 10)
                        | put(i.signals.target, 9)
                        | put(i.signals.ack, 6)
                        | put(i.signals.atn, 3)
                };
                let first = 1 << 30
                    | (i.operation as u32) << 27
                    | put(i.relative, 26)
                    | put(i.table, 25)
                    | put(i.atn, 24)
                    | low;
                [first, i.operand]
            }
            Self::Register(r) => {
                let opcode = match r.operation {
                    RegisterOperation::FromSfbr => 5,
                    RegisterOperation::ToSfbr => 6,
                    RegisterOperation::ReadModifyWrite => 7,
                };
                let first = 1 << 30
                    | opcode << 27
                    | (r.operator as u32) << 24
                    | put(r.sfbr_data, 23)
                    | u32::from(r.register & 0x7f) << 16
                    | u32::from(r.data) << 8
                    | u32::from(r.register & 0x80);
                [first, 0]
            }
            Self::Transfer(t) => [encode_transfer(t), t.operand],
            Self::MemoryMove(m) => [
                3 << 30 | put(m.no_flush, 24) | m.count & 0x00ff_ffff,
                m.source,
            ],
            Self::LoadStore(l) => {
                let first = 7 << 29
                    | put(l.dsa_relative, 28)
                    | put(l.no_flush, 25)
                    | put(l.load, 24)
                    | u32::from(l.register) << 16
                    | u32::from(l.count & 7);
                [first, l.operand]
            }
            Self::Illegal(words) => words,
        }
    }
}

#[inline]
fn block_move(first: u32, operand: u32) -> Option<BlockMove> {
    let addressing = match first >> 28 & 3 {
        0 => Addressing::Direct,
        1 => Addressing::Table,
        2 => Addressing::Indirect,
        _ => return None,
    };
    Some(BlockMove {
        addressing,
        opcode: bit(first, 27),
        phase: Phase::from_bits(byte(first, 3)),
        count: first & 0x00ff_ffff,
        operand,
    })
}

#[inline]
fn io(first: u32, operand: u32) -> Option<Io> {
    let operation = match first >> 27 & 7 {
        0 => IoOperation::Select,
        1 => IoOperation::WaitDisconnect,
        2 => IoOperation::WaitReselect,
        3 => IoOperation::Set,
        _ => IoOperation::Clear,
    };
    // Section 5.4.1: select with ATN is for SELECT.
    if bit(first, 24) && operation != IoOperation::Select {
        return None;
    }
    let table = bit(first, 25);
    let entry = table && operation == IoOperation::Select;
    let signals = if entry {
        Signals::default()
    } else {
        Signals {
            carry: bit(first, 10),
            target: bit(first, 9),
            ack: bit(first, 6),
            atn: bit(first, 3),
        }
    };
    Some(Io {
        operation,
        relative: bit(first, 26),
        table,
        atn: bit(first, 24),
        id: if entry { 0 } else { byte(first, 2) & 15 },
        signals,
        table_offset: if entry { first & 0x00ff_ffff } else { 0 },
        operand,
    })
}

#[inline]
fn register(first: u32) -> RegisterMove {
    RegisterMove {
        operation: match first >> 27 & 7 {
            5 => RegisterOperation::FromSfbr,
            6 => RegisterOperation::ToSfbr,
            _ => RegisterOperation::ReadModifyWrite,
        },
        operator: match first >> 24 & 7 {
            0 => Operator::Move,
            1 => Operator::ShiftLeft,
            2 => Operator::Or,
            3 => Operator::Xor,
            4 => Operator::And,
            5 => Operator::ShiftRight,
            6 => Operator::Add,
            _ => Operator::AddCarry,
        },
        register: byte(first, 2) & 0x7f | byte(first, 0) & 0x80,
        sfbr_data: bit(first, 23),
        data: byte(first, 1),
    }
}

#[inline]
fn transfer(first: u32, operand: u32) -> Option<TransferControl> {
    let (carry, phase, data) = (bit(first, 21), bit(first, 17), bit(first, 18));
    // Section 4.2, DSTAT.IID: bit 22 is reserved, and the carry test excludes the other comparisons.
    if bit(first, 22) || carry && (phase || data) {
        return None;
    }
    let operation = match first >> 27 & 7 {
        0 => TransferOperation::Jump,
        1 => TransferOperation::Call,
        2 => TransferOperation::Return,
        3 if bit(first, 20) => TransferOperation::InterruptOnTheFly,
        3 => TransferOperation::Interrupt,
        _ => return None,
    };
    Some(TransferControl {
        operation,
        relative: bit(first, 23),
        condition: Condition {
            when_true: bit(first, 19),
            wait: bit(first, 16),
            carry,
            phase: phase.then(|| Phase::from_bits(byte(first, 3))),
            data: data.then(|| DataCompare {
                mask: byte(first, 1),
                value: byte(first, 0),
            }),
        },
        operand,
    })
}

fn encode_transfer(t: TransferControl) -> u32 {
    let opcode = match t.operation {
        TransferOperation::Jump => 0,
        TransferOperation::Call => 1 << 27,
        TransferOperation::Return => 2 << 27,
        TransferOperation::Interrupt => 3 << 27,
        TransferOperation::InterruptOnTheFly => 3 << 27 | 1 << 20,
    };
    let c = t.condition;
    let phase = c.phase.map_or(0, |p| u32::from(p.bits()) << 24 | 1 << 17);
    let data = c
        .data
        .map_or(0, |d| 1 << 18 | u32::from(d.mask) << 8 | u32::from(d.value));
    2 << 30
        | opcode
        | put(t.relative, 23)
        | put(c.carry, 21)
        | put(c.when_true, 19)
        | put(c.wait, 16)
        | phase
        | data
}

#[inline]
fn load_store(first: u32, operand: u32) -> Option<LoadStore> {
    let count = byte(first, 0) & 7;
    // Section 4.2, DSTAT.IID: reserved bits of DCMD, and a count outside 1 to 4.
    if first & 0x0c00_0000 != 0 || !(1..=4).contains(&count) {
        return None;
    }
    Some(LoadStore {
        load: bit(first, 24),
        dsa_relative: bit(first, 28),
        no_flush: bit(first, 25),
        register: byte(first, 2),
        count,
        operand,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encode_inverts_decode(first: u32, second: u32) {
            let decoded = Instruction::decode([first, second]);
            prop_assert_eq!(Instruction::decode(decoded.encode()), decoded);
        }
    }

    #[test]
    fn known_words_survive_unchanged() {
        // One of each kind, as drivers emit them.
        for words in [
            [0x1e00_0000, 0x0000_0040], // MOVE FROM 0x40, WHEN MSG_OUT
            [0x0800_0010, 0x1234_5678],
            [0x4700_0018, 0x0000_0100], // SELECT ATN FROM 0x18
            [0x4802_0000, 0x0000_0000], // WAIT DISCONNECT; an ID that does not matter survives
            [0x6000_0048, 0x0000_0000], // CLEAR ACK and ATN
            [0x740a_0000, 0x0000_0000],
            [0x7980_0000 | 0x0010_0000, 0], // shift
            [0x9818_0000, 0x0000_0000],     // INTFLY
            [0x830b_0000, 0xdead_beef],     // JUMP WHEN STATUS
            [0xc000_0004, 0x1000_0000],
            [0xf110_0004, 0x0000_0008], // LOAD DSA0, 4, DSAREL(8)
        ] {
            assert_eq!(Instruction::decode(words).encode(), words, "{words:x?}");
        }
    }

    #[test]
    fn what_the_chip_refuses_is_illegal() {
        for first in [
            0x3800_0001, // direct, indirect and table at once
            0x5100_0000, // WAIT RESELECT with ATN
            0x5900_0400, // SET with ATN
            0xa000_0000, // transfer control 4
            0x8048_0000, // bit 22
            0x802a_0000, // carry and phase
            0x802c_0000, // carry and data
            0xc200_0004, // memory move with a reserved bit
            0xe100_0000, // load of nothing
            0xe100_0005, // load of five bytes
            0xe500_0004, // load with a reserved bit
        ] {
            assert_eq!(
                Instruction::decode([first, 7]),
                Instruction::Illegal([first, 7]),
                "{first:#x}"
            );
        }
    }
}
