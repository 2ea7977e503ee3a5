//! Aborts, resets and quiescence, at each stage of a task.

use super::queue::held_back;
use super::{NEXUS, Nexus, Rig};
use crate::scsi::{Attribute, Management, TaskId, Want};
use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::dma::fixture;

/// The stages at which a task can be caught.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Dormant,
    DataPhase,
    PartlyGathered,
    InFlight,
    WantsReselection,
    Status,
    Answer,
    Parameters,
}

const STAGES: [Stage; 8] = [
    Stage::Dormant,
    Stage::DataPhase,
    Stage::PartlyGathered,
    Stage::InFlight,
    Stage::WantsReselection,
    Stage::Status,
    Stage::Answer,
    Stage::Parameters,
];

const TAGGED: Nexus = Nexus {
    tag: Some(9),
    ..NEXUS
};

/// Brings a task to that stage.
fn catch(stage: Stage) -> (Rig, DelayHandle, TaskId) {
    let (mut rig, handle) = held_back();
    let cdb: &[u8] = match stage {
        Stage::Answer => &[0x12, 0, 0, 0, 36, 0],
        Stage::Parameters => &[0x15, 0x10, 0, 0, 24, 0],
        _ => &[8, 0, 0, 9, 1, 0],
    };
    if let Stage::Dormant = stage {
        rig.start_read(1, Attribute::Ordered);
    }
    let task = rig.bus.begin(TAGGED, Attribute::Simple, cdb);
    match stage {
        Stage::Dormant => assert_eq!(rig.bus.want(task), Want::Wait),
        Stage::DataPhase => {}
        Stage::PartlyGathered | Stage::Answer | Stage::Parameters => {
            rig.bus.transfer(&rig.dma, task, 9 * 512, 10).expect("RAM");
        }
        Stage::InFlight | Stage::WantsReselection | Stage::Status => {
            rig.gather(task, 9);
            if !matches!(stage, Stage::Status) {
                rig.bus.disconnect(task);
            }
            if !matches!(stage, Stage::InFlight) {
                rig.release(&handle, 1);
            }
        }
    }
    (rig, handle, task)
}

#[test]
fn abort_at_each_stage() {
    use Management::{AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetReset};
    for stage in STAGES {
        for function in [
            AbortTask,
            AbortTaskSet,
            ClearTaskSet,
            LogicalUnitReset,
            TargetReset,
        ] {
            let (mut rig, handle, task) = catch(stage);
            // As often as the guest likes.
            for _ in 0..3 {
                rig.bus.manage(TAGGED, function);
                assert_eq!(rig.bus.want(task), Want::Gone, "{stage:?} {function:?}");
            }
            let before = rig.block(9);
            rig.release(&handle, 100);
            rig.bus.finish(task);
            assert!(!rig.bus.reselection().is_some_and(|(id, _)| id == task));
            assert_eq!(rig.block(9), before, "no DMA afterwards");
            let others = usize::from(matches!((stage, function), (Stage::Dormant, AbortTask)));
            assert_eq!(rig.bus.tasks(), others);
            // A reset is reported, an abort is not.
            let reset = matches!(function, LogicalUnitReset | TargetReset);
            if others == 0 {
                assert_eq!(rig.run(&[0; 6]).status, if reset { 2 } else { 0 });
                let code = rig.data(&[3, 0, 0, 0, 18, 0])[12..14].to_vec();
                assert_eq!(code, if reset { [0x29, 3] } else { [0, 0] });
            }
        }
    }
}

#[test]
fn bus_reset_at_each_stage() {
    for stage in STAGES {
        let (mut rig, handle, task) = catch(stage);
        rig.bus.reset();
        assert_eq!(
            (rig.bus.want(task), rig.bus.tasks()),
            (Want::Gone, 0),
            "{stage:?}"
        );
        let before = rig.block(9);
        rig.release(&handle, 100);
        assert_eq!(rig.block(9), before);
        assert_eq!(rig.sense(&[0; 6])[12..14], [0x29, 2]);
    }
}

