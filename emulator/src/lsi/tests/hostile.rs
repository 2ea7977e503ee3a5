use std::time::Duration;

use proptest::prelude::*;

use super::asm::{
    alu, int, int_unless, jump, load_dsa, mov, mov_table, move_memory, select_atn, set,
    wait_disconnect, wait_reselect,
};
use super::{DATA, DIP, REGISTERS, Rig, SCRIPT, SCRIPTS_RAM, SIP, TABLE, read10};
use crate::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
use crate::lsi::scripts::{Operator, Signals};
use crate::lsi::{Model, at};
use outrigger_block::{Backend, Hold};
use outrigger_device::device::{Progress, Width};

/// CVE-2018-18849: a message longer than any buffer.
#[test]
fn messages_of_any_length_are_taken_in_bounds() {
    let mut rig = Rig::new();
    // An endless row of negotiations: the target gives up.
    let row: Vec<u8> = [0x01, 0x02, 0x03, 0x01].repeat(4096);
    rig.poke(DATA, &row);
    rig.script(&[select_atn(0, 0), mov(MessageOut, 16384, DATA), int(1)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0004));
    // The longest message there is, then nothing more.
    let mut long = vec![0x80, 0x01, 0x00];
    long.resize(259, 0xff);
    rig.poke(DATA, &long);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 259, DATA),
        int_unless(MessageIn, 1),
        mov(MessageIn, 1, TABLE),
        int(2),
    ]);
    rig.assert_int(2);
    assert_eq!(rig.peek(TABLE, 1), [0x07]);
    rig.reset_bus();
    // Unknown messages without end: the target gives up.
    rig.poke(DATA, &[0x01; 0x8000]);
    rig.script(&[select_atn(0, 0), mov(MessageOut, 0x8000, DATA), int(3)]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x0004));
}

/// A CDB longer than the COMMAND phase is cut by the target, and a move of 16 MiB is no hazard.
#[test]
fn commands_of_any_length_are_taken_in_bounds() {
    let mut rig = Rig::new();
    rig.settle();
    rig.poke(TABLE, &[0x80]);
    rig.poke(DATA, &[0; 64]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 0x00ff_ffff, DATA),
    ]);
    assert_eq!(rig.interrupts(), (SIP, 0, 0x80));
    assert_eq!(rig.r8(at::SSTAT1) & 7, Status.bits());
}

/// A CDB in pieces is one CDB.
#[test]
fn a_short_command_leaves_the_target_asking() {
    let mut rig = Rig::new();
    rig.settle();
    let cdb = read10(1, 1);
    rig.poke(TABLE + 0x20, &cdb[4..]);
    rig.nexus(
        &[0x80],
        &cdb[..4],
        &[
            int_unless(Command, 1),
            mov(Command, 6, TABLE + 0x20),
            int_unless(DataIn, 2),
            int(3),
        ],
    );
    rig.assert_int(3);
}

/// CVE-2019-12068: endless scripts of empty instructions.
#[test]
fn endless_scripts_are_bounded_and_stoppable() {
    for words in [
        vec![jump(SCRIPT)],
        vec![[0, 0], [0, 0], jump(SCRIPT)],
        vec![[0x8000_0000, 0], jump(SCRIPT)],
        vec![load_dsa(at::SCRATCHA, 4, 0), jump(SCRIPT)],
        vec![[0xc000_0000, DATA], [DATA, jump(SCRIPT)[0]], [SCRIPT, 0]],
    ] {
        let mut rig = Rig::new();
        rig.w32(at::DSA, TABLE);
        rig.poke32(SCRIPT, words.as_flattened());
        rig.w32(at::DSP, SCRIPT);
        for _ in 0..3 {
            assert_eq!(rig.run_once(), Progress::More);
        }
        rig.w8(at::ISTAT0, 0x40);
        assert_eq!(rig.run_once(), Progress::Idle);
    }
}

/// A memory move of 16 MiB takes more than one run.
#[test]
fn long_memory_moves_yield() {
    let mut rig = Rig::new();
    rig.poke32(SCRIPT, &[0xc0ff_ffff, SCRIPTS_RAM, SCRIPTS_RAM]);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    rig.poke32(SCRIPT, &[0xc001_0000, DATA, DATA + 4, int(1)[0], 1]);
    rig.w32(at::DSP, SCRIPT);
    rig.run();
    rig.assert_int(1);
}

