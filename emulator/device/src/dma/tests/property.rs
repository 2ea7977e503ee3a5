//! The gate against a map from address to byte.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The tests' address space: 16 pages at this address.
const START: u64 = 0x1_0000_0000 - 8 * PAGE;
const PAGES: u64 = 16;

#[derive(Clone, Debug)]
enum Step {
    Map {
        page: u64,
        pages: u64,
        readable: bool,
        writable: bool,
    },
    MapUnreachable {
        page: u64,
        pages: u64,
    },
    Unmap {
        page: u64,
        pages: u64,
    },
    UnmapAll,
    Write {
        at: u64,
        bytes: Vec<u8>,
    },
    Read {
        at: u64,
        length: usize,
    },
    Segments {
        at: u64,
        length: u32,
        to_guest: bool,
    },
    BusMaster(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let pages = || (0..PAGES, 1..5_u64);
    // Mostly near a page's edge.
    let at = || {
        (0..=PAGES, -9..9_i64)
            .prop_map(|(page, near)| START.wrapping_add(page * PAGE).wrapping_add_signed(near))
    };
    prop_oneof![
        8 => (pages(), prop::bool::weighted(0.9), prop::bool::weighted(0.9))
            .prop_map(|((page, pages), readable, writable)| Step::Map { page, pages, readable, writable }),
        4 => pages().prop_map(|(page, pages)| Step::MapUnreachable { page, pages }),
        6 => pages().prop_map(|(page, pages)| Step::Unmap { page, pages }),
        1 => Just(Step::UnmapAll),
        12 => (at(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, bytes)| Step::Write { at, bytes }),
        12 => (at(), 0..20_usize).prop_map(|(at, length)| Step::Read { at, length }),
        8 => (at(), 0..10_000_u32, any::<bool>())
            .prop_map(|(at, length, to_guest)| Step::Segments { at, length, to_guest }),
        1 => prop::bool::weighted(0.8).prop_map(Step::BusMaster),
    ]
}

#[derive(Default)]
struct Model {
    bus_master: bool,
    /// Page to (region's first page, region's pages, readable, writable). Where there is no memory it is neither.
    pages: BTreeMap<u64, (u64, u64, bool, bool)>,
    bytes: BTreeMap<u64, u8>,
}

impl Model {
    fn check(&self, at: u64, length: u64, to_guest: bool) -> Result<(), Fault> {
        if !self.bus_master {
            return Err(Fault::NotBusMaster);
        }
        for address in at..at + length {
            match self.pages.get(&(address / PAGE)) {
                None => return Err(Fault::Unmapped(address)),
                Some(&(.., false, false)) => return Err(Fault::Unmapped(address)),
                Some(&(.., readable, writable)) => {
                    if !(if to_guest { writable } else { readable }) {
                        return Err(Fault::Denied(address));
                    }
                }
            }
        }
        Ok(())
    }

    fn bytes(&self, at: u64, length: u64) -> Vec<u8> {
        (at..at + length)
            .map(|a| self.bytes.get(&a).copied().unwrap_or(0))
            .collect()
    }
}

/// Runs one step on both; `Err` is how they differ.
fn apply(gate: &mut Gate, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    match *step {
        Step::BusMaster(on) => {
            gate.set_bus_master(on);
            model.bus_master = on;
        }
        Step::Map {
            page,
            pages,
            readable,
            writable,
        } => {
            let first = START / PAGE + page;
            let mapping = Mapping {
                readable,
                writable,
                ..fixture::mapping(first * PAGE, pages * PAGE)
            };
            let free = !(first..first + pages).any(|p| model.pages.contains_key(&p));
            let expected = free && (readable || writable);
            prop_assert_eq!(gate.map(mapping).is_ok(), expected);
            if expected {
                for p in first..first + pages {
                    model.pages.insert(p, (first, pages, readable, writable));
                }
                model
                    .bytes
                    .retain(|a, _| !(first..first + pages).contains(&(a / PAGE)));
            }
        }
        Step::MapUnreachable { page, pages } => {
            let first = START / PAGE + page;
            let free = !(first..first + pages).any(|p| model.pages.contains_key(&p));
            let mapped = gate.map_unreachable(first * PAGE, pages * PAGE);
            prop_assert_eq!(mapped.is_ok(), free);
            if free {
                for p in first..first + pages {
                    model.pages.insert(p, (first, pages, false, false));
                }
            }
        }
        Step::UnmapAll => {
            gate.unmap_all();
            model.pages.clear();
        }
        Step::Unmap { page, pages } => {
            let first = START / PAGE + page;
            let expected = model
                .pages
                .get(&first)
                .is_some_and(|r| (r.0, r.1) == (first, pages));
            prop_assert_eq!(gate.unmap(first * PAGE, pages * PAGE).is_ok(), expected);
            if expected {
                model.pages.retain(|_, r| r.0 != first);
            }
        }
        Step::Write { at, ref bytes } => {
            let expected = model.check(at, bytes.len() as u64, true);
            prop_assert_eq!(gate.write(at, bytes), expected);
            if expected.is_ok() {
                model.bytes.extend((at..).zip(bytes.iter().copied()));
            }
        }
        Step::Read { at, length } => {
            let mut got = vec![0xcc; length];
            let expected = model.check(at, length as u64, false);
            prop_assert_eq!(gate.read(at, &mut got), expected);
            let bytes = if expected.is_ok() {
                model.bytes(at, length as u64)
            } else {
                vec![0xcc; length]
            };
            prop_assert_eq!(got, bytes);
        }
        Step::Segments {
            at,
            length,
            to_guest,
        } => {
            let direction = if to_guest {
                Direction::ToGuest
            } else {
                Direction::FromGuest
            };
            let expected = model.check(at, length.into(), to_guest);
            let mut segments = Vec::new();
            prop_assert_eq!(
                gate.segments(at, length, direction, &mut segments),
                expected
            );
            let mut got = Vec::new();
            for segment in &segments {
                let mut bytes = vec![0; segment.len()];
                prop_assert_eq!(segment.read(0, &mut bytes), segment.len());
                got.extend(bytes);
            }
            prop_assert_eq!(
                got,
                if expected.is_ok() {
                    model.bytes(at, length.into())
                } else {
                    vec![]
                }
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_gate_is_a_byte_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut gate = Gate::new();
        gate.set_bus_master(true);
        let mut model = Model { bus_master: true, ..Model::default() };
        for step in &steps {
            apply(&mut gate, &mut model, step)?;
        }
    }
}
