//! Golden words, worked out by hand from the tables of chapter 5.

use super::*;

fn words(build: impl FnOnce(&mut Assembler)) -> Vec<u32> {
    let mut script = Assembler::new(0x1000);
    build(&mut script);
    let program = script.finish().unwrap();
    program
        .bytes()
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn block_moves() {
    assert_eq!(
        words(|s| s.move_direct(3, 0x2000, Phase::MessageOut)),
        [0x0e00_0003, 0x2000]
    );
    assert_eq!(
        words(|s| s.move_indirect(512, 0x2000, Phase::DataIn)),
        [0x2900_0200, 0x2000]
    );
    assert_eq!(
        words(|s| s.move_table(0x10, Phase::Command)),
        [0x1a00_0000, 0x10]
    );
    assert_eq!(
        words(|s| s.move_table(-8, Phase::Status)),
        [0x1b00_0000, 0x00ff_fff8]
    );
    assert_eq!(
        words(|s| s.chained_move_direct(1, 4, Phase::DataOut)),
        [0x0000_0001, 4]
    );
    assert_eq!(
        words(|s| s.chained_move_indirect(1, 4, Phase::DataOut)),
        [0x2000_0001, 4]
    );
    assert_eq!(
        words(|s| s.chained_move_table(8, Phase::MessageIn)),
        [0x1700_0000, 8]
    );
}

#[test]
fn io_instructions() {
    let forward = |build: fn(&mut Assembler, Label)| {
        words(|s| {
            let label = s.label();
            build(s, label);
            s.word(0);
            s.bind(label);
        })
    };
    assert_eq!(forward(|s, l| s.select(5, true, l))[..2], [0x4505_0000, 4]);
    assert_eq!(
        forward(|s, l| s.select_table(0x20, true, l))[..2],
        [0x4700_0020, 4]
    );
    assert_eq!(
        forward(|s, l| s.select_table(0x20, false, l))[..2],
        [0x4600_0020, 4]
    );
    assert_eq!(
        words(|s| s.select_absolute(2, false, 0x3000)),
        [0x4002_0000, 0x3000]
    );
    assert_eq!(words(Assembler::wait_disconnect), [0x4800_0000, 0]);
    assert_eq!(forward(|s, l| s.wait_reselect(l))[..2], [0x5400_0000, 4]);
    assert_eq!(
        words(|s| s.wait_reselect_absolute(0x3000)),
        [0x5000_0000, 0x3000]
    );
    assert_eq!(
        words(|s| s.set(signal::ATN | signal::CARRY)),
        [0x5800_0408, 0]
    );
    assert_eq!(words(|s| s.clear(signal::ACK)), [0x6000_0040, 0]);
}

#[test]
fn register_instructions() {
    assert_eq!(
        words(|s| s.modify(0x34, Operator::Move, 0x12)),
        [0x7834_1200, 0]
    );
    assert_eq!(
        words(|s| s.modify(0x02, Operator::And, 0x7f)),
        [0x7c02_7f00, 0]
    );
    assert_eq!(
        words(|s| s.to_sfbr(0x1a, Operator::Or, 0)),
        [0x721a_0000, 0]
    );
    assert_eq!(
        words(|s| s.from_sfbr(0x10, Operator::Or, 0)),
        [0x6a10_0000, 0]
    );
    // Registers from 0x80 on have their top bit in bit 7.
    assert_eq!(
        words(|s| s.to_sfbr(0xd4, Operator::Move, 0)),
        [0x7054_0080, 0]
    );
    assert_eq!(
        words(|s| s.modify_by_sfbr(0x34, Operator::AddWithCarry)),
        [0x7fb4_0000, 0]
    );
}

#[test]
fn transfer_control() {
    let here = |build: fn(&mut Assembler, Label)| {
        words(|s| {
            let label = s.bound_label();
            build(s, label);
        })
    };
    // Back to its own start: eight bytes before the end of the instruction.
    assert_eq!(
        here(|s, l| s.jump(l, Condition::ALWAYS)),
        [0x8088_0000, 0x00ff_fff8]
    );
    assert_eq!(
        here(|s, l| s.call(l, Condition::when(Phase::DataIn))),
        [0x898b_0000, 0x00ff_fff8]
    );
    assert_eq!(
        here(|s, l| s.jump(l, Condition::when_not(Phase::Command)))[0],
        0x8283_0000
    );
    assert_eq!(
        here(|s, l| s.jump(l, Condition::if_phase(Phase::Status)))[0],
        0x838a_0000
    );
    assert_eq!(
        here(|s, l| s.jump(l, Condition::if_not_phase(Phase::Status)))[0],
        0x8382_0000
    );
    assert_eq!(
        here(|s, l| s.jump_absolute(l, Condition::if_data(4))),
        [0x800c_0004, 0x1000]
    );
    assert_eq!(
        words(|s| s.call_absolute(0x3000, Condition::if_carry())),
        [0x8828_0000, 0x3000]
    );
    assert_eq!(
        words(|s| s.ret(Condition::if_not_carry())),
        [0x9020_0000, 0]
    );
    assert_eq!(
        words(|s| s.interrupt(9, Condition::if_not_masked(0x80, 0x7f))),
        [0x9804_7f80, 9]
    );
    assert_eq!(
        words(|s| s.interrupt(9, Condition::when(Phase::MessageIn).and_data(2, 0))),
        [0x9f0f_0002, 9]
    );
    assert_eq!(
        words(|s| s.interrupt_on_the_fly(Condition::ALWAYS)),
        [0x9818_0000, 0]
    );
}

#[test]
fn memory() {
    assert_eq!(
        words(|s| s.move_memory(16, 0x2000, 0x3000)),
        [0xc000_0010, 0x2000, 0x3000]
    );
    assert_eq!(words(|s| s.load(0x10, 4, 0x2000)), [0xe110_0004, 0x2000]);
    assert_eq!(words(|s| s.load_table(0x1c, 4, 8)), [0xf11c_0004, 8]);
    assert_eq!(words(|s| s.store(0xd4, 4, 0x2000)), [0xe0d4_0004, 0x2000]);
    assert_eq!(
        words(|s| s.store_table(0x34, 2, -4)),
        [0xf034_0002, 0x00ff_fffc]
    );
}

#[test]
fn labels() {
    let mut script = Assembler::new(0x1000);
    let data = script.label();
    script.load(0x10, 4, Address::After(data, 4));
    script.bind(data);
    script.word(7);
    let program = script.finish().unwrap();
    assert_eq!(program.base(), 0x1000);
    assert_eq!(program.address(data), Ok(0x1008));
    assert_eq!(program.bytes()[4..8], 0x100c_u32.to_le_bytes());

    let mut script = Assembler::new(0);
    let nowhere = script.label();
    script.jump(nowhere, Condition::ALWAYS);
    assert_eq!(script.finish(), Err(AssembleError::Unbound(nowhere)));

    let mut script = Assembler::new(0);
    let twice = script.bound_label();
    script.bind(twice);
    assert_eq!(script.finish(), Err(AssembleError::BoundTwice(twice)));
}
