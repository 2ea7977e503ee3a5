//! Sense data: each CHECK CONDITION's are fetched once and are the right ones, whatever else goes on (SCSI-2 section 7.6).

use proptest::prelude::*;

use super::queue::tagged;
use super::{NEXUS, RAM, Rig};
use crate::block::{Backend, DelayHandle, FailRule, Failure, Hold, Op};
use crate::dma::fixture;
use crate::scsi::{Attribute, Bus, Disk, DiskOptions, Management, Nexus, TaskId, Want};

const REQUEST_SENSE: [u8; 6] = [3, 0, 0, 0, 18, 0];

/// Blocks of the disk; those from the middle on cannot be read.
const BLOCKS: u8 = 64;
const FIRST_BAD: u8 = 32;

/// A disk of which half cannot be read; its requests wait until they are released.
fn half_bad() -> (Backend, DelayHandle) {
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
fn read(first: u8, last: u8) -> [u8; 6] {
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

/// What an initiator does on a bus that carries one connection at a time.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A read with this tag, from one block to another.
    Read(Option<u8>, Attribute, u8, u8),
    /// A command that fails at once.
    Wrong(Option<u8>),
    /// REQUEST SENSE.
    Fetch,
    /// TEST UNIT READY, untagged.
    Other,
    Reselect,
    /// The connected task gets this many bytes, or ends, or disconnects, as it wants.
    GoOn(u32),
    /// The connected task may not disconnect.
    Stay,
    Abort(Option<u8>),
    AbortAll,
    Reset,
    Release(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let tag = || proptest::option::weighted(0.8, 0u8..4);
    let attribute = prop_oneof![
        6 => Just(Attribute::Simple),
        1 => Just(Attribute::Ordered),
        1 => Just(Attribute::HeadOfQueue),
    ];
    let blocks = (FIRST_BAD - 4..BLOCKS, 0u8..4);
    prop_oneof![
        6 => (tag(), attribute, blocks).prop_map(|(tag, attribute, (first, more))| {
            Act::Read(tag, attribute, first, (first + more).min(BLOCKS - 1))
        }),
        1 => tag().prop_map(Act::Wrong),
        3 => Just(Act::Fetch),
        1 => Just(Act::Other),
        6 => Just(Act::Reselect),
        16 => (1u32..1500).prop_map(Act::GoOn),
        1 => Just(Act::Stay),
        1 => tag().prop_map(Act::Abort),
        1 => Just(Act::AbortAll),
        1 => Just(Act::Reset),
        6 => (1u64..4).prop_map(Act::Release),
    ]
}

/// What REQUEST SENSE must return: key, code, INFORMATION.
type Expected = (u8, u8, u8);
const NOTHING: Expected = (0, 0, 0);

/// The initiator's view of its tasks.
struct Model {
    bus: Bus,
    dma: crate::dma::Gate,
    handle: DelayHandle,
    /// Tasks that have not ended: the tag, and the sense data if it fails.
    tasks: Vec<(TaskId, Option<u8>, Expected)>,
    connected: Option<TaskId>,
    /// What the last CHECK CONDITION is about, until another command comes.
    kept: Option<Expected>,
}

impl Model {
    fn new() -> Self {
        let (backend, handle) = half_bad();
        let disk = Disk::new(backend, DiskOptions::default()).expect("a disk");
        let mut bus = Bus::new();
        bus.attach(0, 0, disk.into()).expect("a place");
        let mut model = Self {
            bus,
            dma: fixture::gate(&[(0, RAM)]),
            handle,
            tasks: Vec::new(),
            connected: None,
            kept: None,
        };
        let _ = model.fetch();
        model
    }

    fn nexus(tag: Option<u8>) -> Nexus {
        Nexus { tag, ..NEXUS }
    }

    /// A new command, if the bus is free and the tag too.
    fn begin(&mut self, tag: Option<u8>, attribute: Attribute, cdb: &[u8], expected: Expected) {
        if self.connected.is_some() || self.tasks.iter().any(|(_, taken, _)| *taken == tag) {
            return;
        }
        let task = self.bus.begin(Self::nexus(tag), attribute, cdb);
        self.kept = None;
        self.tasks.push((task, tag, expected));
        self.connected = Some(task);
    }

    /// The connected task goes on.
    fn go_on(&mut self, count: u32) {
        let Some(task) = self.connected else { return };
        match self.bus.want(task) {
            Want::DataIn(_) if count.is_multiple_of(2) => {
                let mut bytes = vec![0; count as usize];
                let _ = self.bus.transfer_bytes(task, &mut bytes);
            }
            Want::DataIn(_) => self.bus.transfer(&self.dma, task, 0, count).expect("RAM"),
            Want::Wait => {
                self.bus.disconnect(task);
                self.connected = None;
            }
            Want::Status(status) => {
                self.bus.finish(task);
                self.connected = None;
                let at = self.tasks.iter().position(|(id, ..)| *id == task);
                let (_, _, expected) = self.tasks.remove(at.expect("a task of ours"));
                match status {
                    0 => assert_eq!(expected, NOTHING),
                    2 => {
                        assert_ne!(expected, NOTHING);
                        assert_eq!(self.kept, None, "sense data are overwritten");
                        self.kept = Some(expected);
                    }
                    // Only where it was not allowed to disconnect.
                    8 => assert_ne!(self.kept, None),
                    status => panic!("status {status:#x}"),
                }
            }
            want => panic!("{want:?}"),
        }
    }

    /// REQUEST SENSE if the bus is free; whether it was sent. It is tagged if an untagged task is in its way.
    fn fetch(&mut self) -> bool {
        if self.connected.is_some() {
            return false;
        }
        let untagged = self.tasks.iter().any(|(_, tag, _)| tag.is_none());
        let nexus = Self::nexus(untagged.then_some(200));
        let task = self.bus.begin(nexus, Attribute::Simple, &REQUEST_SENSE);
        self.bus.transfer(&self.dma, task, 0, 18).expect("RAM");
        assert_eq!(self.bus.want(task), Want::Status(0));
        self.bus.finish(task);
        let mut sense = [0; 18];
        self.dma.read(0, &mut sense).expect("RAM");
        let fetched = (sense[2], sense[12], sense[6]);
        match self.kept.take() {
            Some(expected) => assert_eq!(fetched, expected),
            // Nothing, or a unit attention condition.
            None => assert!(fetched == NOTHING || fetched.0 == 6, "{fetched:x?}"),
        }
        true
    }

    /// The tasks with these tags have been aborted.
    fn forget(&mut self, which: impl Fn(Option<u8>) -> bool) {
        let (gone, left): (Vec<_>, Vec<_>) =
            self.tasks.drain(..).partition(|(_, tag, _)| which(*tag));
        self.tasks = left;
        for (task, ..) in gone {
            assert_eq!(self.bus.want(task), Want::Gone);
            self.connected = self.connected.filter(|connected| *connected != task);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Read(tag, attribute, first, last) => {
                let expected = if last < FIRST_BAD {
                    NOTHING
                } else {
                    (3, 0x11, first.max(FIRST_BAD))
                };
                self.begin(tag, attribute, &read(first, last), expected);
            }
            Act::Wrong(tag) => {
                let cdb = [8, 0, 0, BLOCKS + 7, 1, 0];
                self.begin(tag, Attribute::Simple, &cdb, (5, 0x21, BLOCKS + 7));
            }
            Act::Fetch => {
                self.fetch();
            }
            Act::Other => self.begin(None, Attribute::Simple, &[0; 6], NOTHING),
            Act::Reselect => {
                if self.connected.is_none() {
                    self.connected = self.bus.reselection().map(|(task, _)| task);
                }
            }
            Act::GoOn(count) => self.go_on(count),
            Act::Stay => {
                if let Some(task) = self.connected {
                    self.bus.refuse_disconnect(task);
                }
            }
            // The initiator selects to abort: the bus is free.
            Act::Abort(tag) if self.connected.is_none() => {
                self.bus.manage(Self::nexus(tag), Management::AbortTask);
                self.forget(|taken| taken == tag);
            }
            Act::AbortAll if self.connected.is_none() => {
                self.bus.manage(NEXUS, Management::AbortTaskSet);
                self.forget(|_| true);
                self.kept = None;
            }
            Act::Abort(_) | Act::AbortAll => {}
            Act::Reset => {
                self.bus.reset();
                self.forget(|_| true);
                self.kept = None;
                // It says so once.
                assert!(self.fetch());
            }
            Act::Release(count) => {
                self.handle.release(count);
                self.bus.poll(std::time::Instant::now());
            }
        }
    }

    /// Whoever is left ends, and each failure is told.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.tasks.is_empty() {
                break;
            }
            self.act(Act::Release(4));
            self.act(Act::Reselect);
            self.act(Act::GoOn(512));
            self.act(Act::Fetch);
        }
        assert_eq!(self.bus.tasks(), 0);
    }
}

proptest! {
    /// Each CHECK CONDITION's sense data are fetched once and are the right ones.
    #[test]
    fn sense_data_are_of_the_last_failure(acts in proptest::collection::vec(act(), 1..200)) {
        let mut model = Model::new();
        for act in acts {
            model.act(act);
        }
        model.drain();
    }
}
