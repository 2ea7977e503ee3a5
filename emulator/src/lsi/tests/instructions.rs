use super::asm::{
    alu, alu_sfbr, call, clear, from_sfbr, int, jump, jump_if_carry, jump_if_data, load, load_dsa,
    mov, move_memory, ret, select_atn, set, store, store_dsa, to_sfbr,
};
use super::{DATA, DIP, REGISTERS, Rig, SCRIPT, SCRIPTS_RAM, TABLE};
use crate::lsi::scripts::{Operator, Signals};
use crate::lsi::{Model, Phase, at};
use outrigger_block::Backend;
use outrigger_device::device::{Progress, Width};

#[test]
fn snoop_test_of_linux() {
    let mut rig = Rig::new();
    rig.poke32(TABLE + 0x20, &[1]);
    rig.w32(at::TEMP, 2);
    rig.w32(at::DSA, TABLE);
    rig.script(&[
        load_dsa(at::SCRATCHA, 4, 0x20),
        store_dsa(at::TEMP, 4, 0x20),
        load_dsa(at::TEMP, 4, 0x20),
        int(99),
    ]);
    rig.assert_int(99);
    assert_eq!(rig.r32(at::SCRATCHA), 1);
    assert_eq!(rig.peek32(TABLE + 0x20), 2);
    assert_eq!(rig.r32(at::DSP), SCRIPT + 4 * 8);
}

/// The same for chips without LOAD and STORE: the driver's word to SCRATCHA, TEMP over it, and it back to TEMP.
#[test]
fn snoop_test_of_linux_with_memory_moves() {
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        let mut rig = Rig::with(model, Backend::memory(vec![0; 512], false));
        let word = TABLE + 0x20;
        rig.poke32(word, &[1]);
        rig.w32(at::TEMP, 2);
        let [copy, _] = move_memory(4, 0);
        let register = |offset: u8| REGISTERS + u32::from(offset);
        rig.script(&[
            [copy, word],
            [register(at::SCRATCHA), copy],
            [register(at::TEMP), word],
            [copy, word],
            [register(at::TEMP), int(99)[0]],
            [99, 0],
        ]);
        rig.assert_int(99);
        assert_eq!(rig.r32(at::SCRATCHA), 1, "{model:?}");
        assert_eq!(rig.peek32(word), 2, "{model:?}");
        assert_eq!(rig.r32(at::TEMP), 2, "{model:?}");
        assert_eq!(rig.r32(at::DSP), SCRIPT + 11 * 4);
    }
}

#[test]
fn calls_return_over_memory_moves() {
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        let mut rig = Rig::with(model, Backend::memory(vec![0; 512], false));
        let [back, zero] = ret();
        rig.script(&[
            call(SCRIPT + 16),
            int(1),
            move_memory(4, DATA),
            [DATA + 4, back],
            [zero, 0],
        ]);
        rig.assert_int(1);
    }
}

#[test]
fn dsa_offsets_are_signed() {
    let mut rig = Rig::new();
    rig.poke32(TABLE - 4, &[0xcafe_f00d]);
    rig.w32(at::DSA, TABLE);
    rig.script(&[load_dsa(at::SCRATCHA, 4, 0x00ff_fffc), int(1)]);
    rig.assert_int(1);
    assert_eq!(rig.r32(at::SCRATCHA), 0xcafe_f00d);
}

#[test]
fn loads_that_the_chip_refuses() {
    for words in [
        load(at::SCRATCHA, 4, TABLE + 1),
        load(at::SCRATCHA + 2, 4, TABLE + 2),
        load(at::SCRATCHA, 4, REGISTERS + 0x34),
        store(at::SCRATCHA, 4, REGISTERS + 0x2c),
    ] {
        let mut rig = Rig::new();
        rig.script(&[words]);
        assert_eq!(rig.interrupts(), (DIP, 0x01, 0), "{words:x?}");
    }
    // The 53C810 has neither LOAD nor STORE.
    let mut rig = Rig::with(Model::Lsi53c810, Backend::memory(vec![0; 512], false));
    rig.script(&[load(at::SCRATCHA, 4, TABLE)]);
    assert_eq!(rig.interrupts(), (DIP, 0x01, 0));
}

