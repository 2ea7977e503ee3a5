use super::*;

fn regions() -> [Region; REGIONS] {
    let mut regions = [Region::default(); REGIONS];
    regions[0].size = 0x100;
    regions[1].size = 0x400;
    regions[ROM].size = 0x1000;
    regions[2].size = 0x4000;
    regions[7].size = 0x100;
    regions
}

/// An I/O BAR and two memory BARs.
fn bars() -> BarSet {
    let sizes = [0x100, 0x400, 0x4000, 0, 0, 0, 0x1000];
    BarSet::describe([1, 0, 0, 0, 0, 0, 0], sizes).unwrap()
}

fn entry(region: u32, offset: u64, size: u64) -> AccessEntry {
    let treatment = Treatment::Mirrored {
        register: 0,
        through: 0x30,
        clears: 0x04,
        opaque: 0xc0,
    };
    AccessEntry {
        region,
        offset,
        size,
        treatment,
    }
}

fn map(entries: &[AccessEntry]) -> Result<AccessMap, MapError> {
    let (map, memories) = AccessMap::new(entries.iter().copied(), Vec::new(), &regions(), &bars())?;
    assert!(memories.is_empty());
    Ok(map)
}

fn byte(region: u8, offset: u64) -> Access {
    Access {
        region,
        offset,
        width: Width::Byte,
    }
}

#[test]
fn only_the_byte_itself_is_mirrored() {
    let map = map(&[entry(1, 0x14, 1), entry(0, 0x14, 1)]).unwrap();
    assert_eq!(map.mirrored(byte(1, 0x14)), Some(0));
    assert_eq!(map.mirrored(byte(0, 0x14)), Some(0));
    for other in [byte(1, 0x13), byte(1, 0x15), byte(2, 0x14)] {
        assert_eq!(map.mirrored(other), None);
    }
    for width in [Width::Word, Width::Dword, Width::Qword] {
        let wide = Access {
            width,
            ..byte(1, 0x14)
        };
        assert_eq!(map.mirrored(wide), None);
        assert_eq!(map.effect(wide, 0x20), None);
    }
}

#[test]
fn a_write_with_an_opaque_bit_has_no_known_effect() {
    let map = map(&[entry(1, 0x14, 1)]).unwrap();
    let (value, effect) = map.effect(byte(1, 0x14), 0x24).unwrap();
    assert_eq!((value, effect.through, effect.clears), (0x24, 0x30, 0x04));
    assert_eq!(map.effect(byte(1, 0x14), 0x40), None);
    assert_eq!(map.effect(byte(1, 0x14), 0xa0), None);
}

#[test]
fn ranges_lie_in_a_bar() {
    for (region, offset, size) in [
        (1, 0x400, 1),
        (1, 0x3ff, 2),
        (1, 0, 0),
        (1, u64::MAX, 1),
        (1, u64::MAX, 2),
        (3, 0, 1),
        (6, 0, 1),
        (7, 0, 1),
        (9, 0, 1),
        (0x101, 0, 1),
    ] {
        let refused = map(&[entry(region, offset, size)]);
        assert!(
            matches!(refused, Err(MapError::Range { .. })),
            "{region} {offset:#x} {size}"
        );
    }
}

#[test]
fn entries_do_not_overlap_even_if_one_is_unknown() {
    let unknown = AccessEntry {
        treatment: Treatment::Other {
            kind: 77,
            words: [0; 2],
        },
        ..entry(1, 0x10, 8)
    };
    let refused = map(&[unknown, entry(1, 0x14, 1)]);
    assert!(matches!(refused, Err(MapError::Overlap { .. })));
    let refused = map(&[entry(1, 0x14, 1), entry(1, 0x14, 1)]);
    assert!(matches!(refused, Err(MapError::Overlap { .. })));
    let beside = map(&[unknown, entry(1, 0x18, 1), entry(0, 0x14, 1)]).unwrap();
    assert_eq!(beside.mirrored(byte(1, 0x12)), None);
    assert_eq!(beside.mirrored(byte(1, 0x18)), Some(0));
}

#[test]
fn registers_make_sense() {
    let with = |register, through, clears, opaque| AccessEntry {
        treatment: Treatment::Mirrored {
            register,
            through,
            clears,
            opaque,
        },
        ..entry(1, 0, 1)
    };
    assert!(map(&[with(15, 0x30, 0x04, 0xc0)]).is_ok());
    for bad in [
        with(16, 0, 0, 0),
        with(u32::MAX, 0, 0, 0),
        with(0, 0, 0x06, 0),
        with(0, 0x04, 0x04, 0),
        with(0, 0, 0x04, 0x04),
        AccessEntry {
            size: 2,
            ..entry(1, 0, 1)
        },
    ] {
        let refused = map(&[bad]);
        assert!(matches!(refused, Err(MapError::Register { .. })), "{bad:?}");
    }
}

