//! What an initiator of 1995 asks: SCSI-2 (X3.131-1994) and MMC-2, and what vendors of its time added.

use super::block_length::{MODE_SENSE_12, disc};
use super::{NEXUS, Nexus, Rig};
use crate::scsi::Bus;
use outrigger_block::Backend;

/// SCSI-2 section 8.3.3: page 0 is the vendor's and has no format. Boot ROMs ask for it to get at what comes before it.
#[test]
fn page_0_is_the_header_and_the_block_descriptor() {
    let mut rig = Rig::blank(0x1234);
    let expected = [11, 0, 0x10, 8, 0, 0, 0x12, 0x34, 0, 0, 2, 0];
    assert_eq!(rig.data(&MODE_SENSE_12), expected);
    assert_eq!(rig.data(&[0x1a, 0, 0, 0, 4, 0]), expected[..4]);
    assert_eq!(rig.data(&[0x1a, 0, 0, 0, 255, 0]), expected);
    assert_eq!(rig.data(&[0x1a, 0, 0x80, 0, 255, 0]), expected);
    assert_eq!(rig.data(&[0x1a, 8, 0, 0, 255, 0]), [3, 0, 0x10, 0]);
    assert_eq!(
        rig.data(&[0x5a, 0, 0, 0, 0, 0, 0, 0, 255, 0]),
        [0, 14, 0, 0x10, 0, 0, 0, 8, 0, 0, 0x12, 0x34, 0, 0, 2, 0]
    );
    // Saved values there are none, and no subpages.
    assert_eq!(rig.refusal(&[0x1a, 0, 0xc0, 0, 12, 0]), (5, 0x39, 0));
    assert_eq!(rig.refusal(&[0x1a, 0, 0, 1, 12, 0]), (5, 0x24, 0));
    // It is not among all pages.
    assert_eq!(rig.data(&[0x1a, 8, 0x3f, 0, 255, 0])[4], 1);

    let mut rig = Rig::cdrom(Some(disc(8)));
    assert_eq!(
        rig.data(&MODE_SENSE_12),
        [11, 0, 0, 8, 0, 0, 0, 8, 0, 0, 8, 0]
    );
    let mut rig = Rig::cdrom(None);
    assert_eq!(
        rig.data(&MODE_SENSE_12),
        [11, 0, 0, 8, 0, 0, 0, 0, 0, 0, 8, 0]
    );
}

