//! Several tasks at once: attributes, tags, disconnect and reselection.

use super::{NEXUS, Nexus, Rig};
use crate::scsi::{Attribute, TaskId, Want};
use outrigger_block::{Backend, DelayHandle, Hold};

/// A read of one block.
fn read(block: u8) -> [u8; 6] {
    [8, 0, 0, block, 1, 0]
}

pub(super) fn tagged(tag: u8) -> Nexus {
    Nexus {
        tag: Some(tag),
        ..NEXUS
    }
}

/// A disk of 64 blocks, each filled with its number; requests wait until they are released.
pub(super) fn held_back() -> (Rig, DelayHandle) {
    let bytes = (0..64 * 512)
        .map(|n| u8::try_from(n / 512).unwrap_or(0))
        .collect();
    let backend = Backend::memory(bytes, false);
    let (backend, handle) = Backend::delay(backend, Hold::UntilReleased).expect("a delay");
    (Rig::new(backend), handle)
}

impl Rig {
    /// Begins a read of block `tag` into guest RAM at block `tag`, and disconnects when it waits.
    pub(super) fn start_read(&mut self, tag: u8, attribute: Attribute) -> TaskId {
        let task = self.bus.begin(tagged(tag), attribute, &read(tag));
        self.gather(task, tag);
        assert_eq!(self.bus.want(task), Want::Wait);
        self.bus.disconnect(task);
        task
    }

    /// Names guest RAM at block `place` if the task is in its data phase.
    pub(super) fn gather(&mut self, task: TaskId, place: u8) {
        if let Want::DataIn(count) | Want::DataOut(count) = self.bus.want(task) {
            let address = u64::from(place) * 512;
            self.bus
                .transfer(&self.dma, task, address, count)
                .expect("RAM");
        }
    }

    /// Lets a request go and takes what comes of it.
    pub(super) fn release(&mut self, handle: &DelayHandle, count: u64) {
        handle.release(count);
        self.bus.poll(std::time::Instant::now());
    }

    /// The tag of the task that reselects, brought to its end.
    fn reselected(&mut self) -> Option<u8> {
        for _ in 0..100 {
            let (task, nexus) = self.bus.reselection()?;
            let tag = nexus.tag.expect("a tag");
            self.gather(task, tag);
            match self.bus.want(task) {
                Want::Status(_) => {
                    self.bus.finish(task);
                    return Some(tag);
                }
                Want::Wait => self.bus.disconnect(task),
                want => panic!("{want:?}"),
            }
        }
        panic!("the task does not end");
    }

    pub(super) fn block(&self, place: u8) -> [u8; 512] {
        let mut bytes = [0; 512];
        self.dma
            .read(u64::from(place) * 512, &mut bytes)
            .expect("RAM");
        bytes
    }
}

#[test]
fn simple_tasks_run_together() {
    let (mut rig, handle) = held_back();
    for tag in 1..=3 {
        rig.start_read(tag, Attribute::Simple);
    }
    assert_eq!(handle.held(), 3);
    assert!(!rig.bus.wants_reselection());
    assert_eq!(rig.bus.wake_fds().len(), 1);
    rig.release(&handle, 2);
    assert!(rig.bus.wants_reselection());
    assert_eq!(
        (rig.reselected(), rig.reselected(), rig.reselected()),
        (Some(1), Some(2), None)
    );
    assert_eq!(
        (rig.block(1), rig.block(2), rig.block(3)),
        ([1; 512], [2; 512], [0; 512])
    );
    rig.release(&handle, 1);
    assert_eq!(rig.reselected(), Some(3));
    assert_eq!((rig.block(3), rig.bus.tasks()), ([3; 512], 0));
}

#[test]
fn an_ordered_task_waits_and_is_waited_for() {
    let (mut rig, handle) = held_back();
    rig.start_read(1, Attribute::Simple);
    rig.start_read(2, Attribute::Simple);
    rig.start_read(3, Attribute::Ordered);
    rig.start_read(4, Attribute::Simple);
    assert_eq!(handle.held(), 2, "3 and 4 have not begun");
    rig.release(&handle, 1);
    assert_eq!(rig.reselected(), Some(1));
    assert!(!rig.bus.wants_reselection());
    rig.release(&handle, 1);
    // The end of 2 enables 3, which comes back for its data phase.
    assert_eq!((rig.reselected(), rig.reselected()), (Some(2), None));
    assert_eq!(handle.held(), 1);
    rig.release(&handle, 1);
    assert_eq!((rig.reselected(), rig.reselected()), (Some(3), None));
    rig.release(&handle, 1);
    assert_eq!(rig.reselected(), Some(4));
    assert_eq!(rig.block(3), [3; 512]);
    assert_eq!(rig.bus.tasks(), 0);
}

