//! The CD-ROM drive: its own commands, byte by byte, and its tray.

use super::Rig;
use crate::scsi::{Cdrom, CdromOptions, UnitError};
use outrigger_block::Backend;

const BLOCK: usize = 2048;

/// A disc whose blocks are filled with their numbers.
fn disc(blocks: u8) -> Rig {
    let bytes = (0..blocks).flat_map(|block| [block; BLOCK]).collect();
    Rig::cdrom(Some(Backend::memory(bytes, true)))
}

/// A disc too long for a CD. Never touched, so it takes no memory.
fn dvd() -> Rig {
    let bytes = vec![0; (80 * 60 * 75 + 1) * BLOCK];
    Rig::cdrom(Some(Backend::memory(bytes, true)))
}

#[test]
fn inquiry() {
    let mut rig = disc(4);
    let data = rig.data(&[0x12, 0, 0, 0, 96, 0]);
    assert_eq!(data[..8], [0x05, 0x80, 5, 0x12, 91, 0, 0, 0x32]);
    assert_eq!(&data[8..36], b"OUTRIGGRCD-ROM          1   ");
    assert_eq!(data[58..64], [0, 0x40, 3, 0, 3, 0xa0]);
    let pages = rig.data(&[0x12, 1, 0, 0, 255, 0]);
    assert_eq!(pages, [5, 0, 0, 3, 0, 0x83, 0x86]);
    let extended = rig.data(&[0x12, 1, 0x86, 0, 255, 0]);
    assert_eq!(extended[..8], [5, 0x86, 0, 0x3c, 0, 7, 0, 0]);
    assert_eq!(rig.refusal(&[0x12, 1, 0xb0, 0, 255, 0]), (5, 0x24, 0));
}

#[test]
fn blocks_are_of_2048_bytes() {
    let mut rig = disc(4);
    let capacity = rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(capacity, [0, 0, 0, 3, 0, 0, 8, 0]);
    let mut expected = vec![1; BLOCK];
    expected.resize(2 * BLOCK, 2);
    for cdb in [
        [0x08, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0],
        [0x28, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0],
        [0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0],
        [0xbe, 0, 0, 0, 0, 1, 0, 0, 2, 0x10, 0, 0],
        [0xbe, 8, 0, 0, 0, 1, 0, 0, 2, 0x10, 0, 0],
    ] {
        assert_eq!(rig.data(&cdb), expected, "{cdb:02x?}");
    }
    assert_eq!(rig.data(&[0xbe, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0]), [0u8; 0]);
    let beyond = rig.sense(&[0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0]);
    assert_eq!((beyond[12], &beyond[3..7]), (0x21, [0, 0, 0, 4].as_slice()));
    // Raw sectors, subchannels, audio.
    let raw = rig.sense(&[0xbe, 0, 0, 0, 0, 1, 0, 0, 2, 0xf8, 0, 0]);
    assert_eq!(raw[12..18], [0x24, 0, 0, 0xcf, 0, 9]);
    let subchannel = rig.sense(&[0xbe, 0, 0, 0, 0, 1, 0, 0, 2, 0x10, 1, 0]);
    assert_eq!(subchannel[12..18], [0x24, 0, 0, 0xca, 0, 10]);
    assert_eq!(
        rig.refusal(&[0xbe, 4, 0, 0, 0, 1, 0, 0, 2, 0x10, 0, 0]),
        (5, 0x64, 0)
    );
    // By minutes, seconds and frames: from 00:02:01 to 00:02:03.
    let time = |from: [u8; 3], to: [u8; 3], parts: u8| {
        let ([a, b, c], [d, e, f]) = (from, to);
        [0xb9, 0, 0, a, b, c, d, e, f, parts, 0, 0]
    };
    assert_eq!(rig.data(&time([0, 2, 1], [0, 2, 3], 0x10)), expected);
    for nothing in [
        time([0, 2, 1], [0, 2, 3], 0),
        time([0, 2, 1], [0, 2, 1], 0x10),
    ] {
        assert_eq!(rig.data(&nothing), [0u8; 0]);
    }
    let beyond = rig.sense(&time([0, 2, 3], [0, 2, 5], 0x10));
    assert_eq!(beyond[12..14], [0x21, 0]);
    for (cdb, field) in [
        (time([0, 1, 74], [0, 2, 1], 0x10), 3),
        (time([0, 60, 0], [1, 2, 0], 0x10), 4),
        (time([0, 2, 75], [0, 3, 0], 0x10), 5),
        (time([0, 2, 2], [0, 2, 1], 0x10), 6),
        (time([0, 2, 1], [0, 60, 1], 0x10), 7),
        (time([255, 59, 74], [255, 59, 75], 0x10), 8),
        (time([0, 2, 1], [0, 2, 3], 0xf8), 9),
    ] {
        let sense = rig.sense(&cdb);
        assert_eq!((sense[12], sense[17]), (0x24, field), "{cdb:02x?}");
    }
    // Verify, seek, synchronize.
    assert_eq!(rig.run(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 4, 0]).status, 0);
    assert_eq!(rig.run(&[0x2b, 0, 0, 0, 0, 3, 0, 0, 0, 0]).status, 0);
    assert_eq!(
        rig.refusal(&[0x2b, 0, 0, 0, 0, 4, 0, 0, 0, 0]),
        (5, 0x21, 0)
    );
    assert_eq!(rig.run(&[0x0b, 0, 0, 3, 0, 0]).status, 0);
    assert_eq!(rig.run(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]).status, 0);
}

