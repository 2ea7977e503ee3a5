//! MODE SENSE and MODE SELECT.

use super::{NEXUS, Rig};
use outrigger_block::Backend;

const CACHING: [u8; 20] = [
    8, 0x12, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
const CONTROL: [u8; 12] = [0x0a, 0x0a, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn one_page_in_both_forms() {
    let mut rig = Rig::blank(0x1234);
    let six = rig.data(&[0x1a, 0, 8, 0, 255, 0]);
    assert_eq!(six[..4], [31, 0, 0x10, 8]);
    assert_eq!(six[4..12], [0, 0, 0x12, 0x34, 0, 0, 2, 0]);
    assert_eq!(six[12..], CACHING);
    let ten = rig.data(&[0x5a, 8, 8, 0, 0, 0, 0, 0, 255, 0]);
    assert_eq!(ten[..8], [0, 26, 0, 0x10, 0, 0, 0, 0]);
    assert_eq!(ten[8..], CACHING);
    // The allocation length cuts.
    assert_eq!(rig.data(&[0x1a, 0, 8, 0, 4, 0]), [31, 0, 0x10, 8]);
    assert_eq!(rig.run(&[0x1a, 0, 8, 0, 0, 0]).status, 0);
}

#[test]
fn all_pages() {
    let mut rig = Rig::blank(2048);
    let pages = rig.data(&[0x1a, 8, 0x3f, 0, 255, 0]).split_off(4);
    let mut codes = Vec::new();
    let mut at = 0;
    while at < pages.len() {
        codes.push(pages[at]);
        at += 2 + usize::from(pages[at + 1]);
    }
    assert_eq!(codes, [1, 2, 3, 4, 8, 10, 0x1c]);
    assert_eq!(rig.data(&[0x1a, 8, 0x3f, 0xff, 255, 0]).split_off(4), pages);
}

#[test]
fn what_can_be_changed() {
    let mut rig = Rig::blank(8);
    let mask = rig
        .data(&[0x5a, 8, 0x7f, 0, 0, 0, 0, 0, 255, 0])
        .split_off(8);
    // Headers apart, only WCE and D_SENSE.
    let mut expected = Vec::new();
    for (code, length) in [
        (1, 10),
        (2, 14),
        (3, 22),
        (4, 22),
        (8, 18),
        (10, 10),
        (0x1c, 10),
    ] {
        expected.extend([code, length]);
        expected.resize(expected.len() + usize::from(length), 0);
    }
    expected[78] = 4;
    expected[98] = 4;
    assert_eq!(mask, expected);
    assert_eq!(rig.data(&[0x1a, 8, 0x48, 0, 255, 0])[4..], CACHING);
}

#[test]
fn refused_pages() {
    let mut rig = Rig::blank(8);
    assert_eq!(
        rig.sense(&[0x1a, 0, 0x1d, 0, 255, 0])[12..18],
        [0x24, 0, 0, 0xcd, 0, 2]
    );
    assert_eq!(
        rig.sense(&[0x1a, 0, 0x08, 1, 255, 0])[12..18],
        [0x24, 0, 0, 0xc0, 0, 3]
    );
    assert_eq!(
        rig.sense(&[0x1a, 0, 0xc8, 0, 255, 0])[12..18],
        [0x39, 0, 0, 0, 0, 0]
    );
}

#[test]
fn the_cache_can_be_switched_off_until_a_reset() {
    let mut rig = Rig::blank(8);
    let mut list = vec![0; 4];
    list.extend(CACHING);
    list[6] = 0;
    assert_eq!(rig.run_out(&[0x15, 0x10, 0, 0, 24, 0], &list).status, 0);
    assert_eq!(rig.data(&[0x1a, 8, 8, 0, 255, 0])[6], 0);
    assert_eq!(rig.data(&[0x1a, 8, 0x88, 0, 255, 0])[6], 4);
    assert_eq!(rig.run_out(&[0x0a, 0, 0, 0, 1, 0], &[1; 512]).status, 0);
    rig.bus.reset();
    assert_eq!(rig.run_at(NEXUS, &[0; 6]).status, 2);
    assert_eq!(rig.data(&[0x1a, 8, 8, 0, 255, 0])[6], 4);
}

#[test]
fn descriptor_sense() {
    let mut rig = Rig::blank(8);
    let mut list = vec![0; 8];
    list.extend(CONTROL);
    list[10] = 4;
    assert_eq!(
        rig.run_out(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0], &list)
            .status,
        0
    );
    let sense = rig.sense(&[8, 0, 0, 8, 1, 0]);
    assert_eq!(
        sense,
        [
            0x72, 5, 0x21, 0, 0, 0, 0, 12, 0, 10, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 8
        ]
    );
    // Without it, DESC in the CDB asks for the format.
    rig.bus.reset();
    assert_eq!(
        rig.data(&[3, 1, 0, 0, 255, 0]),
        [0x72, 6, 0x29, 2, 0, 0, 0, 0]
    );
    assert_eq!(rig.data(&[3, 0, 0, 0, 255, 0])[..3], [0x70, 0, 0]);
}

#[test]
fn a_wrong_list_changes_nothing() {
    let mut rig = Rig::blank(8);
    let select = |rig: &mut Rig, list: &[u8]| {
        let length = u8::try_from(list.len()).expect("a short list");
        assert_eq!(rig.run_out(&[0x15, 0x10, 0, 0, length, 0], list).status, 2);
        rig.data(&[3, 0, 0, 0, 18, 0])[12..18].to_vec()
    };
    let mut list = vec![0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 2, 0];
    list.extend(CACHING);
    list[14] = 0; // WCE off, which would be right
    list.extend(CONTROL);
    list[35] = 0x20; // the queue algorithm cannot be changed
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 35]);
    list[35] = 0x10;
    assert_eq!(select(&mut rig, &list[..40]), [0x1a, 0, 0, 0, 0, 0]);
    assert_eq!(select(&mut rig, &list[..3]), [0x1a, 0, 0, 0, 0, 0]);
    assert_eq!(select(&mut rig, &list[..7]), [0x1a, 0, 0, 0, 0, 0]);
    list[33] = 9;
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 33]);
    list[32] = 0x1d;
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 32]);
    list[10] = 4;
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 9]);
    list[10] = 2;
    list[7] = 9;
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 4]);
    list[3] = 7;
    assert_eq!(select(&mut rig, &list), [0x26, 0, 0, 0x80, 0, 3]);
    assert_eq!(rig.data(&[0x1a, 8, 8, 0, 255, 0])[6], 4);
    // SP.
    assert_eq!(
        rig.sense(&[0x15, 0x11, 0, 0, 24, 0])[12..18],
        [0x24, 0, 0, 0xc8, 0, 1]
    );
    // A list without PF is read as pages too.
    list.truncate(32);
    list[3] = 8;
    list[7] = 8;
    list[10] = 2;
    assert_eq!(rig.run_out(&[0x15, 0, 0, 0, 32, 0], &list).status, 0);
    assert_eq!(rig.data(&[0x1a, 8, 8, 0, 255, 0])[6], 0);
    assert_eq!(rig.run(&[0x15, 0, 0, 0, 0, 0]).status, 0);
}

#[test]
fn write_protection_shows() {
    let mut rig = Rig::new(Backend::memory(vec![0; 4096], true));
    assert_eq!(rig.data(&[0x1a, 8, 8, 0, 255, 0])[2], 0x90);
}
