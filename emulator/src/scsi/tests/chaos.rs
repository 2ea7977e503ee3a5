//! An initiator that does anything in any order.

use proptest::prelude::*;

use super::queue::held_back;
use super::{DiskOptions, NEXUS, Nexus, RAM, Rig};
use crate::scsi::{Attribute, Bus, Cdrom, CdromOptions, Disk, Management, TaskId, Want};
use outrigger_block::{Backend, Hold};
use outrigger_device::dma::fixture;

#[derive(Clone, Debug)]
enum Act {
    Begin(Nexus, Attribute, Vec<u8>),
    Transfer(u8, u64, u32),
    Bytes(u8, usize),
    Disconnect(u8),
    Reselect,
    Finish(u8),
    Manage(Nexus, Management),
    Reset,
    Quiesce,
    Release(u64),
}

fn nexus() -> impl Strategy<Value = Nexus> {
    (0u8..4, 0u8..3, proptest::option::of(0u8..4)).prop_map(|(target, lun, tag)| Nexus {
        target,
        lun,
        tag,
    })
}

fn cdb() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..64, 1u8..8).prop_map(|(lba, count)| vec![8, 0, 0, lba, count, 0]),
        4 => (0u8..64, 1u8..8).prop_map(|(lba, count)| vec![10, 0, 0, lba, count, 0]),
        2 => (0u8..64, 1u8..8).prop_map(|(lba, count)| vec![0x2f, 2, 0, 0, 0, lba, 0, 0, count, 0]),
        1 => Just(vec![0x12, 0, 0, 0, 36, 0]),
        1 => Just(vec![3, 0, 0, 0, 18, 0]),
        1 => Just(vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        1 => Just(vec![0x15, 0x10, 0, 0, 24, 0]),
        1 => (0u8..64).prop_map(|lba| vec![0x2e, 0, 0, 0, 0, lba, 0, 0, 2, 0]),
        1 => (0u8..64).prop_map(|lba| vec![0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 1, 0, 0]),
        1 => (0u8..4).prop_map(|bits| vec![0x1b, 0, 0, 0, bits, 0]),
        1 => proptest::collection::vec(any::<u8>(), 0..17),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let attribute = prop_oneof![
        4 => Just(Attribute::Simple),
        1 => Just(Attribute::Ordered),
        1 => Just(Attribute::HeadOfQueue),
    ];
    let function = prop_oneof![
        Just(Management::AbortTask),
        Just(Management::AbortTaskSet),
        Just(Management::ClearTaskSet),
        Just(Management::LogicalUnitReset),
        Just(Management::TargetReset),
    ];
    prop_oneof![
        8 => (nexus(), attribute, cdb()).prop_map(|(nexus, attribute, cdb)| Act::Begin(nexus, attribute, cdb)),
        8 => (any::<u8>(), 0..RAM + 4096, 1u32..9000).prop_map(|(task, address, count)| Act::Transfer(task, address, count)),
        4 => (any::<u8>(), 0usize..2000).prop_map(|(task, count)| Act::Bytes(task, count)),
        4 => any::<u8>().prop_map(Act::Disconnect),
        6 => Just(Act::Reselect),
        4 => any::<u8>().prop_map(Act::Finish),
        1 => (nexus(), function).prop_map(|(nexus, function)| Act::Manage(nexus, function)),
        1 => Just(Act::Reset),
        1 => Just(Act::Quiesce),
        6 => (1u64..4).prop_map(Act::Release),
    ]
}

