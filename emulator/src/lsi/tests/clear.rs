//! Clear groups: what is published of DSTAT and SIST, and that taking it is reading it.

use std::time::Duration;

use proptest::prelude::*;

use super::asm::{int, mov, select_atn, wait_reselect};
use super::{Rig, SCRIPT, TABLE};
use crate::lsi::{Model, Phase, at};
use outrigger_block::Backend;
use outrigger_device::device::{Device, Snapshot, Width};

const NONE: Option<Snapshot> = None;

fn snapshot(value: u16, residual: u16) -> Option<Snapshot> {
    Some(Snapshot { value, residual })
}

#[test]
fn both_registers_are_offered_while_something_is_pending() {
    let mut rig = Rig::new();
    assert_eq!(rig.lsi.snapshots(), [NONE; 4]);
    rig.script(&[int(1)]);
    let both = [snapshot(0x84, 0x80), snapshot(0, 0), NONE, NONE];
    assert_eq!(rig.lsi.snapshots(), both);
    rig.lsi.claim(0);
    assert_eq!(rig.lsi.snapshots(), [NONE; 4]);
    assert_eq!(rig.interrupts(), (0, 0, 0));
    rig.script(&[select_atn(3, 0), mov(Phase::MessageOut, 1, TABLE)]);
    let both = [snapshot(0x80, 0x80), snapshot(0x0400, 0), NONE, NONE];
    assert_eq!(rig.lsi.snapshots(), both);
    // Behind it something waits: a read would bring it forward.
    rig.script(&[int(5)]);
    assert_eq!(rig.lsi.snapshots(), [NONE; 4]);
    assert_eq!(rig.read(at::SIST0, Width::Word), 0x0400);
    assert_eq!(rig.lsi.snapshots()[0], snapshot(0x84, 0x80));
    rig.assert_int(5);
}

#[test]
fn nothing_is_offered_while_scripts_run() {
    let mut rig = Rig::new();
    // Masked: GEN does not stop SCRIPTS.
    rig.w8(at::STIME1, 1);
    rig.script(&[wait_reselect(SCRIPT + 8), int(2)]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.lsi.snapshots(), [NONE; 4]);
    rig.w8(at::ISTAT0, 0x20);
    rig.run();
    assert_eq!(rig.lsi.snapshots()[1], snapshot(0x0200, 0));
    rig.lsi.claim(1);
    assert_eq!(rig.interrupts(), (1, 4, 0));
}

/// What a driver, SCRIPTS and time do.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u8, u8),
    Int,
    Illegal,
    NobodyAnswers,
    WrongPhase,
    WaitReselect,
    Pass,
    /// One rig reads, the other takes.
    Read(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let enables = (0_u8..3, any::<u8>()).prop_map(|(which, value)| {
        Act::Write([at::DIEN, at::SIEN0, at::SIEN1][usize::from(which)], value)
    });
    let istat = prop_oneof![Just(0x04_u8), Just(0x20), Just(0x80), Just(0)];
    prop_oneof![
        2 => enables,
        1 => istat.prop_map(|value| Act::Write(at::ISTAT0, value)),
        1 => Just(Act::Write(at::ISTAT0 + 1, 1)),
        1 => Just(Act::Write(at::ISTAT0 + 1, 0)),
        1 => Just(Act::Write(at::STIME1, 1)),
        1 => Just(Act::Write(at::SCNTL1, 0x08)),
        1 => Just(Act::Write(at::SCNTL1, 0)),
        1 => Just(Act::Write(at::DCNTL, 2)),
        1 => Just(Act::Write(at::DCNTL, 0)),
        2 => Just(Act::Int),
        1 => Just(Act::Illegal),
        1 => Just(Act::NobodyAnswers),
        1 => Just(Act::WrongPhase),
        1 => Just(Act::WaitReselect),
        2 => Just(Act::Pass),
        6 => (0_u32..2).prop_map(Act::Read),
    ]
}

/// Runs until nothing is left to do. A slice that does not stir changes nothing that is published or shown.
fn run(rig: &mut Rig) {
    for _ in 0..100 {
        let quiet = !rig.lsi.will_act(rig.now);
        let before = (rig.lsi.interrupts, rig.lsi.istat0(), rig.lsi.snapshots());
        let progress = rig.run_once();
        if quiet {
            let after = (rig.lsi.interrupts, rig.lsi.istat0(), rig.lsi.snapshots());
            assert_eq!(before, after);
        }
        if progress == outrigger_device::device::Progress::Idle {
            return;
        }
    }
}

fn script(rig: &mut Rig, words: &[[u32; 2]]) {
    rig.poke32(SCRIPT, words.as_flattened());
    rig.w32(at::DSP, SCRIPT);
    run(rig);
}

fn does(rig: &mut Rig, act: Act) {
    match act {
        Act::Write(register, value) => rig.w8(register, value),
        Act::Int => script(rig, &[int(1)]),
        Act::Illegal => script(rig, &[[0xffff_ffff, 0]]),
        Act::NobodyAnswers => script(
            rig,
            &[
                select_atn(3, SCRIPT + 16),
                mov(Phase::MessageOut, 1, TABLE),
                int(3),
            ],
        ),
        Act::WrongPhase => script(
            rig,
            &[
                select_atn(0, SCRIPT + 16),
                mov(Phase::DataIn, 1, TABLE),
                int(4),
            ],
        ),
        Act::WaitReselect => script(rig, &[wait_reselect(SCRIPT + 8), int(2)]),
        Act::Pass => rig.now += Duration::from_millis(1),
        Act::Read(_) => {}
    }
    run(rig);
}

fn shows(rig: &mut Rig) -> (crate::lsi::interrupt::Interrupts, u8, bool, bool) {
    let lsi = &rig.lsi;
    (
        lsi.interrupts,
        lsi.istat0().bits(),
        lsi.interrupt(),
        lsi.line_held,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 16 * 3))]

    #[test]
    fn taking_is_reading(acts in prop::collection::vec(act(), 1..40), narrow in any::<bool>()) {
        let model = if narrow { Model::Lsi53c810 } else { Model::Lsi53c895a };
        let rig = || Rig::with(model, Backend::memory(vec![0; 512 * 64], false));
        let (mut one, mut other) = (rig(), rig());
        other.now = one.now;
        for act in acts {
            does(&mut one, act);
            does(&mut other, act);
            if let Act::Read(group) = act {
                let (register, width) = [(at::DSTAT, Width::Byte), (at::SIST0, Width::Word)][group as usize];
                let before = one.lsi.istat0().bits();
                let published = one.lsi.snapshots()[group as usize];
                let read = other.read(register, width);
                match published {
                    Some(snapshot) => {
                        prop_assert_eq!(u32::from(snapshot.value), read);
                        one.lsi.claim(group);
                        // All that it has done.
                        let summary = [1, 2][group as usize];
                        prop_assert_eq!(one.lsi.istat0().bits(), before & !summary);
                        prop_assert_eq!(other.read(register, width), u32::from(snapshot.residual));
                    }
                    None => prop_assert_eq!(one.read(register, width), read),
                }
            }
            prop_assert_eq!(shows(&mut one), shows(&mut other));
        }
    }
}