#[test]
fn nothing_writes() {
    let mut rig = disc(4);
    for code in [
        0x04, 0x0a, 0x2a, 0x2e, 0x41, 0x88, 0x89, 0x8a, 0x93, 0x9e, 0xaa, 0xae,
    ] {
        let mut cdb = [0; 16];
        cdb[0] = code;
        assert_eq!(rig.refusal(&cdb), (5, 0x20, 0), "{code:02x}");
    }
}

#[test]
fn a_partial_block_cannot_be_reached() {
    let mut rig = Rig::cdrom(Some(Backend::memory(vec![0; 3 * BLOCK + 512], true)));
    assert_eq!(rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0])[3], 2);
    let small = Cdrom::new(
        Some(Backend::memory(vec![0; 512], true)),
        CdromOptions::default(),
    );
    let expected = UnitError::Size {
        bytes: 512,
        block_size: 2048,
    };
    assert_eq!(small.err(), Some(expected));
}

#[test]
fn table_of_contents() {
    let mut rig = disc(4);
    let toc = |msf, format, track, control| [0x43, msf, format, 0, 0, 0, track, 0, 255, control];
    let both = [
        0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 4,
    ];
    assert_eq!(rig.data(&toc(0, 0, 0, 0)), both);
    assert_eq!(rig.data(&toc(0, 0, 1, 0)), both);
    assert_eq!(
        rig.data(&toc(2, 0, 0, 0)),
        [
            0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 2, 4
        ]
    );
    assert_eq!(
        rig.data(&toc(0, 0, 0xaa, 0)),
        [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 0, 4]
    );
    assert_eq!(
        rig.sense(&toc(0, 0, 2, 0))[12..18],
        [0x24, 0, 0, 0xc0, 0, 6]
    );
    let session = [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0];
    assert_eq!(rig.data(&toc(0, 1, 0, 0)), session);
    assert_eq!(rig.data(&toc(0, 0, 0, 0x40)), session, "as Linux asks");
    #[rustfmt::skip]
    let raw = [
        0, 46, 1, 1,
        1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0,
        1, 0x14, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0,
        1, 0x14, 0, 0xa2, 0, 0, 0, 0, 0, 2, 4,
        1, 0x14, 0, 0x01, 0, 0, 0, 0, 0, 2, 0,
    ];
    assert_eq!(rig.data(&toc(0, 2, 0, 0)), raw);
    assert_eq!(
        rig.sense(&toc(0, 4, 0, 0))[12..18],
        [0x24, 0, 0, 0xcb, 0, 2]
    );
}

#[test]
fn subchannel() {
    let mut rig = disc(4);
    let cdb = |q, format| [0x42, 2, q, format, 0, 0, 1, 0, 255, 0];
    assert_eq!(rig.data(&cdb(0, 0)), [0, 0, 0, 0]);
    assert_eq!(rig.data(&cdb(0, 1)), [0, 0, 0, 0]);
    assert_eq!(
        rig.data(&cdb(0x40, 1)),
        [0, 0, 0, 12, 1, 0x14, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0]
    );
    let mut catalogue = vec![0, 0, 0, 20, 2];
    catalogue.resize(24, 0);
    assert_eq!(rig.data(&cdb(0x40, 2)), catalogue);
    let mut isrc = vec![0, 0, 0, 20, 3, 0x14, 1];
    isrc.resize(24, 0);
    assert_eq!(rig.data(&cdb(0x40, 3)), isrc);
    assert_eq!(rig.sense(&cdb(0x40, 4))[12..18], [0x24, 0, 0, 0xc0, 0, 3]);
}