#[test]
fn finish_before_the_status_is_an_abort() {
    for stage in STAGES {
        let (mut rig, handle, task) = catch(stage);
        rig.bus.finish(task);
        assert_eq!(rig.bus.want(task), Want::Gone, "{stage:?}");
        let before = rig.block(9);
        rig.release(&handle, 100);
        assert_eq!(rig.block(9), before);
    }
}

#[test]
fn an_abort_leaves_the_others_alone() {
    let (mut rig, handle) = held_back();
    let first = rig.start_read(1, Attribute::Simple);
    let second = rig.start_read(2, Attribute::Simple);
    rig.bus.manage(
        Nexus {
            tag: Some(1),
            ..NEXUS
        },
        Management::AbortTask,
    );
    assert_eq!(rig.bus.want(first), Want::Gone);
    rig.release(&handle, 2);
    assert_eq!(rig.bus.want(second), Want::Status(0));
    assert_eq!(rig.block(2), [2; 512]);
}

#[test]
fn an_abort_enables_those_that_waited() {
    let (mut rig, handle) = held_back();
    rig.start_read(1, Attribute::Ordered);
    let second = rig.start_read(2, Attribute::Simple);
    assert_eq!(rig.bus.want(second), Want::Wait);
    rig.bus.manage(
        Nexus {
            tag: Some(1),
            ..NEXUS
        },
        Management::AbortTask,
    );
    assert_eq!(rig.bus.want(second), Want::DataIn(512));
    assert_eq!(rig.bus.reselection().map(|(task, _)| task), Some(second));
    assert_eq!(handle.held(), 0);
}

#[test]
fn a_reset_of_one_target_leaves_the_others_alone() {
    let (mut rig, _handle) = held_back();
    let task = rig.start_read(1, Attribute::Simple);
    rig.bus
        .manage(Nexus { target: 5, ..NEXUS }, Management::TargetReset);
    rig.bus
        .manage(Nexus { lun: 1, ..NEXUS }, Management::LogicalUnitReset);
    assert_eq!(rig.bus.want(task), Want::Wait);
}

#[test]
fn quiescence_keeps_tasks_and_lets_go_of_guest_ram() {
    for stage in STAGES {
        let (mut rig, handle, task) = catch(stage);
        rig.bus.quiesce();
        assert_eq!(handle.held(), 0, "{stage:?}");
        // Guest RAM goes away and other RAM comes in its place.
        rig.dma = fixture::gate(&[(0, super::RAM)]);
        let tasks = if matches!(stage, Stage::Dormant) {
            2
        } else {
            1
        };
        assert_eq!(rig.bus.tasks(), tasks);
        if matches!(stage, Stage::PartlyGathered) {
            assert_eq!(rig.bus.want(task), Want::DataIn(502));
            rig.bus
                .transfer(&rig.dma, task, 9 * 512 + 10, 502)
                .expect("RAM");
            rig.release(&handle, 1);
            assert_eq!(rig.bus.want(task), Want::Status(0));
            let mut expected = [9; 512];
            expected[..10].fill(0);
            assert_eq!(rig.block(9), expected, "each part went where it was said");
        }
    }
}

#[test]
fn writes_that_were_gathered_survive_quiescence() {
    let backend = Backend::memory(vec![0; 64 * 512], false);
    let (backend, handle) = Backend::delay(backend, Hold::UntilReleased).expect("a delay");
    let mut rig = Rig::new(backend);
    rig.dma.write(0, &[1; 1024]).expect("RAM");
    let task = rig
        .bus
        .begin(NEXUS, Attribute::Simple, &[10, 0, 0, 3, 2, 0]);
    rig.bus.transfer(&rig.dma, task, 0, 700).expect("RAM");
    rig.bus.quiesce();
    rig.dma.write(0, &[2; 1024]).expect("RAM");
    rig.bus.transfer(&rig.dma, task, 700, 324).expect("RAM");
    rig.release(&handle, 1);
    assert_eq!(rig.finish(task).status, 0);
    handle.release(1);
    let data = rig.data(&[8, 0, 0, 3, 2, 0]);
    assert!(data[..700].iter().all(|byte| *byte == 1));
    assert!(data[700..].iter().all(|byte| *byte == 2));
}

#[test]
fn a_bus_can_be_dropped_at_each_stage() {
    for stage in STAGES {
        drop(catch(stage));
    }
}
