//! Sense data against a model: an initiator that does anything, on a bus that carries one connection at a time.

use proptest::prelude::*;

use super::sense::{BLOCKS, FIRST_BAD, REQUEST_SENSE, half_bad, read};
use super::{DiskOptions, NEXUS, Nexus, RAM};
use crate::scsi::{Attribute, Bus, Disk, Management, TaskId, Want};
use outrigger_block::DelayHandle;
use outrigger_device::dma::fixture;

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
    dma: outrigger_device::dma::Gate,
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
