//! Identification, and reads and writes.

use super::{NEXUS, Nexus, Rig};
use outrigger_block::Backend;

#[test]
fn power_on_is_reported_once() {
    let mut rig = Rig::fresh(
        Backend::memory(vec![0; 1024], false),
        super::DiskOptions::default(),
    );
    assert_eq!(rig.run(&[0x12, 0, 0, 0, 36, 0]).status, 0);
    assert_eq!(rig.run(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]).status, 0);
    let sense = rig.sense(&[0; 6]);
    assert_eq!(
        sense,
        [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 1, 0, 0, 0, 0]
    );
    assert_eq!(rig.run(&[0; 6]).status, 0);
    assert_eq!(rig.bus.tasks(), 0);
}

#[test]
fn inquiry() {
    let mut rig = Rig::blank(8);
    let data = rig.data(&[0x12, 0, 0, 0, 36, 0]);
    assert_eq!(data[..8], [0, 0, 5, 0x12, 91, 0, 0, 0x32]);
    assert_eq!(&data[8..36], b"OUTRIGGRSCSI DISK       1   ");
}

#[test]
fn a_lun_without_a_unit() {
    let mut rig = Rig::blank(8);
    let nexus = Nexus { lun: 3, ..NEXUS };
    assert_eq!(rig.run_at(nexus, &[0x12, 0, 0, 0, 36, 0]).data[0], 0x7f);
    assert_eq!(rig.run_at(nexus, &[0; 6]).status, 2);
    let sense = rig.run_at(nexus, &[3, 0, 0, 0, 18, 0]).data;
    assert_eq!((sense[2], sense[12]), (5, 0x25));
}

#[test]
fn writes_come_back() {
    let mut rig = Rig::blank(64);
    let bytes: Vec<u8> = (0..1024u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    assert_eq!(
        rig.run_out(&[0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0], &bytes)
            .status,
        0
    );
    for read in [
        [0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &[0x08, 0, 0, 5, 2, 0],
        &[0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0],
        &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0],
    ] {
        assert_eq!(rig.data(read), bytes);
    }
    assert_eq!(rig.bus.tasks(), 0);
}

#[test]
fn beyond_the_end() {
    let mut rig = Rig::blank(64);
    let sense = rig.sense(&[0x28, 0, 0, 0, 0, 63, 0, 0, 2, 0]);
    assert_eq!(
        sense,
        [0xf0, 0, 5, 0, 0, 0, 64, 10, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0]
    );
}
