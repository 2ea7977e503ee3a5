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

#[test]
fn a_map_has_an_end() {
    let entries = (0..=64).map(|offset| entry(1, offset, 1));
    let refused = map(&entries.collect::<Vec<_>>());
    assert!(matches!(refused, Err(MapError::Entries)));
}

mod memory;
