//! Random commands: those that disks know, mostly within their bounds, and some that nobody knows.

use std::fmt;

use crate::judge::units::{BYTES, DRIVE};
use crate::random::Random;

/// A command.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The target's ID.
    pub target: u8,
    /// The CDB.
    pub cdb: Vec<u8>,
    /// The data that it may take.
    pub out: Vec<u8>,
    /// A bit of the CDB was turned over.
    pub altered: bool,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.out.get(..24).unwrap_or(&self.out);
        write!(
            f,
            "target {}, CDB {:02x?}, out {shown:02x?}",
            self.target, self.cdb
        )
    }
}

impl Command {
    /// TEST UNIT READY.
    #[must_use]
    pub fn test_unit_ready(target: u8) -> Self {
        Self {
            target,
            cdb: vec![0; 6],
            out: Vec::new(),
            altered: false,
        }
    }

    /// REQUEST SENSE, of fixed format.
    #[must_use]
    pub fn request_sense(target: u8) -> Self {
        Self {
            target,
            cdb: vec![3, 0, 0, 0, 18, 0],
            out: Vec::new(),
            altered: false,
        }
    }

    /// READ (10) of the whole disk or disc.
    #[must_use]
    pub fn read_all(target: u8) -> Self {
        let blocks = if target == DRIVE { BLOCKS / 4 } else { BLOCKS };
        let [high, low] = u16::try_from(blocks).unwrap_or(0).to_be_bytes();
        Self {
            target,
            cdb: vec![0x28, 0, 0, 0, 0, 0, 0, high, low, 0],
            out: Vec::new(),
            altered: false,
        }
    }
}

/// Blocks of a disk.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
const BLOCKS: u32 = BYTES as u32 / 512;

/// Some commands, one after the other.
#[must_use]
pub fn sequence(seed: u64) -> Vec<Command> {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c55));
    (0..1 + random.below(12))
        .map(|_| command(&mut random))
        .collect()
}

fn command(random: &mut Random) -> Command {
    let target = [0, 2][random.below(2) as usize];
    let mut cdb = cdb(random);
    let out = random.bytes(48 << 9);
    let mut command = Command {
        target,
        cdb: cdb.clone(),
        out,
        altered: random.below(40) == 0,
    };
    match cdb[0] {
        // Parameter lists.
        0x15 => mode_parameters(random, &mut command, 4),
        0x55 => mode_parameters(random, &mut command, 8),
        0x42 => unmap_parameters(random, &mut command),
        _ => {}
    }
    if command.altered {
        let place = 1 + random.below(u32::try_from(cdb.len() - 1).unwrap_or(1)) as usize;
        cdb[place] ^= 1 << random.below(8);
        command.cdb[place] = cdb[place];
    }
    command
}

fn cdb(random: &mut Random) -> Vec<u8> {
    let block = if random.below(12) == 0 {
        BLOCKS - 2 + random.below(8)
    } else {
        random.below(BLOCKS - 8)
    };
    let most = if random.below(8) == 0 { 12 } else { 5 };
    let count = random.below(most);
    let [_, c, d, e] = block.to_be_bytes();
    let [_, _, f, g] = count.to_be_bytes();
    let allocation = [4, 5, 12, 18, 36, 64, 96, 255][random.below(8) as usize];
    let ten = |code: u8, flags: u8| vec![code, flags, 0, c, d, e, 0, f, g, 0];
    let sixteen =
        |code: u8, flags: u8| vec![code, flags, 0, 0, 0, 0, 0, c, d, e, 0, 0, 0, f | g, 0, 0];
    let twelve = |code: u8, flags: u8| vec![code, flags, 0, c, d, e, 0, 0, f, g, 0, 0];
    let page =
        [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x0a, 0x1c, 0x3f][random.below(10) as usize];
    let control = (random.below(4) << 6).to_le_bytes()[0];
    let vital = [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2, 0x55][random.below(7) as usize];
    match random.below(32) {
        0 | 1 => vec![0; 6],
        2 => vec![0x08, c & 0x1f, d, e, g.max(1), 0],
        3 => vec![0x0a, c & 0x1f, d, e, g.max(1), 0],
        4 | 5 => ten(0x28, 0),
        6..=8 => ten(0x2a, 0),
        9 => sixteen(0x88, 0),
        10 => sixteen(0x8a, 0),
        11 => twelve(0xa8, 0),
        12 => twelve(0xaa, 0),
        13 => ten(0x2e, 0),
        14 => ten(0x2f, [0, 0, 2][random.below(3) as usize]),
        15 => vec![0x12, 0, 0, 0, allocation, 0],
        16 | 17 => vec![0x12, 1, vital, 0, allocation, 0],
        18 | 19 => vec![
            0x1a,
            random.below(2).to_le_bytes()[0] << 3,
            control | page,
            0,
            allocation,
            0,
        ],
        20 => vec![0x5a, 8, control | page, 0, 0, 0, 0, 0, allocation, 0],
        21 => vec![0x15, 0x10, 0, 0, 24, 0],
        22 => vec![0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0],
        23 => vec![0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        24 => sixteen_capacity(allocation),
        25 => ten(0x35, 0),
        26 => ten(0x41, [0, 0, 8][random.below(3) as usize]),
        27 => vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, allocation.max(16), 0, 0],
        28 => vec![
            [0x16, 0x17, 0x1e][random.below(3) as usize],
            0,
            0,
            0,
            random.below(2).to_le_bytes()[0],
            0,
        ],
        29 => vec![0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
        30 => vec![0x03, 0, 0, 0, allocation, 0],
        _ => {
            let code = random.next().to_le_bytes()[7];
            // Not what formats or stops the disk, takes long parameter lists, or belongs to vendors.
            let length = match code >> 5 {
                0 => 6,
                1 | 2 => 10,
                4 => 16,
                5 => 12,
                _ => return vec![0; 6],
            };
            if [0x04, 0x1b, 0x1d, 0x3b, 0x3f, 0x5f].contains(&code) {
                return vec![0; 6];
            }
            let mut cdb = vec![0; length];
            cdb[0] = code;
            cdb
        }
    }
}

/// READ CAPACITY (16).
fn sixteen_capacity(allocation: u8) -> Vec<u8> {
    vec![
        0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, allocation, 0, 0,
    ]
}

/// The caching page, mostly as it is.
fn mode_parameters(random: &mut Random, command: &mut Command, header: usize) {
    let mut list = vec![0; header];
    let mut page = vec![0; 20];
    page[0] = 0x08;
    page[1] = 0x12;
    page[2] = 0x04;
    if random.below(3) == 0 {
        let place = random.below(20) as usize;
        page[place] ^= 1 << random.below(8);
    }
    list.extend(page);
    command.out[..list.len()].copy_from_slice(&list);
}

/// One descriptor.
fn unmap_parameters(random: &mut Random, command: &mut Command) {
    let mut list = vec![0, 22, 0, 16, 0, 0, 0, 0];
    list.extend(u64::from(random.below(BLOCKS)).to_be_bytes());
    list.extend(random.below(4).to_be_bytes());
    list.extend([0; 4]);
    command.out[..list.len()].copy_from_slice(&list);
}
