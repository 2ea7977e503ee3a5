//! The block length of a CD-ROM drive: what its owner and MODE SELECT choose (SCSI-2 section 14.3.3).

use super::{NEXUS, Rig};
use crate::scsi::{Cdrom, CdromOptions, Management, UnitError};
use outrigger_block::Backend;

const READ_CAPACITY: [u8; 10] = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// MODE SENSE (6) with room for the header and one block descriptor.
pub(super) const MODE_SENSE_12: [u8; 6] = [0x1a, 0, 0, 0, 12, 0];

/// Sectors of 2048 bytes, with the number of its block of 512 bytes in each byte.
pub(super) fn disc(sectors: usize) -> Backend {
    let bytes = (0..sectors * 2048).map(|n| u8::try_from(n / 512 % 256).unwrap_or(0));
    Backend::memory(bytes.collect(), true)
}

fn drive(logical_block_size: u32) -> Result<Cdrom, UnitError> {
    let options = CdromOptions {
        logical_block_size,
        ..CdromOptions::default()
    };
    Cdrom::new(Some(disc(8)), options)
}

impl Rig {
    /// MODE SELECT (6) of 12 bytes as workstations send it, without PF: a header and a block descriptor with the density code,
    /// the number of blocks and their size.
    pub(super) fn select_blocks(&mut self, density: u8, blocks: u32, size: u32) -> u8 {
        let ([_, a, b, c], [_, d, e, f]) = (blocks.to_be_bytes(), size.to_be_bytes());
        let list = [0, 0, 0, 8, density, a, b, c, 0, d, e, f];
        self.run_out(&[0x15, 0, 0, 0, 12, 0], &list).status
    }