#[test]
fn configuration_of_a_cd() {
    let mut rig = disc(4);
    let cdb = |select, feature| [0x46, select, 0, feature, 0, 0, 0, 1, 0, 0];
    #[rustfmt::skip]
    let all = [
        0, 0, 0, 72, 0, 0, 0, 0x08,
        0, 0x00, 0x03, 8, 0, 0x10, 0, 0, 0, 0x08, 1, 0,
        0, 0x01, 0x0b, 8, 0, 0, 0, 1, 1, 0, 0, 0,
        0, 0x02, 0x07, 4, 0, 0, 0, 0,
        0, 0x03, 0x0b, 4, 0x39, 0, 0, 0,
        0, 0x10, 0x01, 8, 0, 0, 8, 0, 0, 1, 1, 0,
        0, 0x1e, 0x09, 4, 0, 0, 0, 0,
        0, 0x1f, 0x00, 0,
    ];
    let mut expected = all.to_vec();
    expected[3] = u8::try_from(all.len() - 4).expect("a short list");
    assert_eq!(rig.data(&cdb(0, 0)), expected);
    let current = rig.data(&cdb(1, 0x10));
    assert_eq!(current[..8], [0, 0, 0, 24, 0, 0, 0, 8]);
    assert_eq!(current[8..], all[56 - 8..76 - 8]);
    assert_eq!(
        rig.data(&cdb(2, 0x1f)),
        [0, 0, 0, 8, 0, 0, 0, 8, 0, 0x1f, 0, 0]
    );
    assert_eq!(rig.data(&cdb(2, 0x20)), [0, 0, 0, 4, 0, 0, 0, 8]);
    assert_eq!(rig.sense(&cdb(3, 0))[12..18], [0x24, 0, 0, 0xc9, 0, 1]);
}

