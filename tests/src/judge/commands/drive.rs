//! Random commands for the drive: those that CD-ROM drives know.

use super::Command;
use crate::judge::units::{BYTES, DRIVE};
use crate::random::Random;

/// Sectors of the disc.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
const SECTORS: u32 = BYTES as u32 / 2048;

/// Some commands, one after the other.
#[must_use]
pub fn sequence(seed: u64) -> Vec<Command> {
    let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
    (0..1 + random.below(12))
        .map(|_| command(&mut random))
        .collect()
}

fn command(random: &mut Random) -> Command {
    let mut cdb = cdb(random);
    let altered = random.below(40) == 0;
    if altered {
        let place = 1 + random.below(u32::try_from(cdb.len() - 1).unwrap_or(1)) as usize;
        cdb[place] ^= 1 << random.below(8);
    }
    Command {
        target: DRIVE,
        cdb,
        out: vec![0; 256],
        altered,
    }
}

fn pick(random: &mut Random, of: &[u8]) -> u8 {
    of[random.below(u32::try_from(of.len()).unwrap_or(1)) as usize]
}

fn cdb(random: &mut Random) -> Vec<u8> {
    let sector = if random.below(12) == 0 {
        SECTORS - 2 + random.below(8)
    } else {
        random.below(SECTORS - 4)
    };
    let [_, _, d, e] = sector.to_be_bytes();
    let count = random.below(4).to_le_bytes()[0];
    let allocation = pick(random, &[4, 8, 12, 18, 20, 36, 64, 96, 255]);
    let msf = pick(random, &[0, 0, 2]);
    let ten = |code: u8, flags: u8| vec![code, flags, 0, 0, d, e, 0, 0, count, 0];
    match random.below(24) {
        0 | 1 => vec![0; 6],
        2..=4 => ten(0x28, 0),
        5 => vec![0xa8, 0, 0, 0, d, e, 0, 0, 0, count, 0, 0],
        6 => vec![0x08, 0, d, e, count.max(1), 0],
        7 => vec![0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        8 => vec![0x12, 0, 0, 0, allocation, 0],
        9 => {
            let page = pick(random, &[0x00, 0x80, 0x83, 0x55]);
            vec![0x12, 1, page, 0, allocation, 0]
        }
        10 => vec![0x03, 0, 0, 0, allocation, 0],
        11 => {
            let page = pick(random, &[0x01, 0x0e, 0x2a, 0x3f, 0x08]);
            vec![0x1a, 0, page, 0, allocation, 0]
        }
        12 => {
            let page = pick(random, &[0x01, 0x0e, 0x2a, 0x3f]);
            vec![0x5a, 0, page, 0, 0, 0, 0, 0, allocation, 0]
        }
        13..=15 => {
            let format = pick(random, &[0, 0, 1, 2, 4]);
            let track = pick(random, &[0, 1, 0xaa, 2]);
            vec![0x43, msf, format, 0, 0, 0, track, 0, allocation, 0]
        }
        16 => {
            let by = pick(random, &[0, 1, 2]);
            let feature = pick(random, &[0, 1, 3, 0x10, 0x1e]);
            vec![0x46, by, 0, feature, 0, 0, 0, 0, allocation, 0]
        }
        17 => {
            let classes = pick(random, &[0x10, 0x12, 0x02]);
            vec![0x4a, 1, 0, 0, classes, 0, 0, 0, allocation, 0]
        }
        18 => vec![0x51, 0, 0, 0, 0, 0, 0, 0, allocation, 0],
        19 => vec![0xbd, 0, 0, 0, 0, 0, 0, 0, 0, allocation, 0, 0],
        20 => vec![0x1e, 0, 0, 0, pick(random, &[0, 1]), 0],
        21 => vec![0xbb, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        22 => pick_other(random, d, e),
        _ => vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, allocation.max(16), 0, 0],
    }
}

/// What few drivers send.
fn pick_other(random: &mut Random, d: u8, e: u8) -> Vec<u8> {
    match random.below(6) {
        0 => vec![0x2b, 0, 0, 0, d, e, 0, 0, 0, 0],
        1 => vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        2 => vec![0x2a, 0, 0, 0, d, e, 0, 0, 1, 0],
        3 => vec![0x44, 0, 0, 0, d, e, 0, 0, 8, 0],
        4 => vec![0x42, 0, 0x40, 1, 0, 0, 0, 0, 16, 0],
        _ => vec![0x2f, 0, 0, 0, d, e, 0, 0, 1, 0],
    }
}
