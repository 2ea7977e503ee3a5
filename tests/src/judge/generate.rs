//! Random programs that are programs: instructions of all families, most of them sound.

mod nexus;
mod registers;

use outrigger_emulator::lsi::Model;

pub use registers::accesses;

use super::chip::{Action, REGISTERS, at};
use super::program::{DATA, Driver, Item, Program, TABLE};
use crate::random::Random;

/// A program from this seed.
#[must_use]
pub fn program(model: Model, seed: u64) -> Program {
    let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let in_ram = model == Model::Lsi53c895a && one_in(&mut random, 4);
    let mut program = Program {
        model,
        setup: setup(&mut random),
        items: Vec::new(),
        memory: Vec::new(),
        in_ram,
        ready: false,
        driver: Vec::new(),
        long: false,
    };
    if one_in(&mut random, 3) {
        program.driver.push(Driver::Signal);
    }
    if one_in(&mut random, 2) {
        nexus::fill(&mut random, &mut program);
        return program;
    }
    let count = 1 + random.below(20) as usize;
    for index in 0..count {
        let item = instruction(&mut random, model, index, count);
        program.items.push(item);
    }
    program
}

fn one_in(random: &mut Random, n: u32) -> bool {
    random.below(n) == 0
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(u32::try_from(of.len()).unwrap_or(1)) as usize]
}

fn byte(random: &mut Random) -> u8 {
    random.next().to_le_bytes()[7]
}

fn word(random: &mut Random) -> u32 {
    u32::try_from(random.next() >> 32).unwrap_or(0)
}

fn setup(random: &mut Random) -> Vec<Action> {
    let mut setup = vec![Action::dword(at::DSA, TABLE)];
    for register in [0x1c, 0x34, 0x5c] {
        setup.push(Action::dword(register, word(random)));
    }
    if one_in(random, 2) {
        setup.push(Action::byte(at::DIEN, 0x7d));
        setup.push(Action::byte(at::SIEN0, 0x8f));
        setup.push(Action::byte(at::SIEN0 + 1, 0x04));
    }
    setup
}

/// Registers that keep what is written, on both models.
const KEEPS: [u8; 12] = [
    0x1c, 0x1d, 0x1e, 0x1f, 0x34, 0x35, 0x36, 0x37, 0x5c, 0x5d, 0x5e, 0x5f,
];

fn register(random: &mut Random, model: Model) -> u8 {
    match random.below(40) {
        0 => loop {
            // Not those that start, stop or reset something.
            let any = byte(random);
            if ![
                at::SCNTL0,
                at::SCNTL1,
                at::ISTAT0,
                at::DSP + 3,
                at::DMODE,
                at::DCNTL,
                at::STEST2,
            ]
            .contains(&any)
            {
                return any;
            }
        },
        1..=5 => at::SFBR,
        6..=9 if model == Model::Lsi53c895a => 0x60 + byte(random) % 0x40,
        _ => pick(random, &KEEPS),
    }
}

fn instruction(random: &mut Random, model: Model, index: usize, count: usize) -> Item {
    match random.below(100) {
        0..=39 => alu(random, model),
        40..=69 => transfer(random, index, count),
        70..=79 => memory_move(random),
        80..=89 => load_store(random, model),
        90..=95 => signals(random),
        96 => Item::plain(&[word(random) & 0xdfff_ffff | 0x4000_0000, word(random)]),
        97 => wait(random, index, count),
        _ => alu(random, model),
    }
}

/// SELECT of an ID that is mostly nobody's, WAIT DISCONNECT or WAIT RESELECT.
fn wait(random: &mut Random, index: usize, count: usize) -> Item {
    let operation = random.below(3);
    let relative = random.below(2);
    let id = if operation == 0 {
        random.below(8) << 16
    } else {
        0
    };
    Item {
        words: vec![1 << 30 | operation << 27 | relative << 26 | id, 0],
        target: Some((index + 2).min(count)),
    }
}