#[test]
fn configuration_of_a_dvd_and_of_nothing() {
    let mut rig = dvd();
    let profiles = [0x46, 2, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(
        rig.data(&profiles),
        [
            0, 0, 0, 16, 0, 0, 0, 0x10, 0, 0, 3, 8, 0, 0x10, 1, 0, 0, 8, 0, 0
        ]
    );
    let mut rig = Rig::cdrom(None);
    assert_eq!(
        rig.data(&profiles),
        [
            0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 3, 8, 0, 0x10, 0, 0, 0, 8, 0, 0
        ]
    );
}

#[test]
fn disc_and_track_information() {
    let mut rig = disc(4);
    #[rustfmt::skip]
    let expected = [
        0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0,
        255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(rig.data(&[0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0]), expected);
    let track = |by, address| [0x52, by, 0, 0, 0, address, 0, 0, 255, 0];
    let mut expected = vec![0, 34, 1, 1, 0, 4, 1];
    expected.resize(27, 0);
    expected.push(4);
    expected.resize(36, 0);
    for (by, address) in [(0, 3), (1, 1), (2, 1)] {
        assert_eq!(rig.data(&track(by, address)), expected);
    }
    assert_eq!(rig.refusal(&track(0, 4)), (5, 0x21, 0));
    assert_eq!(rig.sense(&track(1, 2))[12..18], [0x24, 0, 0, 0xc0, 0, 2]);
}

#[test]
fn dvd_structure() {
    let cdb = |format| [0xad, 0, 0, 0, 0, 0, 0, format, 0x10, 0, 0, 0];
    assert_eq!(disc(4).refusal(&cdb(0)), (5, 0x30, 2));
    let mut rig = dvd();
    let physical = rig.data(&cdb(0));
    assert_eq!(physical.len(), 2052);
    // Sectors 0x30000 to 0x30000 + 360000.
    assert_eq!(
        physical[..16],
        [8, 2, 0, 0, 1, 0x0f, 1, 0, 0, 3, 0, 0, 0, 8, 0x7e, 0x40]
    );
    assert_eq!(rig.data(&cdb(1)), [0, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(rig.data(&cdb(4)).len(), 2052);
    assert_eq!(
        rig.data(&cdb(0xff)),
        [0, 14, 0, 0, 0, 0x40, 8, 4, 1, 0x40, 0, 8, 4, 0x40, 8, 4]
    );
    assert_eq!(rig.sense(&cdb(2))[12..18], [0x24, 0, 0, 0xc0, 0, 7]);
}

#[test]
fn mode_pages() {
    let mut rig = disc(4);
    let six = rig.data(&[0x1a, 8, 0x2a, 0, 255, 0]);
    #[rustfmt::skip]
    let capabilities = [
        0x2a, 0x14, 0x0b, 0, 0x70, 0, 0x29, 0, 0x23, 0xd5, 0, 0, 8, 0, 0x23, 0xd5, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(
        (&six[..4], &six[4..]),
        ([25, 0, 0, 0].as_slice(), capabilities.as_slice())
    );
    assert_eq!(rig.run(&[0x1e, 0, 0, 0, 1, 0]).status, 0);
    assert_eq!(rig.data(&[0x1a, 8, 0x2a, 0, 255, 0])[10], 0x2b, "locked");
    let all = rig
        .data(&[0x5a, 8, 0x3f, 0, 0, 0, 0, 0, 255, 0])
        .split_off(8);
    let mut codes = Vec::new();
    let mut at = 0;
    while at < all.len() {
        codes.push(all[at]);
        at += 2 + usize::from(all[at + 1]);
    }
    assert_eq!(codes, [0x01, 0x02, 0x0a, 0x0d, 0x0e, 0x2a]);
    assert_eq!(
        rig.data(&[0x1a, 8, 0x0d, 0, 255, 0])[4..],
        [0x0d, 6, 0, 0, 0, 60, 0, 75]
    );
    assert_eq!(rig.refusal(&[0x1a, 0, 8, 0, 255, 0]), (5, 0x24, 0));
}

#[test]
fn an_empty_drive() {
    let mut rig = Rig::cdrom(None);
    for cdb in [
        [0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        [0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0],
        [0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0],
        [0xad, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0],
        [0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0],
        [0xb9, 0, 0, 0, 2, 0, 0, 2, 1, 0x10, 0, 0],
    ] {
        assert_eq!(rig.refusal(&cdb), (2, 0x3a, 1), "{cdb:02x?}");
    }
    assert_eq!(
        rig.data(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0]),
        [0, 6, 4, 0x10, 0, 0, 0, 0]
    );
    assert_eq!(
        rig.data(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]),
        [0, 0, 0, 0, 0, 1, 0, 0]
    );
}

#[test]
fn eject_lock_and_load() {
    let mut rig = disc(4);
    let events = [0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0];
    let (eject, load) = ([0x1b, 0, 0, 0, 2, 0], [0x1b, 0, 0, 0, 3, 0]);
    assert_eq!(rig.data(&events), [0, 6, 4, 0x10, 2, 2, 0, 0], "new media");
    assert_eq!(rig.data(&events), [0, 6, 4, 0x10, 0, 2, 0, 0]);
    // Locked.
    assert_eq!(rig.run(&[0x1e, 0, 0, 0, 1, 0]).status, 0);
    assert_eq!(rig.refusal(&eject), (5, 0x53, 2));
    assert_eq!(rig.run(&[0; 6]).status, 0);
    assert_eq!(rig.run(&[0x1e, 0, 0, 0, 0, 0]).status, 0);
    // Out.
    assert_eq!(rig.run(&eject).status, 0);
    assert_eq!(rig.refusal(&[0; 6]), (2, 0x3a, 2));
    assert_eq!(rig.data(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0])[1], 0x10);
    // An event that does not fit is not taken.
    assert_eq!(
        rig.data(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4, 0]),
        [0, 6, 4, 0x10]
    );
    assert_eq!(
        rig.data(&events),
        [0, 6, 4, 0x10, 3, 1, 0, 0],
        "media removal"
    );
    // In again; the events can be asked for before the unit attention is taken.
    assert_eq!(rig.run(&load).status, 0);
    assert_eq!(rig.data(&events), [0, 6, 4, 0x10, 2, 2, 0, 0]);
    assert_eq!(rig.data(&[0x46, 2, 0, 0x20, 0, 0, 0, 0, 8, 0])[7], 8);
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x28, 0));
    assert_eq!(rig.run(&[0; 6]).status, 0);
    // Stopped without eject it stays ready; a lock ends with a reset.
    assert_eq!(rig.run(&[0x1b, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(rig.run(&[0; 6]).status, 0);
    assert_eq!(rig.run(&[0x1e, 0, 0, 0, 1, 0]).status, 0);
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.run(&eject).status, 0);
    // Other classes of events, and notification without polling.
    assert_eq!(
        rig.data(&[0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8, 0]),
        [0, 2, 0x80, 0x10]
    );
    assert_eq!(
        rig.sense(&[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0])[12..18],
        [0x24, 0, 0, 0xc8, 0, 1]
    );
    assert_eq!(
        rig.sense(&[0x1e, 0, 0, 0, 2, 0])[12..18],
        [0x24, 0, 0, 0xc9, 0, 4]
    );
    assert_eq!(
        rig.run(&[0xbb, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0])
            .status,
        0
    );
}

#[test]
fn another_disc() {
    let mut rig = disc(4);
    rig.bus
        .replace_backend(0, 0, Backend::memory(vec![0; 9 * BLOCK], true));
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x28, 0));
    assert_eq!(rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0])[3], 8);
}
