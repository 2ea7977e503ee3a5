//! Sense data: each CHECK CONDITION's are fetched once and are the right ones, whatever else goes on (SCSI-2 section 7.6).

use super::queue::tagged;
use super::{NEXUS, Rig};
use crate::scsi::{Attribute, Management, TaskId, Want};
use outrigger_block::{Backend, DelayHandle, FailRule, Failure, Hold, Op};

pub(super) const REQUEST_SENSE: [u8; 6] = [3, 0, 0, 0, 18, 0];

/// Blocks of the disk; those from the middle on cannot be read.
pub(super) const BLOCKS: u8 = 64;
pub(super) const FIRST_BAD: u8 = 32;

/// A disk of which half cannot be read; its requests wait until they are released.
pub(super) fn half_bad() -> (Backend, DelayHandle) {
    let rule = FailRule {
        ops: |op| op == Op::Read,
        range: u64::from(FIRST_BAD) * 512..u64::MAX,
        after: 0,
        times: u64::MAX,
        failure: Failure::Io(5),
    };
    let memory = Backend::memory(vec![0; usize::from(BLOCKS) * 512], false);
    Backend::delay(Backend::fail(memory, rule), Hold::UntilReleased).expect("a delay")
}

/// A read that needs at least two connections: the blocks from `first` to `last`.
pub(super) fn read(first: u8, last: u8) -> [u8; 6] {
    [8, 0, 0, first, last - first + 1, 0]
}

impl Rig {
    /// Takes one byte: the medium is read ahead for it, and the task waits meanwhile.
    fn take_a_byte(&mut self, task: TaskId) {
        while self.bus.transfer_bytes(task, &mut [0]) == 0 {
            assert_eq!(self.bus.want(task), Want::Wait);
            self.bus.poll(std::time::Instant::now());
        }
    }

    /// The block that the sense data name.
    fn failed_block(&mut self) -> u8 {
        let sense = self.data(&REQUEST_SENSE);
        assert_eq!((sense[2], sense[12]), (3, 0x11), "{sense:02x?}");
        sense[6]
    }
}

/// The first task's sense data are kept while the second one, in its data phase, fails too.
#[test]
fn a_task_that_comes_back_for_more_data_overwrites_nothing() {
    let (backend, handle) = half_bad();
    let mut rig = Rig::new(backend);
    let first = rig.bus.begin(tagged(1), Attribute::Simple, &read(40, 40));
    rig.bus.transfer(&rig.dma, first, 0, 512).expect("RAM");
    rig.bus.disconnect(first);
    let second = rig.bus.begin(tagged(2), Attribute::Simple, &read(31, 32));
    assert_eq!(rig.bus.transfer_bytes(second, &mut [0]), 0);
    rig.bus.disconnect(second);
    rig.release(&handle, 2);

    assert_eq!(rig.bus.reselection(), Some((first, tagged(1))));
    assert_eq!(rig.finish(first).status, 2);
    assert_eq!(rig.bus.reselection(), Some((second, tagged(2))));
    rig.take_a_byte(second);
    rig.bus.transfer(&rig.dma, second, 0, 511).expect("RAM");
    rig.bus.transfer(&rig.dma, second, 0, 512).expect("RAM");
    rig.release(&handle, 1);
    // It has failed, but cannot say so yet: it disconnects, and stays away.
    assert_eq!(rig.bus.want(second), Want::Wait);
    rig.bus.disconnect(second);
    assert!(!rig.bus.wants_reselection());
    assert_eq!(rig.failed_block(), 40);
    assert_eq!(rig.bus.reselection(), Some((second, tagged(2))));
    assert_eq!(rig.finish(second).status, 2);
    assert_eq!(rig.failed_block(), 32);
    // Nothing is left.
    assert_eq!(rig.data(&REQUEST_SENSE)[2], 0);
}