#[test]
fn scripts_ram_serves_fetches_and_data() {
    let mut rig = Rig::new();
    let words = [
        load(at::SCRATCHA, 4, SCRIPTS_RAM + 0x40),
        store(at::SCRATCHA, 4, SCRIPTS_RAM + 0x44),
        int(1),
    ];
    for (i, word) in (0..).zip(words.as_flattened()) {
        rig.write(2, 4 * i, Width::Dword, u64::from(*word));
    }
    rig.write(2, 0x40, Width::Dword, 0x0102_0304);
    rig.w32(at::DSP, SCRIPTS_RAM);
    rig.run();
    rig.assert_int(1);
    assert_eq!(rig.scripts_ram(0x44), [4, 3, 2, 1]);
}

#[test]
fn the_alu_on_registers_and_sfbr() {
    let mut rig = Rig::new();
    rig.w8(at::SCRATCHA, 0x41);
    rig.script(&[
        to_sfbr(Operator::ShiftLeft, at::SCRATCHA, 0),
        from_sfbr(Operator::Or, at::SCRATCHA + 1, 0x01),
        alu_sfbr(Operator::Xor, at::SCRATCHA),
        alu(Operator::Move, 0x9c, 0x5a),
        jump_if_data(0x80, 0x0f, SCRIPT + 6 * 8),
        int(1),
        int(2),
    ]);
    rig.assert_int(2);
    assert_eq!(rig.r32(at::SCRATCHA), 0x83c3);
    assert_eq!(rig.r8(at::SFBR), 0x82);
    // SCRATCHR needs address bit 7.
    assert_eq!(rig.r8(0x9c), 0x5a);
    // The host cannot write SFBR.
    rig.w8(at::SFBR, 1);
    assert_eq!(rig.r8(at::SFBR), 0x82);
}

#[test]
fn carry_is_set_cleared_and_tested() {
    let mut rig = Rig::new();
    let carry = Signals {
        carry: true,
        ..Signals::default()
    };
    rig.script(&[
        set(carry),
        jump_if_carry(SCRIPT + 3 * 8),
        int(1),
        clear(carry),
        jump_if_carry(SCRIPT + 6 * 8),
        int(2),
        int(3),
    ]);
    rig.assert_int(2);
}

#[test]
fn calls_return_through_temp() {
    let mut rig = Rig::new();
    rig.script(&[call(SCRIPT + 3 * 8), int(1), int(2), ret()]);
    rig.assert_int(1);
    assert_eq!(rig.r32(at::TEMP), SCRIPT + 8);
    // Relative, backwards.
    rig.script(&[
        jump(SCRIPT + 2 * 8),
        int(4),
        [0x8088_0000, 0x00ff_fff0],
        int(5),
    ]);
    rig.assert_int(4);
}

#[test]
fn a_jump_that_compares_nothing() {
    let mut rig = Rig::new();
    // NOP is a jump on false without comparisons.
    rig.script(&[[0x8000_0000, 0], int(1)]);
    rig.assert_int(1);
}

#[test]
fn both_comparisons_must_agree() {
    // SFBR is 0 and the latched phase is DATA OUT: both true here.
    for (word, taken) in [
        (0x800e_0000, true),  // IF DATA_OUT AND 0
        (0x810e_0000, false), // IF DATA_IN AND 0
        (0x800e_0001, false),
        (0x8006_0000, false), // IF NOT: both must be false
        (0x8106_0000, false),
        (0x8106_0001, true),
    ] {
        let mut rig = Rig::new();
        rig.script(&[[word, SCRIPT + 16], int(1), int(2)]);
        rig.assert_int(if taken { 2 } else { 1 });
    }
}