/// A run is bounded in what its steps move, not in their number alone: bytes in memory, and registers, which cost more.
#[test]
fn a_run_is_bounded_in_bytes() {
    let scratch = REGISTERS + u32::from(at::SCRATCHC);
    for (count, source, moves) in [(0x1_0000, DATA, 16), (0x40, scratch, 253)] {
        let mut rig = Rig::new();
        let again = jump(SCRIPT);
        let script = [
            alu(Operator::Add, at::SCRATCHA, 1),
            move_memory(count, source),
            [DATA + 0x2_0000, again[0]],
            [again[1], 0],
        ];
        rig.poke32(SCRIPT, script.as_flattened());
        rig.w32(at::DSP, SCRIPT);
        for runs in 1..=2 {
            assert_eq!(rig.run_once(), Progress::More);
            assert_eq!(rig.r32(at::SCRATCHA), (runs * moves) & 0xff, "{source:#x}");
        }
    }
}

/// CVE-2023-0330: data that go to the chip's own registers.
#[test]
fn data_never_reach_the_chips_own_registers() {
    let mut rig = Rig::new();
    rig.settle();
    rig.nexus(&[0x80], &read10(1, 1), &[mov(DataIn, 512, REGISTERS)]);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    // The same with a table, and with a script there.
    rig.w32(at::DSA, REGISTERS);
    rig.script(&[mov_table(DataIn, 0)]);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    rig.w32(at::DSP, REGISTERS);
    rig.run();
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
}

/// A data phase into SCRIPTS RAM, across its end and into nothing.
#[test]
fn data_into_scripts_ram_stay_in_it() {
    let mut rig = Rig::new();
    rig.settle();
    rig.nexus(
        &[0x80],
        &read10(1, 1),
        &[
            mov(DataIn, 256, SCRIPTS_RAM + 0x100),
            mov(DataIn, 256, SCRIPTS_RAM + 0x1f80),
        ],
    );
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    assert_eq!(rig.scripts_ram::<0x100>(0x100), super::image()[512..768]);
    assert_eq!(rig.scripts_ram::<0x80>(0x1f80), super::image()[768..896]);
}

/// A SELECT while a nexus is there takes the alternate address and leaves the nexus alone.
#[test]
fn a_selection_during_a_nexus_is_lost() {
    let mut rig = Rig::new();
    rig.settle();
    rig.nexus(
        &[0x80],
        &read10(1, 1),
        &[
            select_atn(0, SCRIPT + 5 * 8),
            int(1),
            mov(DataIn, 512, DATA),
            int_unless(Status, 2),
            int(3),
        ],
    );
    rig.assert_int(3);
    assert_eq!(rig.peek(DATA, 512), super::image()[512..1024]);
}

/// CVE-2024-6519: a task that ends while its DMA is under way: every way to end one, with the disk still busy.
#[test]
fn tasks_that_end_under_dma() {
    for end in 0..6 {
        let (mut rig, handle) = Rig::delayed();
        rig.settle();
        rig.poke(TABLE, &[0x80, 0x06]);
        rig.poke(TABLE + 0x10, &read10(1, 1));
        let atn = set(Signals {
            atn: true,
            ..Signals::default()
        });
        rig.script(&[
            select_atn(0, 0),
            mov(MessageOut, 1, TABLE),
            mov(Command, 10, TABLE + 0x10),
            mov(DataIn, 512, DATA),
            int(1),
            atn,
            mov(MessageOut, 1, TABLE + 1),
            wait_disconnect(),
            int(2),
        ]);
        rig.assert_int(1);
        assert_eq!(handle.held(), 1);
        match end {
            0 => {
                rig.resume();
                assert_eq!(rig.interrupts(), (SIP, 0, 0x0004));
            }
            1 => rig.w8(at::SCNTL1, 0x08),
            2 => rig.w8(at::ISTAT0, 0x40),
            3 => rig.w8(at::ISTAT0, 0x80),
            4 => rig.w32(at::DSP, 0xffff_fff0),
            _ => {
                rig.script(&[wait_reselect(SCRIPT)]);
            }
        }
        rig.run();
        handle.release(4);
        rig.run();
        rig.pass(Duration::from_secs(1));
    }
}

/// The target's status with nowhere to go.
#[test]
fn a_fault_under_a_status_or_message_is_a_bus_fault() {
    let mut rig = Rig::new();
    rig.poke(TABLE, &[0x80, 0, 0, 0, 0, 0, 0]);
    rig.script(&[
        select_atn(0, 0),
        mov(MessageOut, 1, TABLE),
        mov(Command, 6, TABLE + 1),
        mov(Status, 1, 0x8000_0000),
    ]);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
    rig.reset_bus();
    rig.script(&[select_atn(0, 0), mov(MessageOut, 8, 0x8000_0000)]);
    assert_eq!(rig.interrupts(), (DIP, 0x20, 0));
}

#[test]
fn moves_of_nothing_are_illegal() {
    let mut rig = Rig::new();
    rig.script(&[select_atn(0, 0), mov(MessageOut, 0, TABLE)]);
    assert_eq!(rig.interrupts(), (DIP, 0x01, 0));
}

