use proptest::prelude::*;

use super::*;

const IDENTITY: Identity = Identity {
    vendor: 0x1000,
    device: 0x0012,
    revision: 3,
    class: 0x01_00_00,
    subsystem_vendor: 0xabcd,
    subsystem: 0x1000,
    interrupt_pin: 1,
    latency_timer: 0x40,
    min_gnt: 0x11,
    max_lat: 0x12,
};

const BARS: [Bar; 3] = [
    Bar {
        index: 0,
        kind: BarKind::Io,
        size: 0x100,
    },
    Bar {
        index: 1,
        kind: BarKind::Memory,
        size: 0x400,
    },
    Bar {
        index: 2,
        kind: BarKind::Memory,
        size: 0x2000,
    },
];

fn space() -> ConfigSpace {
    ConfigSpace::new(&IDENTITY, &BARS)
}

fn dword(space: &ConfigSpace, offset: u64) -> u64 {
    space.read(offset, Width::Dword, false)
}

#[test]
fn identity_is_where_the_specification_puts_it() {
    let mut space = space();
    let expected = [
        (0x00, 0x0012_1000),
        (0x04, 0x0200_0000),
        (0x08, 0x0100_0003),
        (0x0c, 0x0000_4000),
        (0x10, 0x0000_0001),
        (0x14, 0),
        (0x18, 0),
        (0x1c, 0),
        (0x28, 0),
        (0x2c, 0x1000_abcd),
        (0x30, 0),
        (0x34, 0),
        (0x3c, 0x1211_0100),
        (0x40, 0),
        (0xfc, 0),
    ];
    for (offset, value) in expected {
        assert_eq!(dword(&space, offset), value, "at {offset:#x}");
    }
    // All that a guest can write elsewhere are the cache line size, the latency timer and the interrupt line.
    for offset in (0..SIZE)
        .step_by(4)
        .filter(|offset| !(0x10..0x28).contains(offset) && *offset != 4)
    {
        let before = dword(&space, offset);
        space.write(offset, Width::Dword, 0xffff_ffff);
        let changed = match offset {
            0x0c => 0x0000_ffff,
            0x3c => 0x0000_00ff,
            _ => 0,
        };
        assert_eq!(dword(&space, offset), before | changed, "at {offset:#x}");
    }
    space.reset();
    assert_eq!(dword(&space, 0x0c), 0x0000_4000);
}

#[test]
fn command_takes_only_its_bits_and_status_none() {
    let mut space = space();
    space.write(4, Width::Dword, 0xffff_ffff);
    assert_eq!(dword(&space, 4), 0x0200_0557);
    assert_eq!(space.command(), Command::all());
    assert_eq!(space.read(6, Width::Byte, true), 0x08);
    assert_eq!(space.read(4, Width::Dword, true), 0x0208_0557);
    assert_eq!(space.read(5, Width::Word, true), 0x0805);
    assert_eq!(space.read(7, Width::Byte, true), 0x02);
}

#[test]
fn bars_are_sized_and_placed() {
    let mut space = space();
    for (offset, size) in [
        (0x10, 0xffff_ff01),
        (0x14, 0xffff_fc00),
        (0x18, 0xffff_e000),
        (0x1c, 0),
        (0x24, 0),
    ] {
        space.write(offset, Width::Dword, 0xffff_ffff);
        assert_eq!(dword(&space, offset), size, "at {offset:#x}");
    }
    space.write(4, Width::Word, 3);
    assert!(
        BARS.iter().all(|bar| space.base(bar).is_none()),
        "sizing is not a place"
    );

    space.write(0x10, Width::Qword, 0xfebf_1000_0000_c0ff);
    space.write(0x19, Width::Word, 0xf012);
    space.write(0x1b, Width::Byte, 0xfe);
    assert_eq!(space.base(&BARS[0]), Some(0xc000));
    assert_eq!(space.base(&BARS[1]), Some(0xfebf_1000));
    assert_eq!(space.base(&BARS[2]), Some(0xfef0_0000));

    space.write(4, Width::Word, 2);
    assert_eq!(space.base(&BARS[0]), None);
    assert_eq!(space.base(&BARS[1]), Some(0xfebf_1000));
    space.write(4, Width::Byte, 1);
    assert_eq!(space.base(&BARS[0]), Some(0xc000));
    assert_eq!(space.base(&BARS[1]), None);
    space.write(0x10, Width::Dword, 0);
    assert_eq!(space.base(&BARS[0]), None, "0 is not a place");
}

#[test]
fn accesses_that_leave_the_space_do_nothing() {
    let mut space = space();
    for (offset, width) in [
        (0x100, Width::Byte),
        (0xff, Width::Word),
        (0xf9, Width::Qword),
        (u64::MAX, Width::Byte),
    ] {
        assert_eq!(space.read(offset, width, false), width.mask());
        space.write(offset, width, 0);
    }
    assert_eq!(space.read(0xf8, Width::Qword, false), 0);
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![
        Just(Width::Byte),
        Just(Width::Word),
        Just(Width::Dword),
        Just(Width::Qword)
    ]
}

/// One BAR as the specification tells it: a dword that holds what was written to it, less the bits below
/// its size, with the address space in the lowest bit.
fn bar_model(bar: &Bar, written: u32) -> u32 {
    written / bar.size * bar.size + u32::from(bar.kind == BarKind::Io)
}

proptest! {
    /// Any access is the same as its bytes one by one, and BARs agree with the model after any of them.
    #[test]
    fn any_split_is_the_same_and_bars_follow_the_model(
        accesses in prop::collection::vec((0..SIZE + 8, width(), any::<u64>()), 1..60),
    ) {
        let (mut whole, mut split) = (space(), space());
        let mut written = [0; 24];
        for (offset, width, value) in accesses {
            whole.write(offset, width, value);
            if offset + u64::from(width.bytes()) <= SIZE {
                for (at, byte) in (offset..).zip(value.to_le_bytes()).take(usize::from(width.bytes())) {
                    split.write(at, Width::Byte, u64::from(byte));
                    if (0x10..0x28).contains(&at) {
                        written[usize::try_from(at).unwrap() - 0x10] = byte;
                    }
                }
            }
            prop_assert_eq!(&whole.bytes, &split.bytes);

            let read = whole.read(offset, width, true);
            let bytes = (offset..offset + u64::from(width.bytes())).map(|at| split.read(at, Width::Byte, true));
            if offset + u64::from(width.bytes()) <= SIZE {
                let expected = bytes.enumerate().fold(0, |sum, (place, byte)| sum | byte << (8 * place));
                prop_assert_eq!(read, expected);
            } else {
                prop_assert_eq!(read, width.mask());
            }
        }
        for index in 0..6_u8 {
            let at = usize::from(index) * 4;
            let last = u32::from_le_bytes(written[at..at + 4].try_into().unwrap());
            let expected = BARS.iter().find(|bar| bar.index == index).map_or(0, |bar| bar_model(bar, last));
            prop_assert_eq!(dword(&whole, 0x10 + 4 * u64::from(index)), u64::from(expected));
        }
        for bar in &BARS {
            let Some(base) = whole.base(bar) else { continue };
            prop_assert_eq!(base % u64::from(bar.size), 0);
            prop_assert!(base > 0 && base + u64::from(bar.size) <= 1 << 32);
        }
    }
}