#[test]
fn memory_moves_in_pieces() {
    let mut rig = Rig::new();
    let bytes: Vec<u8> = (0..20_000_u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
    rig.poke(DATA, &bytes);
    rig.script(&[
        move_memory(20_000, DATA),
        [DATA + 0x8000, int(1)[0]],
        [1, 0],
    ]);
    rig.assert_int(1);
    assert_eq!(rig.peek(DATA + 0x8000, 20_000), bytes);
    // Different alignment.
    rig.script(&[move_memory(4, DATA), [DATA + 1, 0]]);
    assert_eq!(rig.interrupts(), (DIP, 0x01, 0));
}

#[test]
fn memory_moves_reach_the_chips_own_registers() {
    let mut rig = Rig::with(Model::Lsi53c810, Backend::memory(vec![0; 512], false));
    rig.poke32(DATA, &[0x1122_3344]);
    rig.script(&[
        move_memory(4, DATA),
        [REGISTERS + 0x34, move_memory(4, 0)[0]],
        [REGISTERS + 0x34, DATA + 4],
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(rig.r32(at::SCRATCHA), 0x1122_3344);
    assert_eq!(rig.peek32(DATA + 4), 0x1122_3344);
}

/// DMODE.SIOM and DIOM: nothing answers in I/O space but the chip's own BAR.
#[test]
fn moves_in_io_space_reach_the_chips_own_registers_only() {
    let mut rig = Rig::new();
    rig.poke32(DATA, &[0x1122_3344]);
    rig.w8(at::DMODE, 0x10);
    rig.script(&[
        move_memory(4, DATA),
        [0xc034, alu(Operator::Move, at::DMODE, 0x20)[0]],
        [0, move_memory(4, 0)[0]],
        [0xc034, DATA + 4],
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(rig.r32(at::SCRATCHA), 0x1122_3344);
    assert_eq!(rig.peek32(DATA + 4), 0x1122_3344);
    for (dmode, script) in [
        (0x20, [move_memory(4, DATA), [DATA + 4, 0]]),
        (0x10, [move_memory(4, DATA), [DATA + 4, 0]]),
        (0x20, [move_memory(4, 0xc0fe), [DATA + 2, 0]]),
        (0x20, [select_atn(0, 0), mov(Phase::MessageOut, 1, TABLE)]),
    ] {
        rig.w8(at::DMODE, dmode);
        rig.script(&script);
        assert_eq!(rig.interrupts(), (DIP, 0x20, 0), "{dmode:#x} {script:x?}");
    }
    // The other direction is not concerned.
    rig.reset_bus();
    rig.w8(at::DMODE, 0x10);
    rig.poke(TABLE, &[0x80]);
    rig.script(&[select_atn(0, 0), mov(Phase::MessageOut, 1, TABLE), int(2)]);
    rig.assert_int(2);
}

#[test]
fn a_script_can_change_itself() {
    let mut rig = Rig::new();
    rig.w32(at::SCRATCHA, 42);
    rig.script(&[store(at::SCRATCHA, 4, SCRIPT + 12), int(1)]);
    rig.assert_int(42);
}

#[test]
fn a_memory_move_over_its_own_dsp_does_not_re_enter_the_chip() {
    let mut rig = Rig::new();
    // The move rewrites DSP with its own address, for ever; each run is bounded.
    rig.poke32(DATA, &[SCRIPT]);
    rig.poke32(SCRIPT, &[0xc000_0004, DATA, REGISTERS + 0x2c]);
    rig.w32(at::DSP, SCRIPT);
    for _ in 0..5 {
        assert_eq!(rig.run_once(), Progress::More);
    }
}

#[test]
fn sixty_four_bit_selectors_are_part_of_the_address() {
    let mut rig = Rig::new();
    rig.w32(at::MMRS, 1);
    rig.script(&[load(at::SCRATCHA, 4, TABLE)]);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    rig.w32(at::MMRS, 0);
    rig.w32(at::SFS, 1);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
}

#[test]
fn set_and_clear_act_on_socl_without_a_connection() {
    let both = Signals {
        ack: true,
        atn: true,
        ..Signals::default()
    };
    let mut rig = Rig::new();
    rig.script(&[
        set(both),
        int(1),
        clear(both),
        int(2),
        set(both),
        select_atn(0, 0),
        int(3),
    ]);
    rig.assert_int(1);
    assert_eq!((rig.r8(at::SOCL), rig.r8(at::SBCL)), (0x48, 0));
    rig.resume();
    rig.assert_int(2);
    assert_eq!(rig.r8(at::SOCL), 0);
    // A connection takes over: ATN for its message, and no ACK that nobody asked for.
    rig.resume();
    rig.assert_int(3);
    assert_eq!(rig.r8(at::SOCL), 0x08);
    assert_eq!(rig.r8(at::SBCL), 0xae);
}