/// An initiator that does not let the failed task disconnect gets BUSY: it sends the command again, and nothing is lost.
#[test]
fn a_failed_task_that_cannot_disconnect_is_busy() {
    let (backend, handle) = half_bad();
    let mut rig = Rig::new(backend);
    let tasks = [(1, 40), (2, 50)].map(|(tag, block)| {
        let task = rig
            .bus
            .begin(tagged(tag), Attribute::Simple, &read(block, block));
        rig.bus.transfer(&rig.dma, task, 0, 512).expect("RAM");
        task
    });
    rig.release(&handle, 2);
    // Without a reason nothing changes.
    rig.bus.refuse_disconnect(tasks[1]);
    assert_eq!(rig.bus.want(tasks[1]), Want::Status(2));
    assert_eq!(rig.finish(tasks[0]).status, 2);
    assert_eq!(rig.bus.want(tasks[1]), Want::Wait);
    rig.bus.refuse_disconnect(tasks[1]);
    assert_eq!(rig.finish(tasks[1]).status, 8);
    assert_eq!(rig.failed_block(), 40);
    assert_eq!(rig.data(&REQUEST_SENSE)[2], 0);
}

/// ABORT ends the contingent allegiance condition, ABORT TAG does not.
#[test]
fn abort_drops_the_sense_data() {
    let mut rig = Rig::blank(8);
    let wrong = [8, 0, 0, 8, 1, 0];
    for (function, key) in [
        (Management::AbortTask, 5),
        (Management::AbortTaskSet, 0),
        (Management::ClearTaskSet, 0),
    ] {
        assert_eq!(rig.run(&wrong).status, 2);
        rig.bus.manage(tagged(9), function);
        assert_eq!(rig.data(&REQUEST_SENSE)[2], key, "{function:?}");
    }
}

/// A full task set has room for REQUEST SENSE: otherwise the sense data would be lost.
#[test]
fn request_sense_fits_a_full_task_set() {
    let (mut rig, _handle) = super::queue::held_back();
    for tag in 0..=255 {
        let block = tag % 64;
        let task = rig
            .bus
            .begin(tagged(tag), Attribute::Simple, &read(block, block));
        rig.gather(task, block);
        rig.bus.disconnect(task);
    }
    assert_eq!(rig.bus.tasks(), 256);
    let task = rig.bus.begin(NEXUS, Attribute::Simple, &[0; 6]);
    assert_eq!(rig.finish(task).status, 0x28);
    assert_eq!(rig.data(&REQUEST_SENSE)[2], 0);
}

/// A unit attention condition that has not been reported stays, and a reset does not hide that the medium has changed.
#[test]
fn unit_attention_conditions_are_not_lost() {
    let mut rig = Rig::blank(8);
    let resized = |rig: &mut Rig, blocks: usize| {
        let backend = Backend::memory(vec![0; blocks * 512], false);
        rig.bus.replace_backend(0, 0, backend);
    };
    resized(&mut rig, 16);
    // INQUIRY leaves the condition pending, also over a reset.
    assert_eq!(rig.run(&[0x12, 0, 0, 0, 36, 0]).status, 0);
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x2a, 9));
    // A device reset says less than one of the bus.
    rig.bus.reset();
    rig.bus.manage(NEXUS, Management::TargetReset);
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    // Neither CHECK CONDITION nor REQUEST SENSE that is aborted has reported it.
    for cdb in [[0; 6], REQUEST_SENSE] {
        resized(&mut rig, 8);
        let task = rig.bus.begin(tagged(1), Attribute::Simple, &cdb);
        assert_ne!(rig.bus.want(task), Want::Status(0));
        rig.bus.manage(tagged(1), Management::AbortTask);
        assert_eq!(rig.bus.want(task), Want::Gone);
        assert_eq!(rig.data(&REQUEST_SENSE)[12], 0x2a);
        assert_eq!(rig.run(&[0; 6]).status, 0);
        resized(&mut rig, 16);
        assert_eq!(rig.refusal(&[0; 6]), (6, 0x2a, 9));
    }
}
