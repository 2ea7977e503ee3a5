//! Requests that have failed and are held back until they succeed: no status before, and none lost.

use std::time::{Duration, Instant};

use super::queue::tagged;
use super::{NEXUS, Rig};
use crate::scsi::{Attribute, ErrorPolicy, Management, OnError, TaskId, Want};
use outrigger_block::Failure;

const WRITE: [u8; 6] = [10, 0, 0, 4, 2, 0];
const READ: [u8; 6] = [8, 0, 0, 4, 2, 0];
const FLUSH: [u8; 10] = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const HOLD: ErrorPolicy = ErrorPolicy {
    read: OnError::Hold,
    write: OnError::Hold,
};

fn failing(failure: Failure, times: u64, errors: ErrorPolicy) -> Rig {
    Rig::failing(failure, times, |_| true, errors)
}

impl Rig {
    /// Begins a command, whose request is held back.
    fn begin_held(&mut self, tag: u8, cdb: &[u8]) -> TaskId {
        let task = self.bus.begin(tagged(tag), Attribute::Simple, cdb);
        self.gather(task, 0);
        assert_eq!(self.bus.want(task), Want::Wait, "{cdb:02x?}");
        self.bus.poll(Instant::now());
        assert_eq!(self.bus.want(task), Want::Wait, "{cdb:02x?}");
        task
    }

    /// The time comes when held requests are made again.
    fn try_again(&mut self) {
        let due = self.bus.deadline().expect("something is held");
        assert!(due <= Instant::now() + Duration::from_secs(1));
        self.bus.poll(due - Duration::from_nanos(1));
        assert_eq!(self.bus.deadline(), Some(due), "too early");
        self.bus.poll(due);
    }
}

#[test]
fn a_held_write_is_made_again_until_it_succeeds() {
    for failure in [Failure::NoSpace, Failure::Io(5)] {
        let mut rig = failing(failure, 3, HOLD);
        rig.dma.write(0, &[1; 1024]).expect("RAM");
        let task = rig.begin_held(1, &WRITE);
        for _ in 0..2 {
            rig.try_again();
            assert_eq!(rig.bus.want(task), Want::Wait);
        }
        rig.try_again();
        assert_eq!(rig.bus.want(task), Want::Status(0));
        assert_eq!(rig.bus.deadline(), None);
        rig.bus.finish(task);
        assert_eq!(rig.data(&READ), [1; 1024]);
    }
}

#[test]
fn a_held_read_arrives_late() {
    let mut rig = failing(Failure::Io(5), 1, HOLD);
    let task = rig.begin_held(1, &READ);
    rig.bus.disconnect(task);
    assert!(!rig.bus.wants_reselection());
    rig.try_again();
    assert_eq!(rig.bus.reselection(), Some((task, tagged(1))));
    let mut data = [0; 1024];
    rig.dma.read(0, &mut data).expect("RAM");
    assert_eq!(data, [7; 1024]);
}

#[test]
fn others_go_on_meanwhile() {
    let mut rig = failing(Failure::NoSpace, 2, HOLD);
    let first = rig.begin_held(1, &WRITE);
    let second = rig.begin_held(2, &[10, 0, 0, 5, 1, 0]);
    assert_eq!(rig.run(&[10, 0, 0, 0, 4, 0]).status, 0);
    assert_eq!(rig.run(&[8, 0, 0, 0, 4, 0]).status, 0);
    rig.try_again();
    for task in [first, second] {
        assert_eq!(rig.finish(task).status, 0);
    }
}

#[test]
fn only_a_lack_of_space_is_held_if_that_is_asked_for() {
    let policy = ErrorPolicy {
        read: OnError::Report,
        write: OnError::HoldNoSpace,
    };
    let mut rig = failing(Failure::Io(5), 1, policy);
    assert_eq!(rig.refusal(&WRITE), (3, 0x0c, 0));
    let mut rig = failing(Failure::NoSpace, 2, policy);
    assert_eq!(rig.refusal(&READ), (7, 0x27, 7));
    let task = rig.begin_held(1, &WRITE);
    rig.try_again();
    assert_eq!(rig.finish(task).status, 0);
    // What the initiator asks for wrongly is its own.
    for failure in [Failure::OutOfRange, Failure::ReadOnly] {
        let mut rig = failing(failure, 1, HOLD);
        assert_eq!(rig.run(&WRITE).status, 2);
    }
}

#[test]
fn a_failed_flush_is_not_held() {
    let mut rig = failing(Failure::NoSpace, 1, HOLD);
    assert_eq!(rig.refusal(&FLUSH), (7, 0x27, 7));
    assert_eq!(rig.run(&FLUSH).status, 0);
}

#[test]
fn a_held_request_is_aborted_like_any_other() {
    use Management::{AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, TargetReset};
    for function in [
        Some(AbortTask),
        Some(AbortTaskSet),
        Some(ClearTaskSet),
        Some(LogicalUnitReset),
        Some(TargetReset),
        None,
    ] {
        let mut rig = failing(Failure::NoSpace, u64::MAX, HOLD);
        let task = rig.begin_held(1, &WRITE);
        let other = rig.begin_held(2, &WRITE);
        match function {
            Some(function) => rig.bus.manage(tagged(1), function),
            None => rig.bus.reset(),
        }
        assert_eq!(rig.bus.want(task), Want::Gone, "{function:?}");
        if function == Some(AbortTask) {
            assert_eq!(rig.bus.want(other), Want::Wait);
            rig.try_again();
            assert_eq!(rig.bus.want(other), Want::Wait);
            rig.bus.manage(tagged(2), AbortTask);
        }
        assert_eq!(rig.bus.want(other), Want::Gone, "{function:?}");
        assert_eq!((rig.bus.tasks(), rig.bus.deadline()), (0, None));
        // A reset has left its attention.
        rig.run(&[0; 6]);
        rig.bus.poll(Instant::now() + Duration::from_secs(2));
        assert_eq!(rig.data(&[8, 0, 0, 0, 1, 0]), [7; 512]);
    }
}

#[test]
fn guest_ram_that_goes_away_ends_the_holding() {
    for cdb in [WRITE, READ] {
        let mut rig = failing(Failure::NoSpace, 1, HOLD);
        let task = rig.begin_held(1, &cdb);
        rig.bus.quiesce();
        assert_eq!(rig.bus.want(task), Want::Status(2), "{cdb:02x?}");
        assert!(!rig.bus.holds_guest_memory(task));
        rig.bus.finish(task);
        assert_eq!(rig.data(&[3, 0, 0, 0, 18, 0])[2], 7);
        assert_eq!(rig.bus.deadline(), None);
        assert_eq!(rig.run_at(NEXUS, &cdb).status, 0);
    }
    // One that fails only while it is waited for is not held either.
    let mut rig = failing(Failure::NoSpace, u64::MAX, HOLD);
    let task = rig.bus.begin(tagged(1), Attribute::Simple, &WRITE);
    rig.bus.transfer(&rig.dma, task, 0, 1023).expect("RAM");
    rig.bus.quiesce();
    assert_eq!(rig.bus.want(task), Want::Status(2));
}
