use super::*;

const LSI: [u64; SLOTS] = [0x100, 0x400, 0x2000, 0, 0, 0, 0];

fn lsi() -> BarSet {
    BarSet::describe([1, 0, 0, 0, 0, 0, 0], LSI).unwrap()
}

#[test]
fn sizing_reads_the_size_and_the_type() {
    let mut bars = lsi();
    for slot in 0..SLOTS {
        bars.write(slot, u32::MAX);
    }
    let registers: Vec<u32> = (0..SLOTS).map(|slot| bars.read(slot)).collect();
    assert_eq!(
        registers,
        [0xffff_ff01, 0xffff_fc00, 0xffff_e000, 0, 0, 0, 0]
    );
}

#[test]
fn a_bar_decodes_where_its_register_says_if_its_space_is_on() {
    let mut bars = lsi();
    bars.write(0, 0xc0ff);
    bars.write(1, 0xfeb0_0123);
    assert_eq!(bars.decodes_at(0, true, false), None);
    assert_eq!(bars.decodes_at(0, false, true), Some(0xc000));
    assert_eq!(bars.decodes_at(1, true, false), Some(0xfeb0_0000));
    assert_eq!(bars.decodes_at(3, true, true), None);
    assert_eq!(bars.decodes_at(SLOTS, true, true), None);
}

#[test]
fn zero_and_the_sizing_value_decode_nothing() {
    let mut bars = lsi();
    assert_eq!(bars.decodes_at(1, true, true), None);
    bars.write(1, u32::MAX);
    assert_eq!(bars.decodes_at(1, true, true), None);
}

#[test]
fn a_wide_bar_takes_two_registers() {
    let mut bars = BarSet::describe([0xc, 0, 0, 0, 0, 0, 0], [1 << 33, 0, 0, 0, 0, 0, 0]).unwrap();
    bars.write(0, u32::MAX);
    bars.write(1, u32::MAX);
    assert_eq!((bars.read(0), bars.read(1)), (0xc, 0xffff_fffe));
    assert_eq!(bars.decodes_at(0, true, true), None);
    bars.write(1, 0x12);
    assert_eq!(bars.decodes_at(0, true, true), Some(0x12 << 32));
    assert!(bars.iter().flatten().next().unwrap().is_prefetchable());
}

#[test]
fn a_rom_decodes_when_its_own_bit_is_set() {
    let mut bars = BarSet::describe([0; SLOTS], [0, 0, 0, 0, 0, 0, 0x1_0000]).unwrap();
    bars.write(ROM, 0xfffe_0000);
    assert_eq!(bars.decodes_at(ROM, true, false), None);
    bars.write(ROM, 0xfffe_0001);
    assert_eq!(bars.read(ROM), 0xfffe_0001);
    assert_eq!(bars.decodes_at(ROM, true, false), Some(0xfffe_0000));
    assert_eq!(bars.decodes_at(ROM, false, true), None);
}

#[test]
fn impossible_bars_are_refused() {
    let describe = |slot: usize, register: u32, size: u64| {
        let (mut registers, mut sizes) = ([0; SLOTS], [0; SLOTS]);
        registers[slot] = register;
        sizes[slot] = size;
        BarSet::describe(registers, sizes)
    };
    for (slot, register, size) in [
        (0, 1, 2),
        (0, 1, 1 << 17),
        (0, 0, 8),
        (0, 0, 1 << 32),
        (0, 4, 1 << 48),
        (6, 0, 1 << 10),
        (2, 0, 0x300),
    ] {
        assert!(
            matches!(describe(slot, register, size), Err(BarError::Size { .. })),
            "{slot} {register:#x} {size:#x}"
        );
    }
    assert!(matches!(
        describe(0, 6, 0x1000),
        Err(BarError::Type { region: 0, kind: 3 })
    ));
    assert!(matches!(
        describe(5, 4, 0x1000),
        Err(BarError::UpperHalf { region: 5 })
    ));
    let both = BarSet::describe([4, 0, 0, 0, 0, 0, 0], [0x1000, 0x1000, 0, 0, 0, 0, 0]);
    assert_eq!(both, Err(BarError::UpperHalf { region: 0 }));
}