/// SCSI-2 section 14.2.
#[test]
fn read_header() {
    let mut rig = Rig::cdrom(Some(disc(8)));
    let header = |msf, block| [0x44, msf, 0, 0, 0, block, 0, 0, 8, 0];
    assert_eq!(rig.data(&header(0, 7)), [1, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(rig.data(&header(2, 7)), [1, 0, 0, 0, 0, 0, 2, 7]);
    assert_eq!(rig.refusal(&header(0, 8)), (5, 0x21, 0));
    assert_eq!(rig.select_blocks(0, 0, 512), 0);
    // The address of the sector that has this block.
    assert_eq!(rig.data(&header(0, 31)), [1, 0, 0, 0, 0, 0, 0, 28]);
    assert_eq!(rig.data(&header(2, 31)), [1, 0, 0, 0, 0, 0, 2, 7]);
    let mut rig = Rig::cdrom(None);
    assert_eq!(rig.refusal(&header(0, 0)), (2, 0x3a, 1));
}

/// REZERO UNIT, PRE-FETCH and LOCK UNLOCK CACHE (SCSI-2 sections 9.2.2, 9.2.3 and 9.2.13): nothing is to be done.
#[test]
fn commands_that_move_nothing() {
    for mut rig in [Rig::blank(32), Rig::cdrom(Some(disc(32)))] {
        assert_eq!(rig.run(&[0x01, 0, 0, 0, 0, 0]).status, 0);
        for code in [0x34, 0x36] {
            assert_eq!(rig.run(&[code, 2, 0, 0, 0, 0, 0, 0, 32, 0]).status, 0);
            assert_eq!(rig.run(&[code, 0, 0, 0, 0, 31, 0, 0, 0, 0]).status, 0);
            let beyond = [code, 0, 0, 0, 0, 31, 0, 0, 2, 0];
            assert_eq!(rig.refusal(&beyond), (5, 0x21, 0), "{code:x}");
        }
    }
    let mut rig = Rig::cdrom(None);
    assert_eq!(rig.refusal(&[0x01, 0, 0, 0, 0, 0]), (2, 0x3a, 1));
}

/// REASSIGN BLOCKS (SCSI-2 section 9.2.10).
#[test]
fn blocks_are_reassigned_where_they_are() {
    let mut rig = Rig::blank(32);
    let cdb = [0x07, 0, 0, 0, 0, 0];
    let list = [0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 31];
    assert_eq!(rig.run_out(&cdb, &list).status, 0);
    assert_eq!(rig.run_out(&cdb, &[0; 4]).status, 0);
    let outcome = |rig: &mut Rig, cdb: &[u8], list: &[u8]| {
        assert_eq!(rig.run_out(cdb, list).status, 2);
        rig.data(&[3, 0, 0, 0, 18, 0])
    };
    let beyond = outcome(&mut rig, &cdb, &[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 32]);
    assert_eq!((beyond[6], beyond[12]), (32, 0x21));
    let odd = outcome(&mut rig, &cdb, &[0, 0, 0, 5, 0, 0, 0, 1, 0]);
    assert_eq!(odd[12], 0x1a);
    // Long lists and addresses of later standards.
    let list = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 31];
    assert_eq!(rig.run_out(&[0x07, 3, 0, 0, 0, 0], &list).status, 0);
    let endless = outcome(&mut rig, &[0x07, 1, 0, 0, 0, 0], &[255; 4]);
    assert_eq!(endless[12], 0x1a);
    let mut rig = Rig::new(Backend::memory(vec![0; 4096], true));
    assert_eq!(rig.refusal(&cdb), (7, 0x27, 0));
}

/// FORMAT UNIT with lists of defects (SCSI-2 section 9.2.1).
#[test]
fn a_disk_is_formatted_around_defects() {
    let mut rig = Rig::blank(32);
    assert_eq!(rig.run_out(&[10, 0, 0, 3, 1, 0], &[7; 512]).status, 0);
    // FmtData and CmpLst, block format: one defect. Then index format: two of 8 bytes.
    let list = [0, 0x80, 0, 4, 0, 0, 0, 3];
    assert_eq!(rig.run_out(&[0x04, 0x18, 0, 0, 1, 0], &list).status, 0);
    let list = [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 9];
    assert_eq!(rig.run_out(&[0x04, 0x1c, 0, 0, 1, 0], &list).status, 0);
    assert_eq!(rig.data(&[8, 0, 0, 3, 1, 0]), [7; 512]);
    // A long header.
    let list = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3];
    assert_eq!(rig.run_out(&[0x04, 0x30, 0, 0, 0, 0], &list).status, 0);
    let list = [0, 0, 0, 0, 255, 0, 0, 0];
    assert_eq!(rig.run_out(&[0x04, 0x30, 0, 0, 0, 0], &list).status, 2);
    assert_eq!(rig.data(&[3, 0, 0, 0, 18, 0])[12], 0x1a);
}