fn alu(random: &mut Random, model: Model) -> Item {
    let operation = 5 + random.below(3);
    let operator = random.below(8);
    let register = u32::from(register(random, model));
    let sfbr = u32::from(operation == 7 && one_in(random, 4) || one_in(random, 100));
    let first = 1 << 30
        | operation << 27
        | operator << 24
        | sfbr << 23
        | (register & 0x7f) << 16
        | u32::from(byte(random)) << 8
        | register & 0x80;
    Item::plain(&[first, 0])
}

fn transfer(random: &mut Random, index: usize, count: usize) -> Item {
    let operation = pick(random, &[0, 0, 0, 0, 1, 1, 2, 3, 3, 3]);
    let fly = operation == 3 && !one_in(random, 6);
    let relative = operation < 2 && one_in(random, 2);
    let mut first = 2 << 30
        | operation << 27
        | u32::from(relative) << 23
        | u32::from(fly) << 20
        | random.below(2) << 19;
    match random.below(12) {
        0..=2 => first |= 1 << 21,
        3..=5 => first |= 1 << 18 | u32::from(byte(random)) << 8 | u32::from(byte(random)),
        6 => first |= 1 << 18 | 0xff << 8,
        7 => first |= 1 << 17 | random.below(8) << 24,
        8 => first |= 1 << 17 | 1 << 18 | random.below(8) << 24 | word(random) & 0xffff,
        9 => first |= u32::from(one_in(random, 6)) << 22,
        _ => first |= 1 << 19,
    }
    let mut item = Item::plain(&[first, word(random)]);
    if operation < 2 {
        // Forwards, mostly.
        let back = one_in(random, 20);
        let left = u32::try_from(count - index).unwrap_or(1);
        item.target = Some(if back {
            random.below(u32::try_from(index + 1).unwrap_or(1)) as usize
        } else {
            index + 1 + random.below(left) as usize
        });
    }
    item
}

fn memory_move(random: &mut Random) -> Item {
    let count = match random.below(8) {
        0 => 1,
        1 => 4096 - 40 + random.below(80),
        2 => 4,
        _ => 1 + random.below(64),
    };
    let source = DATA + random.below(0x800);
    let mut destination = DATA + 0x1000 - 0x400 + random.below(0x400);
    if !one_in(random, 12) {
        destination = destination & !3 | source & 3;
    }
    let mut words = [0xc000_0000 | count, source, destination];
    match random.below(10) {
        0 => words[1] = REGISTERS + pick(random, &[0x10, 0x1c, 0x34, 0x5c]),
        1 => words[2] = REGISTERS + pick(random, &[0x10, 0x1c, 0x34, 0x5c]),
        _ => return Item::plain(&words),
    }
    // One register.
    words[0] = 0xc000_0004;
    words[1] &= !3;
    words[2] &= !3;
    Item::plain(&words)
}

fn load_store(random: &mut Random, model: Model) -> Item {
    let register = u32::from(register(random, model));
    // The manual forbids a LOAD of SFBR.
    let load = random.below(2) & u32::from(register != u32::from(at::SFBR));
    let relative = random.below(2);
    let left = 4 - (register & 3);
    let count = if one_in(random, 20) {
        random.below(8)
    } else {
        1 + random.below(left)
    };
    let mut address = random.below(0x400);
    if !one_in(random, 20) {
        address = address & !3 | register & 3;
    }
    let operand = if relative == 1 {
        address.wrapping_sub(0x200) & 0x00ff_ffff
    } else {
        DATA + address
    };
    let first = 7 << 29 | relative << 28 | load << 24 | register << 16 | count;
    Item::plain(&[first, operand])
}

fn signals(random: &mut Random) -> Item {
    let operation = 3 + random.below(2);
    let signals = match random.below(12) {
        0 => 1 << 3,
        1 => 1 << 6,
        2 => word(random) & 0x048,
        _ => 1 << 10,
    };
    Item::plain(&[1 << 30 | operation << 27 | signals, 0])
}