/// What a guest may do to the chip.
#[derive(Clone, Debug)]
enum Act {
    Write(u8, u8),
    Dword(u8, u32),
    Read(u8),
    Start(u16),
    Run,
    Pass(u8),
    Master(bool),
    Release(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<(u8, u8)>().prop_map(|(at, value)| Act::Write(at, value)),
        2 => (any::<u8>(), address()).prop_map(|(at, value)| Act::Dword(at & 0xfc, value)),
        2 => any::<u8>().prop_map(Act::Read),
        4 => any::<u16>().prop_map(Act::Start),
        4 => Just(Act::Run),
        1 => any::<u8>().prop_map(Act::Pass),
        1 => (0_u8..4).prop_map(Act::Release),
        1 => prop::bool::weighted(0.9).prop_map(Act::Master),
    ]
}

/// Addresses that lead somewhere, mostly.
fn address() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0_u32..0x4000,
        1 => (0_u32..0x400).prop_map(|at| REGISTERS + at),
        1 => (0_u32..0x2000).prop_map(|at| SCRIPTS_RAM + at),
        1 => any::<u32>(),
    ]
}

/// CDBs that do something, mostly.
fn cdb() -> impl Strategy<Value = Vec<u8>> {
    let operation = prop_oneof![
        4 => prop::sample::select(vec![0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x35]),
        1 => any::<u8>(),
    ];
    // Addresses and lengths that a small disk has.
    let rest = proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..4, any::<u8>()], 15);
    (operation, rest).prop_map(|(operation, mut rest)| {
        rest.insert(0, operation);
        rest
    })
}

/// Instructions that do something, mostly.
fn word() -> impl Strategy<Value = [u32; 2]> {
    let first = prop_oneof![
        4 => (0_u32..8, 0_u32..40, 0_u32..4).prop_map(|(phase, count, mode)| {
            phase << 24 | count | mode << 27
        }),
        3 => Just(0x4100_0000_u32),
        1 => Just(0x4000_0000_u32),
        4 => (0_u32..5, any::<u16>()).prop_map(|(op, low)| 1 << 30 | op << 27 | u32::from(low)),
        4 => any::<u32>().prop_map(|bits| 1 << 30 | bits & 0x3fff_ffff),
        6 => any::<u32>().prop_map(|bits| 2 << 30 | bits & 0x1fbf_ffff),
        2 => (0_u32..64).prop_map(|count| 3 << 30 | count),
        2 => any::<u32>().prop_map(|bits| 7 << 29 | bits & 0x13ff_0007),
        1 => any::<u32>(),
    ];
    (first, address()).prop_map(|(first, second)| [first, second])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8 * 3))]

    #[test]
    fn whatever_a_guest_does_the_chip_returns(
        begun: bool,
        words in proptest::collection::vec(word(), 0..64),
        messages in proptest::collection::vec(any::<u8>(), 0..32),
        cdb in cdb(),
        acts in proptest::collection::vec(act(), 0..64),
        narrow: bool,
    ) {
        let model = if narrow { Model::Lsi53c810 } else { Model::Lsi53c895a };
        let memory = Backend::memory(vec![0; 1 << 20], false);
        let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("delay");
        let mut rig = Rig::with(model, backend);
        // Most of the time a nexus is there before the random part begins.
        let mut script = Vec::new();
        if begun {
            rig.settle();
            rig.poke(0x1f00, &[0xc0, 0x20, 0x01]);
            script.extend([
                select_atn(0, 24),
                mov(MessageOut, 3, 0x1f00),
                mov(Command, 16, 0x2000),
            ]);
        }
        script.extend(words);
        rig.poke(0x2000, &cdb);
        rig.poke(0x2010, &messages);
        rig.poke32(0, script.as_flattened());
        for (i, word) in (0..).zip(script.as_flattened()) {
            rig.write(2, 4 * i, Width::Dword, u64::from(*word));
        }
        rig.w32(at::DSP, 0);
        for act in acts {
            match act {
                Act::Write(at, value) => rig.w8(at, value),
                Act::Dword(at, value) => rig.w32(at, value),
                Act::Read(at) => { let _ = rig.r8(at); }
                Act::Start(at) => rig.w32(at::DSP, u32::from(at & 0x1ff)),
                Act::Run => { let _ = rig.run_once(); }
                Act::Pass(ms) => {
                    rig.now += Duration::from_millis(u64::from(ms));
                    let _ = rig.run_once();
                }
                Act::Master(on) => rig.gate.set_bus_master(on),
                Act::Release(count) => handle.release(u64::from(count)),
            }
        }
    }
}