#[test]
fn head_of_queue_passes_those_that_wait() {
    let (mut rig, handle) = held_back();
    rig.start_read(1, Attribute::Simple);
    rig.start_read(2, Attribute::Ordered);
    rig.start_read(3, Attribute::HeadOfQueue);
    assert_eq!(handle.held(), 2);
    rig.release(&handle, 2);
    assert_eq!(
        (rig.reselected(), rig.reselected(), rig.reselected()),
        (Some(1), Some(3), None)
    );
    rig.release(&handle, 1);
    assert_eq!(rig.reselected(), Some(2));
}

#[test]
fn a_task_that_stays_connected_goes_on_by_itself() {
    let (mut rig, handle) = held_back();
    let task = rig.bus.begin(NEXUS, Attribute::Simple, &read(7));
    rig.gather(task, 7);
    assert_eq!(rig.bus.want(task), Want::Wait);
    rig.release(&handle, 1);
    assert!(!rig.bus.wants_reselection());
    assert_eq!(rig.bus.want(task), Want::Status(0));
    rig.bus.finish(task);
    rig.bus.finish(task);
    assert_eq!((rig.block(7), rig.bus.tasks()), ([7; 512], 0));
}

#[test]
fn overlapped_commands_abort_the_task_set() {
    let (mut rig, handle) = held_back();
    let first = rig.start_read(1, Attribute::Simple);
    let second = rig.start_read(2, Attribute::Simple);
    let overlapping = rig.bus.begin(tagged(1), Attribute::Simple, &read(3));
    assert_eq!(handle.held(), 0);
    assert_eq!(
        (rig.bus.want(first), rig.bus.want(second)),
        (Want::Gone, Want::Gone)
    );
    assert_eq!(rig.finish(overlapping).status, 2);
    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
    assert_eq!(
        sense,
        [
            0x70, 0, 0xb, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x4e, 0, 0, 0, 0, 0
        ]
    );
    assert_eq!((rig.block(1), rig.bus.tasks()), ([0; 512], 0));
}

#[test]
fn untagged_tasks_overlap_each_other_only() {
    let (mut rig, handle) = held_back();
    rig.start_read(1, Attribute::Simple);
    let untagged = rig.bus.begin(NEXUS, Attribute::Simple, &[0; 6]);
    assert_eq!(rig.finish(untagged).status, 0);
    assert_eq!(handle.held(), 1);
}

#[test]
fn a_full_task_set() {
    let (mut rig, _handle) = held_back();
    for tag in 0..=255 {
        let task = rig.bus.begin(tagged(tag), Attribute::Simple, &read(0));
        rig.bus.disconnect(task);
    }
    assert_eq!(rig.bus.tasks(), 256);
    for _ in 0..1000 {
        let task = rig.bus.begin(NEXUS, Attribute::Simple, &read(0));
        assert_eq!(rig.bus.want(task), Want::Status(0x28));
        rig.bus.disconnect(task);
    }
    assert!(rig.bus.tasks() <= 256 + 16, "refused tasks do not pile up");
    // Other units are not concerned.
    let elsewhere = rig
        .bus
        .begin(Nexus { lun: 1, ..NEXUS }, Attribute::Simple, &[0; 6]);
    assert_eq!(rig.bus.want(elsewhere), Want::Status(2));
    rig.bus.reset();
    assert_eq!(rig.bus.tasks(), 0);
    assert!(!rig.bus.wants_reselection());
}

#[test]
fn one_check_condition_at_a_time() {
    let (mut rig, _handle) = held_back();
    rig.start_read(1, Attribute::Simple);
    for tag in 2..4 {
        let task = rig
            .bus
            .begin(tagged(tag), Attribute::Ordered, &[8, 0, 0, 64, 1, 0]);
        rig.bus.disconnect(task);
    }
    rig.bus
        .manage(tagged(1), crate::scsi::Management::AbortTask);
    assert_eq!(rig.reselected(), Some(2));
    // The sense of 2 would be lost if 3 reported its own now.
    assert!(!rig.bus.wants_reselection());
    assert_eq!(rig.data(&[3, 0, 0, 0, 18, 0])[12], 0x21);
    assert_eq!(rig.reselected(), Some(3));
}

#[test]
fn impossible_places_have_no_task() {
    let (mut rig, _handle) = held_back();
    for nexus in [
        Nexus { lun: 8, ..NEXUS },
        Nexus { target: 1, ..NEXUS },
        Nexus {
            target: 255,
            ..NEXUS
        },
    ] {
        let task = rig.bus.begin(nexus, Attribute::Simple, &[0; 6]);
        assert_eq!(rig.bus.want(task), Want::Gone);
        rig.bus.disconnect(task);
        rig.bus.finish(task);
        rig.bus.manage(nexus, crate::scsi::Management::AbortTask);
        rig.bus.manage(nexus, crate::scsi::Management::TargetReset);
    }
    assert_eq!(rig.bus.tasks(), 0);
}
