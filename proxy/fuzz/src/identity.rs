//! What a device says that it is: its config space, its BARs and its access map; and a guest that moves the BARs.

use std::os::fd::OwnedFd;

use outrigger_fuzz::Input;
use outrigger_proxy::internals::{AccessMap, ConfigSpace, HEADER, SLOTS, Space};
use outrigger_proxy::{REGIONS, Region, Width};
use outrigger_vfio_user::{AccessEntry, Treatment};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Qword];

/// Builds a config space and an access map of the input, and has a guest write the rest of it.
///
/// # Panics
/// If an address is decoded outside its BAR, or a memory lies outside its region.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let sizes = sizes(&mut input);
    let header = header(&mut input);
    let slots: [u64; SLOTS] = std::array::from_fn(|slot| sizes[slot]);
    let Ok(mut config) = ConfigSpace::new(&header, slots) else {
        return;
    };
    for (bar, size) in config.bars().iter().zip(slots) {
        assert!(bar.is_none_or(|bar| bar.size() == size && size.is_power_of_two()));
    }
    access_map(&mut input, &sizes, &config);
    while !input.is_empty() {
        let (choice, offset) = (input.u8(), u16::from(input.u8()));
        let width = WIDTHS[usize::from(choice & 3)];
        match choice >> 2 & 7 {
            0..=3 => config.write(
                offset | u16::from(choice >> 5) << 8,
                width,
                input.u32().into(),
            ),
            4 | 5 => {
                let (value, known) = config.known(offset, width);
                assert_eq!(value & !known, 0);
                assert_eq!(known & !width.mask(), 0);
            }
            6 => {
                let space = if choice >> 5 & 1 == 0 {
                    Space::Memory
                } else {
                    Space::Io
                };
                let address = input.near(0xfe00_0000);
                if let Some(hit) = config.windows().find(space, address) {
                    let region = &slots[usize::from(hit.region)];
                    assert!(hit.offset < *region, "{hit:?} in {region:#x} bytes");
                }
            }
            _ => config.reset(),
        }
    }
}

/// The regions' sizes: mostly such as there are.
fn sizes(input: &mut Input<'_>) -> [u64; REGIONS] {
    std::array::from_fn(|_| match input.u8() {
        0..100 => 0,
        exponent @ 100..200 => 1 << (exponent % 34),
        200..240 => 0x100,
        _ => input.near(0x1000),
    })
}

/// A type 0 header, but for what the input changes.
fn header(input: &mut Input<'_>) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&[0x00, 0x10, 0x12, 0x00]);
    for slot in 0..6 {
        let kind = input.u8();
        header[0x10 + 4 * slot] = kind & 0xf;
    }
    header[0x3d] = input.u8();
    for _ in 0..input.u8() & 7 {
        header[usize::from(input.u8())] = input.u8();
    }
    header
}

fn access_map(input: &mut Input<'_>, sizes: &[u64; REGIONS], config: &ConfigSpace) {
    let regions = sizes.map(|size| {
        let mut region = Region::default();
        (region.size, region.readable, region.writable) = (size, true, true);
        region
    });
    let mut entries = Vec::new();
    let mut descriptors = Vec::new();
    for _ in 0..input.u8() & 31 {
        let kind = input.u8();
        let treatment = match kind & 3 {
            0 => Treatment::Mirrored {
                register: u32::from(input.u8() % 20),
                through: input.u8(),
                clears: input.u8(),
                opaque: input.u8(),
            },
            1 => {
                descriptors.push(memory(input));
                Treatment::Memory {
                    descriptor: u32::from(input.u8() % 4),
                }
            }
            2 => Treatment::ReadToClear {
                group: u32::from(input.u8() % 6),
                register: input.u8() % 20,
                summary: input.u8(),
            },
            _ => Treatment::Other {
                kind: input.u32(),
                words: [input.u32(), input.u32()],
            },
        };
        let page = kind & 3 == 1;
        entries.push(AccessEntry {
            region: u32::from(kind >> 2 & 15),
            offset: if page {
                u64::from(input.u8() & 3) << 12
            } else {
                input.near(0x100)
            },
            size: if page {
                u64::from(input.u8() & 3) << 12
            } else {
                input.near(1)
            },
            treatment,
        });
    }
    let Ok((_, memories)) = AccessMap::new(entries, descriptors, &regions, config.bars()) else {
        return;
    };
    for memory in memories {
        let region = regions[usize::from(memory.region())];
        let end = memory.offset().checked_add(memory.size());
        assert!(memory.size() > 0 && end.is_some_and(|end| end <= region.size));
        let length = memory.file().metadata().expect("a file").len();
        assert_eq!(length, memory.size(), "what is mapped can be touched");
    }
}

/// A file for a memory: mostly as the protocol has it.
pub(crate) fn memory(input: &mut Input<'_>) -> OwnedFd {
    let choice = input.u8();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("peer", flags).expect("a memfd");
    let _ = ftruncate(&fd, u64::from(choice & 3) << 12 | u64::from(choice == 0x7f));
    let seals = match choice >> 2 {
        0..48 => SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        seals => SealFlags::from_bits_truncate(u32::from(seals)),
    };
    let _ = fcntl_add_seals(&fd, seals);
    if choice == 0xff {
        return std::fs::File::open("/dev/null").expect("a file").into();
    }
    fd
}