fn cleared(region: u32, offset: u64, size: u64, treatment: (u32, u8, u8)) -> AccessEntry {
    let (group, register, summary) = treatment;
    AccessEntry {
        region,
        offset,
        size,
        treatment: Treatment::ReadToClear {
            group,
            register,
            summary,
        },
    }
}

#[test]
fn a_read_of_a_clear_group_or_of_its_half_clears() {
    let entries = [
        cleared(1, 0x42, 2, (1, 0, 0x02)),
        cleared(0, 0x42, 2, (1, 0, 0x02)),
        entry(1, 0x14, 1),
        cleared(1, 0x0d, 1, (3, 0, 0x01)),
    ];
    let map = map(&entries).unwrap();
    let read = |region, offset, width| {
        let part = map.clears(Access {
            region,
            offset,
            width,
        });
        part.map(|Part { group, mask }| (group, mask))
    };
    assert_eq!(read(1, 0x42, Width::Word), Some((1, 0xffff)));
    assert_eq!(read(0, 0x42, Width::Word), Some((1, 0xffff)));
    assert_eq!(read(1, 0x42, Width::Byte), Some((1, 0x00ff)));
    assert_eq!(read(1, 0x43, Width::Byte), Some((1, 0xff00)));
    assert_eq!(read(1, 0x0d, Width::Byte), Some((3, 0x00ff)));
    for (region, offset, width) in [
        (1, 0x43, Width::Word),
        (1, 0x41, Width::Word),
        (1, 0x40, Width::Dword),
        (1, 0x42, Width::Dword),
        (1, 0x0d, Width::Word),
        (1, 0x0c, Width::Word),
        (2, 0x42, Width::Word),
        (1, u64::MAX, Width::Word),
    ] {
        assert_eq!(read(region, offset, width), None, "{region} {offset:#x}");
    }
    let summaries = map.summaries().iter();
    let found: Vec<_> = summaries.map(|s| (s.group, s.register, s.bits)).collect();
    assert_eq!(found, [(1, 0, 0x02), (3, 0, 0x01)]);
}

#[test]
fn clear_groups_make_sense() {
    let with = |entries: &[AccessEntry]| {
        let mut all = vec![entry(1, 0x14, 1)];
        all.extend(entries);
        map(&all)
    };
    assert!(with(&[cleared(1, 0x42, 2, (3, 0, 0x02))]).is_ok());
    for bad in [
        cleared(1, 0x42, 3, (0, 0, 0x02)),
        cleared(1, 0x40, 4, (0, 0, 0x02)),
        cleared(1, 0x40, 0x102, (0, 0, 0x02)),
        // Not aligned.
        cleared(1, 0x43, 2, (0, 0, 0x02)),
        // Numbers that are too high, or of registers that are not mirrored.
        cleared(1, 0x42, 2, (4, 0, 0x02)),
        cleared(1, 0x42, 2, (u32::MAX, 0, 0x02)),
        cleared(1, 0x42, 2, (0, 1, 0x02)),
        cleared(1, 0x42, 2, (0, 255, 0x02)),
        // Bits that the guest writes.
        cleared(1, 0x42, 2, (0, 0, 0x04)),
        cleared(1, 0x42, 2, (0, 0, 0x12)),
    ] {
        assert!(
            matches!(with(&[bad]), Err(MapError::Clear { .. })),
            "{bad:?}"
        );
    }
    let alone = map(&[cleared(1, 0x42, 2, (0, 0, 0x02))]);
    assert!(matches!(alone, Err(MapError::Clear { .. })));
    // One group, two opinions.
    for other in [
        cleared(0, 0x42, 2, (1, 0, 0x01)),
        cleared(0, 0x42, 1, (1, 0, 0x02)),
    ] {
        let refused = with(&[cleared(1, 0x42, 2, (1, 0, 0x02)), other]);
        assert!(matches!(refused, Err(MapError::Clear { .. })), "{other:?}");
    }
    let over = with(&[cleared(1, 0x14, 2, (1, 0, 0x02))]);
    assert!(matches!(over, Err(MapError::Overlap { .. })));
}

#[test]
fn a_map_has_an_end() {
    let entries = (0..=64).map(|offset| entry(1, offset, 1));
    let refused = map(&entries.collect::<Vec<_>>());
    assert!(matches!(refused, Err(MapError::Entries)));
}

mod memory;
