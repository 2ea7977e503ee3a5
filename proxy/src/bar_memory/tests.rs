use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;

/// What a mapper was told: memory's offset, and where to; `None`: away.
type Log = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

/// A VMM that cannot map below an address.
#[derive(Debug)]
struct Mapper {
    log: Log,
    least: u64,
    mapped: Vec<(u64, u64)>,
}

impl MapMemory for Mapper {
    fn map(&mut self, memory: &BarMemory, address: u64) -> io::Result<()> {
        assert!(self.mapped.iter().all(|m| m.0 != memory.offset()), "twice");
        self.log
            .lock()
            .unwrap()
            .push((memory.offset(), Some(address)));
        if address < self.least {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.mapped.push((memory.offset(), address));
        Ok(())
    }

    fn unmap(&mut self, memory: &BarMemory) -> io::Result<()> {
        let before = self.mapped.len();
        self.mapped.retain(|m| m.0 != memory.offset());
        assert_eq!(self.mapped.len() + 1, before, "was not mapped");
        self.log.lock().unwrap().push((memory.offset(), None));
        Ok(())
    }
}

fn memory(region: u8, offset: u64) -> BarMemory {
    let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, 0x1000).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    BarMemory::new(region, offset, 0x1000, file).unwrap()
}

fn placement(least: u64) -> (Placement, Log) {
    let log = Log::default();
    let mapper = Mapper {
        log: Arc::clone(&log),
        least,
        mapped: Vec::new(),
    };
    let mut placement = Placement::new(vec![memory(2, 0), memory(2, 0x1000)]);
    placement.set_mapper(Some(Box::new(mapper)));
    (placement, log)
}

fn take(log: &Log) -> Vec<(u64, Option<u64>)> {
    std::mem::take(&mut *log.lock().unwrap())
}

#[test]
fn memory_follows_its_bar() {
    let (mut placement, log) = placement(0);
    let mut at = |base: Option<u64>| {
        placement.follow(|region| base.filter(|_| region == 2));
        take(&log)
    };
    assert_eq!(at(None), []);
    assert_eq!(
        at(Some(0x10_0000)),
        [(0, Some(0x10_0000)), (0x1000, Some(0x10_1000))]
    );
    assert_eq!(at(Some(0x10_0000)), [], "it has not moved");
    assert_eq!(
        at(Some(0x10_1000)),
        [
            (0, None),
            (0x1000, None),
            (0, Some(0x10_1000)),
            (0x1000, Some(0x10_2000))
        ]
    );
    assert_eq!(at(None), [(0, None), (0x1000, None)]);
    assert_eq!(at(Some(0x10_1000)).len(), 2);
    placement.set_mapper(None);
    assert_eq!(take(&log), [(0, None), (0x1000, None)]);
    placement.follow(|_| Some(0x20_0000));
    assert_eq!(take(&log), []);
}

#[test]
fn what_cannot_be_mapped_is_tried_again_when_it_moves() {
    let (mut placement, log) = placement(0x1001_0000);
    placement.follow(|_| Some(0x1000_f000));
    let first = [(0, Some(0x1000_f000)), (0x1000, Some(0x1001_0000))];
    assert_eq!(take(&log), first);
    placement.follow(|_| Some(0x1001_0000));
    assert_eq!(
        take(&log),
        [
            (0x1000, None),
            (0, Some(0x1001_0000)),
            (0x1000, Some(0x1001_1000))
        ]
    );
}

proptest! {
    /// The mapper asserts that nothing is mapped twice or unmapped without being mapped.
    #[test]
    fn a_mapper_is_told_in_turn(bases in proptest::collection::vec(proptest::option::of(0_u64..8), 0..20)) {
        let (mut placement, log) = placement(0x2000);
        for base in bases {
            placement.follow(|_| base.map(|page| page * 0x1000));
        }
        placement.set_mapper(None);
        let log = take(&log);
        let mapped = log.iter().filter(|(_, to)| to.is_some_and(|to| to >= 0x2000)).count();
        prop_assert_eq!(mapped, log.iter().filter(|(_, to)| to.is_none()).count());
    }
}
