use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use outrigger_ring::Width;
use proptest::prelude::*;

use super::*;
use crate::config_space::{ConfigSpace, HEADER};

const SIZES: [u64; SLOTS] = [0x100, 0x400, 0x2000, 0, 0, 0, 0x800];

fn lsi() -> ConfigSpace {
    let mut header = [0; HEADER];
    header[0x10] = 1;
    ConfigSpace::new(&header, SIZES).unwrap()
}

/// The rules of decoding once more, from the registers' plain values and address by address.
#[derive(Default)]
struct Model {
    registers: [u32; SLOTS],
    command: u64,
}

impl Model {
    fn find(&self, space: Space, address: u64) -> Option<(u8, u64)> {
        (0..SLOTS).find_map(|slot| {
            let size = SIZES[slot];
            let (on, of) = if slot == 0 {
                (self.command & 1, Space::Io)
            } else {
                (self.command & 2, Space::Memory)
            };
            let rom_off = slot == 6 && self.registers[6] & 1 == 0;
            if size == 0 || on == 0 || of != space || rom_off {
                return None;
            }
            let base = u64::from(self.registers[slot]) / size * size;
            let inside =
                base != 0 && base + size < 1 << 32 && (base..base + size).contains(&address);
            inside.then(|| (u8::try_from(slot).unwrap(), address - base))
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bar(usize, u32),
    Command(u64),
    Reset,
    Look(Space, u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few addresses, so that windows meet, overlap and are hit.
    let near = prop_oneof![
        (0_u32..0x30).prop_map(|n| 0xfeb0_0000 + n * 0x100),
        (0_u32..0x30).prop_map(|n| 0xc000 + n),
        Just(0),
        Just(u32::MAX),
        any::<u32>(),
    ];
    let look = prop_oneof![
        (0_u64..0x4000).prop_map(|n| 0xfeaf_f000 + n),
        (0xbf00_u64..0xc200),
        any::<u64>()
    ];
    prop_oneof![
        (0..SLOTS, near, any::<bool>())
            .prop_map(|(slot, value, rom)| Step::Bar(slot, value | u32::from(rom && slot == 6))),
        (0_u64..8).prop_map(Step::Command),
        Just(Step::Reset),
        (any::<bool>(), look)
            .prop_map(|(io, at)| Step::Look(if io { Space::Io } else { Space::Memory }, at)),
    ]
}

proptest! {
    #[test]
    fn decodes_like_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let mut config = lsi();
        let windows = config.windows();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Bar(slot, value) => {
                    let offset = if slot == 6 { 0x30 } else { 0x10 + 4 * u16::try_from(slot).unwrap() };
                    config.write(offset, Width::Dword, value.into());
                    model.registers[slot] = value;
                }
                Step::Command(value) => {
                    config.write(0x04, Width::Word, value);
                    model.command = value;
                }
                Step::Reset => {
                    config.reset();
                    model = Model::default();
                }
                Step::Look(space, address) => {
                    let hit = windows.find(space, address);
                    prop_assert_eq!(hit.map(|hit| (hit.region, hit.offset)), model.find(space, address));
                    if let Some(hit) = hit {
                        prop_assert_eq!(hit.offset + hit.room, SIZES[usize::from(hit.region)]);
                    }
                }
            }
        }
    }
}

/// One vCPU moves a BAR to and fro and switches it off; the other looks. It must see one of the
/// places or none, never a mixture, and a place that has been published before it looks.
#[test]
fn a_moving_bar_is_seen_whole() {
    const PLACES: [u64; 2] = [0xfeb0_0000, 0xd000_0400];
    let mut config = lsi();
    let windows = config.windows();
    config.write(0x14, Width::Dword, PLACES[0]);
    config.write(0x04, Width::Word, 2);
    let done = Arc::new(AtomicBool::new(false));
    let looker = {
        let (windows, done) = (Arc::clone(&windows), Arc::clone(&done));
        thread::spawn(move || {
            let mut looks = 0_u64;
            while !done.load(Ordering::Acquire) || looks == 0 {
                for place in PLACES {
                    if let Some(hit) = windows.find(Space::Memory, place + 0x3ff) {
                        assert_eq!(
                            hit,
                            Hit {
                                region: 1,
                                offset: 0x3ff,
                                room: 1
                            }
                        );
                    }
                    // Half of one base and half of the other.
                    assert_eq!(windows.find(Space::Memory, 0xfeb0_0400), None);
                    assert_eq!(windows.find(Space::Memory, 0xd000_0000), None);
                }
                looks += 1;
            }
            windows.find(Space::Memory, PLACES[1])
        })
    };
    for turn in 0..20_000 {
        if turn % 7 == 0 {
            config.write(0x04, Width::Word, 0);
            assert_eq!(windows.find(Space::Memory, PLACES[0]), None);
            config.write(0x04, Width::Word, 2);
        }
        config.write(0x14, Width::Dword, PLACES[turn % 2]);
    }
    done.store(true, Ordering::Release);
    assert_eq!(
        looker.join().unwrap(),
        Some(Hit {
            region: 1,
            offset: 0,
            room: 0x400
        })
    );
}
