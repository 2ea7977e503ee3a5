//! Vital product data, capacity, REPORT LUNS.

use super::{DiskOptions, NEXUS, Nexus, Rig};
use crate::scsi::{AttachError, Bus, Disk, Identity, UnitError};
use outrigger_block::Backend;

fn named() -> DiskOptions {
    DiskOptions {
        identity: Identity {
            serial: Some("S123".into()),
            wwn: Some(0x5000_c500_1234_5678),
            ..DiskOptions::default().identity
        },
        physical_block_size: 4096,
        rotation_rate: 1,
        ..DiskOptions::default()
    }
}

#[test]
fn vital_product_data() {
    let mut rig = Rig::with_options(Backend::memory(vec![0; 1 << 20], false), named());
    let page = |code| [0x12, 1, code, 0, 255, 0];
    assert_eq!(
        rig.data(&page(0)),
        [0, 0, 0, 7, 0, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2]
    );
    assert_eq!(rig.data(&page(0x80)), *b"\0\x80\0\x04S123");
    assert_eq!(
        rig.data(&page(0x83)),
        *b"\0\x83\0\x2c\x02\x01\0\x1cOUTRIGGRSCSI DISK       S123\
           \x01\x03\0\x08\x50\0\xc5\0\x12\x34\x56\x78"
    );
    let extended = rig.data(&page(0x86));
    assert_eq!(
        (extended.len(), &extended[..8]),
        (64, [0, 0x86, 0, 0x3c, 0, 7, 1, 0].as_slice())
    );
    let limits = rig.data(&page(0xb0));
    assert_eq!(limits[..12], [0, 0xb0, 0, 0x3c, 1, 8, 0, 8, 0, 0x20, 0, 0]);
    assert_eq!(limits[20..32], [255, 255, 255, 255, 0, 0, 1, 0, 0, 0, 0, 8]);
    assert_eq!(limits[36..44], [0, 0, 0, 0, 0, 0x20, 0, 0]);
    assert_eq!(rig.data(&page(0xb1))[..6], [0, 0xb1, 0, 0x3c, 0, 1]);
    assert_eq!(rig.data(&page(0xb2)), [0, 0xb2, 0, 4, 0, 0xe0, 2, 0]);
    assert_eq!(rig.sense(&page(0x84))[12..18], [0x24, 0, 0, 0xc0, 0, 2]);
}

#[test]
fn without_a_serial_number_the_name_counts() {
    let options = DiskOptions {
        identity: Identity {
            device_id: "disk0".into(),
            ..DiskOptions::default().identity
        },
        ..DiskOptions::default()
    };
    let mut rig = Rig::with_options(Backend::memory(vec![0; 512], true), options);
    assert_eq!(
        rig.data(&[0x12, 1, 0, 0, 255, 0]),
        [0, 0, 0, 5, 0, 0x83, 0x86, 0xb0, 0xb1]
    );
    assert!(rig.data(&[0x12, 1, 0x83, 0, 255, 0]).ends_with(b"disk0"));
    assert_eq!(rig.run(&[0x12, 1, 0x80, 0, 255, 0]).status, 2);
}

#[test]
fn capacity() {
    let mut rig = Rig::with_options(Backend::memory(vec![0; 1 << 20], false), named());
    let ten = rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ten, [0, 0, 0x07, 0xff, 0, 0, 2, 0]);
    let mut cdb = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let sixteen = rig.data(&cdb);
    assert_eq!(sixteen[..8], [0, 0, 0, 0, 0, 0, 0x07, 0xff]);
    assert_eq!(sixteen[8..16], [0, 0, 2, 0, 0, 3, 0x80, 0]);
    assert_eq!(sixteen.len(), 32);
    cdb[1] = 0x11;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xcc, 0, 1]);
}

#[test]
fn large_blocks() {
    let options = DiskOptions {
        logical_block_size: 4096,
        physical_block_size: 4096,
        ..DiskOptions::default()
    };
    let mut rig = Rig::with_options(Backend::memory(vec![7; 1 << 16], false), options);
    let capacity = rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(capacity, [0, 0, 0, 15, 0, 0, 16, 0]);
    assert_eq!(rig.data(&[8, 0, 0, 15, 1, 0]), [7; 4096]);
    assert_eq!(rig.run(&[8, 0, 0, 15, 2, 0]).status, 2);
}

#[test]
fn report_luns() {
    let mut rig = Rig::blank(8);
    let disk = || {
        let backend = Backend::memory(vec![0; 512], false);
        Disk::new(backend, DiskOptions::default()).expect("a disk")
    };
    rig.bus.attach(0, 5, disk().into()).expect("a place");
    rig.bus.attach(9, 1, disk().into()).expect("a place");
    let mut expected = vec![0; 24];
    expected[3] = 16;
    expected[17] = 5;
    let cdb = |select, length| [0xa0, 0, select, 0, 0, 0, 0, 0, 0, length, 0, 0];
    assert_eq!(rig.data(&cdb(0, 255)), expected);
    assert_eq!(rig.data(&cdb(2, 16)), expected[..16]);
    assert_eq!(rig.data(&cdb(1, 255)), [0; 8]);
    assert_eq!(rig.sense(&cdb(3, 255))[12..18], [0x24, 0, 0, 0xc0, 0, 2]);
    assert_eq!(rig.sense(&cdb(0, 15))[12..18], [0x24, 0, 0, 0xc0, 0, 6]);
    // Also where LUN 0 has no unit.
    let nexus = Nexus { target: 9, ..NEXUS };
    assert_eq!(rig.run_at(nexus, &cdb(0, 255)).data[9], 1);
}

#[test]
fn places_on_the_bus() {
    let mut bus = Bus::new();
    let disk = || {
        let backend = Backend::memory(vec![0; 512], false);
        Disk::new(backend, DiskOptions::default()).expect("a disk")
    };
    assert_eq!(bus.attach(15, 7, disk().into()), Ok(()));
    let taken = AttachError::Taken { target: 15, lun: 7 };
    assert_eq!(bus.attach(15, 7, disk().into()), Err(taken));
    let outside = bus.attach(16, 0, disk().into());
    assert_eq!(outside, Err(AttachError::NoTarget(16)));
    assert_eq!(bus.attach(0, 8, disk().into()), Err(AttachError::NoLun(8)));
    assert!(bus.responds(15) && !bus.responds(14) && !bus.responds(255));
}

#[test]
fn options_are_checked() {
    let make = |bytes: usize, options| Disk::new(Backend::memory(vec![0; bytes], false), options);
    let default = DiskOptions::default;
    let size = UnitError::Size {
        bytes: 513,
        block_size: 512,
    };
    assert_eq!(make(513, default()).err(), Some(size));
    assert!(make(0, default()).is_err());
    let vendor = DiskOptions {
        identity: Identity {
            vendor: "123456789".into(),
            ..default().identity
        },
        ..default()
    };
    assert_eq!(
        make(512, vendor).err(),
        Some(UnitError::Text {
            field: "vendor",
            max: 8
        })
    );
    let serial = DiskOptions {
        identity: Identity {
            serial: Some("\u{e9}".into()),
            ..default().identity
        },
        ..default()
    };
    assert_eq!(
        make(512, serial).err(),
        Some(UnitError::Text {
            field: "serial",
            max: 36
        })
    );
    for (logical_block_size, physical_block_size) in
        [(0, 512), (256, 512), (8192, 8192), (512, 256), (512, 0)]
    {
        let options = DiskOptions {
            logical_block_size,
            physical_block_size,
            ..default()
        };
        assert!(make(8192, options).is_err());
    }
}