    fn capacity(&mut self) -> (u32, u32) {
        let bytes = self.data(&READ_CAPACITY);
        let word = |at: usize| {
            let bytes = bytes[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        (word(0), word(4))
    }
}

/// Workstations set the block length of a CD-ROM drive to 512, and all follows.
#[test]
fn a_drive_has_the_block_length_that_mode_select_sets() {
    let mut rig = Rig::cdrom(Some(disc(8)));
    assert_eq!(rig.capacity(), (7, 2048));
    assert_eq!(rig.select_blocks(0, 0, 512), 0);
    assert_eq!(rig.capacity(), (31, 512));
    assert_eq!(
        rig.data(&MODE_SENSE_12),
        [11, 0, 0, 8, 0, 0, 0, 32, 0, 0, 2, 0]
    );
    // The default, and what can be changed.
    assert_eq!(
        rig.data(&[0x1a, 0, 0x80, 0, 12, 0])[4..],
        [0, 0, 0, 8, 0, 0, 8, 0]
    );
    assert_eq!(
        rig.data(&[0x1a, 0, 0x40, 0, 12, 0])[4..],
        [0, 0, 0, 0, 0, 255, 255, 255]
    );
    assert_eq!(rig.data(&[8, 0, 0, 5, 1, 0]), [5; 512]);
    assert_eq!(
        rig.data(&[0x28, 0, 0, 0, 0, 30, 0, 0, 2, 0]),
        [[30; 512], [31; 512]].concat()
    );
    assert_eq!(
        rig.data(&[0xa8, 0, 0, 0, 0, 31, 0, 0, 0, 1, 0, 0]),
        [31; 512]
    );
    for beyond in [
        [0x08, 0, 0, 32, 1, 0, 0, 0, 0, 0],
        [0x28, 0, 0, 0, 0, 31, 0, 0, 2, 0],
        [0x2b, 0, 0, 0, 0, 32, 0, 0, 0, 0],
    ] {
        assert_eq!(rig.refusal(&beyond), (5, 0x21, 0));
    }
    assert_eq!(rig.run(&[0x0b, 0, 0, 31, 0, 0]).status, 0);
    assert_eq!(
        rig.run_out(&[0x2f, 2, 0, 0, 0, 9, 0, 0, 1, 0], &[9; 512])
            .status,
        0
    );
    // Logical block addresses follow; minutes, seconds and frames do not, nor does READ CD, which reads sectors.
    let lead_out =
        |rig: &mut Rig, msf| rig.data(&[0x43, msf, 0, 0, 0, 0, 0xaa, 0, 12, 0])[8..].to_vec();
    assert_eq!(lead_out(&mut rig, 0), [0, 0, 0, 32]);
    assert_eq!(lead_out(&mut rig, 2), [0, 0, 2, 8]);
    assert_eq!(
        rig.data(&[0xbe, 0, 0, 0, 0, 7, 0, 0, 1, 0x10, 0, 0])[..],
        [[28; 512], [29; 512], [30; 512], [31; 512]].concat()
    );
    // GET CONFIGURATION: the random readable feature.
    assert_eq!(
        rig.data(&[0x46, 2, 0, 0x10, 0, 0, 0, 0, 255, 0])[12..18],
        [0, 0, 2, 0, 0, 4]
    );
    // Back, with what MODE SENSE has said but for the length.
    assert_eq!(rig.select_blocks(1, 32, 2048), 0);
    assert_eq!(rig.capacity(), (7, 2048));
    assert_eq!(rig.select_blocks(0, 0xff_ffff, 1024), 0);
    assert_eq!(rig.capacity(), (15, 1024));
    assert_eq!(rig.data(&[8, 0, 0, 1, 1, 0]), [[2; 512], [3; 512]].concat());
    assert_eq!(rig.select_blocks(0, 32, 512), 0);
    // A reset restores it.
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.capacity(), (7, 2048));
}

#[test]
fn block_lengths_that_no_drive_has() {
    let mut rig = Rig::cdrom(Some(disc(8)));
    let field = |rig: &mut Rig| {
        let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
        assert_eq!((sense[2], sense[12]), (5, 0x26));
        sense[17]
    };
    for size in [1, 256, 513, 768, 2336, 2352, 4096, 0xff_ffff] {
        assert_eq!(rig.select_blocks(0, 0, size), 2);
        assert_eq!(field(&mut rig), 9, "{size}");
    }
    // A density of audio; a number of blocks that is right for no length.
    assert_eq!(rig.select_blocks(4, 0, 512), 2);
    assert_eq!(field(&mut rig), 4);
    assert_eq!(rig.select_blocks(0, 9, 512), 2);
    assert_eq!(field(&mut rig), 4);
    // A wrong page behind it: nothing changes.
    let list = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x0e, 2, 0, 0];
    assert_eq!(rig.run_out(&[0x15, 0x10, 0, 0, 16, 0], &list).status, 2);
    assert_eq!(field(&mut rig), 13);
    assert_eq!(rig.capacity(), (7, 2048));
    // A length of 0 leaves it, as does no block descriptor; the medium type may be that of a CD-ROM.
    assert_eq!(rig.select_blocks(0, 0, 0), 0);
    assert_eq!(rig.run_out(&[0x15, 0, 0, 0, 4, 0], &[0, 1, 0, 0]).status, 0);
    assert_eq!(rig.run_out(&[0x15, 0, 0, 0, 4, 0], &[0, 2, 0, 0]).status, 2);
    assert_eq!(rig.capacity(), (7, 2048));
    // The ten-byte form.
    let list = [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0];
    let cdb = [0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0];
    assert_eq!(rig.run_out(&cdb, &list).status, 0);
    assert_eq!(rig.capacity(), (31, 512));

    // A disk would have to be formatted: it keeps its length.
    let mut rig = Rig::blank(32);
    assert_eq!(rig.select_blocks(0, 0, 1024), 2);
    assert_eq!(field(&mut rig), 9);
    assert_eq!(rig.select_blocks(0, 31, 512), 2);
    assert_eq!(field(&mut rig), 4);
    for blocks in [0, 32] {
        assert_eq!(rig.select_blocks(0, blocks, 512), 0);
    }
    assert_eq!(rig.capacity(), (31, 512));
}

/// Drives with a jumper for 512 bytes.
#[test]
fn a_drive_has_the_block_length_that_its_owner_chose() {
    let mut rig = Rig::of_unit(drive(512).expect("a drive").into());
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 1));
    assert_eq!(rig.capacity(), (31, 512));
    assert_eq!(rig.select_blocks(0, 0, 2048), 0);
    assert_eq!(rig.capacity(), (7, 2048));
    rig.bus.manage(NEXUS, Management::TargetReset);
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 3));
    assert_eq!(rig.capacity(), (31, 512));
    for size in [0, 256, 1000, 4096] {
        assert!(drive(size).is_err(), "{size}");
    }
    // Bytes after the last whole sector cannot be reached in smaller blocks either.
    let backend = Backend::memory(vec![0; 3 * 2048 + 1024], true);
    let options = CdromOptions {
        logical_block_size: 512,
        ..CdromOptions::default()
    };
    let cdrom = Cdrom::new(Some(backend), options).expect("a drive");
    let mut rig = Rig::of_unit(cdrom.into());
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 1));
    assert_eq!(rig.capacity(), (11, 512));
}