/// READ BUFFER and WRITE BUFFER with a header (SCSI-2 sections 8.2.12.1 and 8.2.17.1).
#[test]
fn buffers_in_combined_mode() {
    let mut rig = Rig::blank(8);
    let list = [0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(
        rig.run_out(&[0x3b, 0, 0, 0, 0, 0, 0, 0, 8, 0], &list)
            .status,
        0
    );
    assert_eq!(
        rig.data(&[0x3c, 0, 0, 0, 0, 0, 0, 0, 9, 0]),
        [0, 0, 16, 0, 1, 2, 3, 4, 0]
    );
    assert_eq!(rig.data(&[0x3c, 0, 0, 0, 0, 0, 0, 255, 255, 0]).len(), 4100);
    assert_eq!(rig.data(&[0x3c, 2, 0, 0, 0, 1, 0, 0, 3, 0]), [2, 3, 4]);
    for (cdb, field) in [
        ([0x3c, 0, 1, 0, 0, 0, 0, 0, 8, 0], 2),
        ([0x3c, 0, 0, 0, 0, 1, 0, 0, 8, 0], 3),
        ([0x3b, 0, 0, 0, 0, 0, 0, 16, 5, 0], 6),
    ] {
        let sense = rig.sense(&cdb);
        assert_eq!((sense[12], sense[17]), (0x24, field));
    }
}

/// SCSI-2 section 7.2.2: SCSI-1 initiators name the logical unit in the CDB, and SCSI-2 ones may.
#[test]
fn the_logical_unit_in_the_cdb_is_no_option() {
    let mut bus = Bus::new();
    for lun in 0..8 {
        let disk = Backend::memory(vec![0; 32 * 512], false);
        let disk = crate::scsi::Disk::new(disk, crate::scsi::DiskOptions::default());
        bus.attach(0, lun, disk.expect("a disk").into())
            .expect("a place");
    }
    let mut rig = Rig {
        bus,
        dma: outrigger_device::dma::fixture::gate(&[(0, super::RAM)]),
    };
    for lun in 0..8u8 {
        let nexus = Nexus { lun, ..NEXUS };
        assert_eq!(rig.run_at(nexus, &[0; 6]).status, 2);
        for cdb in [
            [0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x03, 0, 0, 0, 18, 0, 0, 0, 0, 0],
            [0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x04, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x08, 0, 0, 1, 1, 0, 0, 0, 0, 0],
            [0x0a, 0, 0, 1, 1, 0, 0, 0, 0, 0],
            [0x0b, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            [0x12, 0, 0, 0, 36, 0, 0, 0, 0, 0],
            [0x15, 0, 0, 0, 4, 0, 0, 0, 0, 0],
            [0x16, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x1a, 0, 0x3f, 0, 255, 0, 0, 0, 0, 0],
            [0x1b, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            [0x1c, 0, 0, 0, 8, 0, 0, 0, 0, 0],
            [0x1d, 4, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x2b, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            [0x2e, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x2f, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x34, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x35, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x36, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x37, 0, 0x18, 0, 0, 0, 0, 0, 4, 0],
            [0x3b, 2, 0, 0, 0, 0, 0, 0, 4, 0],
            [0x3c, 2, 0, 0, 0, 0, 0, 0, 4, 0],
            [0x41, 0, 0, 0, 0, 1, 0, 0, 1, 0],
            [0x4c, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255, 0],
            [0x55, 0, 0, 0, 0, 0, 0, 0, 8, 0],
            [0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0],
        ] {
            let mut cdb = cdb;
            cdb[1] |= lun << 5;
            rig.dma.write(0, &[0; 512]).expect("RAM");
            let cdb = &cdb[..Bus::cdb_length(cdb[0]).expect("a length")];
            assert_eq!(rig.run_at(nexus, cdb).status, 0, "{cdb:02x?}");
        }
    }
}

/// SCSI-2 sections 7.2.7, 8.2.5 and 8.2.14: linked commands, INQUIRY and REQUEST SENSE, as short as they were then.
#[test]
fn control_bytes_and_short_answers() {
    let mut rig = Rig::blank(8);
    for (control, bit) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        let sense = rig.sense(&[0, 0, 0, 0, 0, control]);
        assert_eq!(sense[12..18], [0x24, 0, 0, 0xc8 | bit, 0, 5]);
    }
    // The vendor's bits of the control byte.
    assert_eq!(rig.run(&[0, 0, 0, 0, 0, 0xc0]).status, 0);
    for length in [0, 4, 5, 8, 18, 36, 255] {
        let inquiry = rig.data(&[0x12, 0, 0, 0, length, 0]);
        assert_eq!(inquiry.len(), usize::from(length).min(96));
        assert_eq!(rig.run(&[8, 0, 0, 8, 1, 0]).status, 2);
        let sense = rig.data(&[3, 0, 0, 0, length, 0]);
        assert_eq!(sense.len(), usize::from(length).min(18));
        // It is gone, however little was wanted.
        assert_eq!(rig.data(&[3, 0, 0, 0, 18, 0])[2], 0);
    }
    let absent = Nexus { lun: 5, ..NEXUS };
    assert_eq!(rig.run_at(absent, &[0x12, 0, 0, 0, 5, 0]).data[0], 0x7f);
    let sense = rig.run_at(absent, &[3, 0, 0, 0, 18, 0]);
    assert_eq!((sense.data[2], sense.data[12]), (5, 0x25));
}

/// What has no data phase and no effect here ends at once, however long its CDB is: codes of vendors, reserved ones, and
/// optional commands of SCSI-2 and MMC-2 that this project has not.
#[test]
fn unknown_commands_of_any_length() {
    for mut rig in [Rig::blank(8), Rig::cdrom(Some(disc(8)))] {
        let vendors = (0x60..=0x7f).chain(0xc0..=0xff);
        for code in vendors {
            assert_eq!(Bus::cdb_length(code), None);
            for length in [6, 10, 12, 16] {
                let mut cdb = vec![0xff; length];
                cdb[0] = code;
                assert_eq!(rig.refusal(&cdb), (5, 0x20, 0), "{code:02x} {length}");
            }
        }
        // COPY, SEARCH DATA, SET LIMITS, COMPARE, COPY AND VERIFY, READ and WRITE LONG, CHANGE DEFINITION; PLAY AUDIO,
        // PAUSE RESUME, STOP PLAY/SCAN; SCSI-1's own.
        for code in [
            0x18, 0x30, 0x31, 0x32, 0x33, 0x39, 0x3a, 0x3e, 0x3f, 0x40, 0x45, 0x47, 0x48, 0x49,
            0x4b, 0x4e, 0xa5, 0xa9, 0xba, 0xbc, 0x02, 0x05, 0x06, 0x0c, 0x0e,
        ] {
            let mut cdb = vec![0; Bus::cdb_length(code).expect("a length")];
            cdb[0] = code;
            assert_eq!(rig.refusal(&cdb), (5, 0x20, 0), "{code:02x}");
        }
    }
}