proptest! {
    /// No panic, no task lost: each ends once, and the bus is empty after a reset.
    #[test]
    fn anything_in_any_order(acts in proptest::collection::vec(act(), 1..150)) {
        let mut bus = Bus::new();
        let mut handles = Vec::new();
        for (target, lun) in [(0, 0), (0, 1), (1, 0)] {
            let memory = Backend::memory(vec![0; 64 * 512], false);
            let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("a delay");
            handles.push(handle);
            let disk = Disk::new(backend, DiskOptions::default()).expect("a disk");
            bus.attach(target, lun, disk.into()).expect("a place");
        }
        let disc = Backend::memory(vec![0; 64 * 2048], true);
        let (disc, handle) = Backend::delay(disc, Hold::UntilReleased).expect("a delay");
        handles.push(handle);
        let cdrom = Cdrom::new(Some(disc), CdromOptions::default()).expect("a drive");
        bus.attach(2, 0, cdrom.into()).expect("a place");
        let dma = fixture::gate(&[(0, RAM)]);
        let mut tasks: Vec<TaskId> = Vec::new();
        for act in acts {
            let pick = |tasks: &[TaskId], n: u8| tasks.get(usize::from(n) % tasks.len().max(1)).copied();
            match act {
                Act::Begin(nexus, attribute, cdb) => tasks.push(bus.begin(nexus, attribute, &cdb)),
                Act::Transfer(n, address, count) => if let Some(task) = pick(&tasks, n) {
                    // A fault is as good as a transfer.
                    let _ = bus.transfer(&dma, task, address, count);
                },
                Act::Bytes(n, count) => if let Some(task) = pick(&tasks, n) {
                    prop_assert!(bus.transfer_bytes(task, &mut vec![1; count]) <= count);
                },
                Act::Disconnect(n) => if let Some(task) = pick(&tasks, n) { bus.disconnect(task) },
                Act::Reselect => {
                    let wanted = bus.wants_reselection();
                    let back = bus.reselection();
                    prop_assert_eq!(wanted, back.is_some());
                    if let Some((task, _)) = back {
                        prop_assert!(!matches!(bus.want(task), Want::Wait | Want::Gone));
                    }
                }
                Act::Finish(n) => if let Some(task) = pick(&tasks, n) {
                    bus.finish(task);
                    prop_assert_eq!(bus.want(task), Want::Gone);
                },
                Act::Manage(nexus, function) => bus.manage(nexus, function),
                Act::Reset => {
                    bus.reset();
                    prop_assert_eq!(bus.tasks(), 0);
                }
                Act::Quiesce => {
                    bus.quiesce();
                    prop_assert!(!tasks.iter().any(|task| bus.holds_guest_memory(*task)));
                }
                Act::Release(count) => {
                    for handle in &handles {
                        handle.release(count);
                    }
                    bus.kick();
                    bus.poll(std::time::Instant::now());
                }
            }
            let live = tasks.iter().filter(|task| bus.want(**task) != Want::Gone).count();
            prop_assert_eq!(bus.tasks(), live);
        }
        // Whoever is left can go on to its end, if the initiator fetches sense data.
        // Where there is no unit, there are sense data all the same.
        let units: Vec<_> = (0..3).flat_map(|target| (0..3).map(move |lun| (target, lun))).collect();
        for _ in 0..tasks.len() * 20 {
            for handle in &handles {
                handle.release(4);
            }
            bus.poll(std::time::Instant::now());
            while bus.reselection().is_some() {}
            for task in &tasks {
                let left = bus.want(*task).bytes();
                let _ = bus.transfer(&dma, *task, 0, left);
                if let Want::Status(_) = bus.want(*task) {
                    bus.finish(*task);
                }
                bus.disconnect(*task);
            }
            for &(target, lun) in &units {
                let nexus = Nexus { target, lun, tag: Some(255) };
                let sense = bus.begin(nexus, Attribute::Simple, &[3, 0, 0, 0, 18, 0]);
                let _ = bus.transfer(&dma, sense, 0, 18);
                prop_assert_eq!(bus.want(sense), Want::Status(0));
                bus.finish(sense);
            }
            if bus.tasks() == 0 {
                break;
            }
        }
        prop_assert_eq!(bus.tasks(), 0);
    }
}

/// A disconnected task is in no data phase: what is moved for it meanwhile does not count, and it reselects for all of it.
#[test]
fn no_data_move_for_a_disconnected_task() {
    let (mut rig, handle) = held_back();
    let sense = rig
        .bus
        .begin(NEXUS, Attribute::Simple, &[3, 0, 0, 0, 18, 0]);
    rig.bus.finish(sense);
    let read = rig.bus.begin(NEXUS, Attribute::Simple, &[8, 0, 0, 3, 1, 0]);
    rig.bus.disconnect(read);
    rig.bus.transfer(&rig.dma, read, 0, 512).expect("RAM");
    assert_eq!(rig.bus.transfer_bytes(read, &mut [0; 8]), 0);
    assert!(rig.bus.wants_reselection());
    assert_eq!(rig.bus.reselection(), Some((read, NEXUS)));
    assert_eq!(rig.bus.want(read), Want::DataIn(512));
    rig.bus.transfer(&rig.dma, read, 0, 512).expect("RAM");
    assert_eq!(rig.bus.want(read), Want::Wait);
    rig.release(&handle, 1);
    assert_eq!(rig.finish(read).status, 0);
    assert_eq!(rig.block(0), [3; 512]);
}

/// Status cannot be taken from a disconnected task: it is aborted, and what it had to report is not lost.
#[test]
fn no_status_from_a_disconnected_task() {
    let mut rig = Rig::blank(8);
    rig.bus.reset();
    let task = rig.bus.begin(NEXUS, Attribute::Simple, &[0; 6]);
    assert_eq!(rig.bus.want(task), Want::Status(2));
    rig.bus.disconnect(task);
    rig.bus.finish(task);
    assert_eq!(rig.bus.tasks(), 0);
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
}
