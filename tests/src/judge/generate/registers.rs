//! Random accesses of a driver to registers, without SCRIPTS.

use outrigger_proxy::Width;

use super::{one_in, pick, word};
use crate::judge::chip::{Action, at, istat0};
use crate::random::Random;

/// Some accesses.
#[must_use]
pub fn accesses(seed: u64) -> Vec<Action> {
    let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
    let count = 1 + random.below(24);
    (0..count).map(|_| access(&mut random)).collect()
}

fn access(random: &mut Random) -> Action {
    match random.below(12) {
        0 => {
            let bits = [
                istat0::SIGP,
                istat0::SEM,
                istat0::SIGP | istat0::SEM,
                0,
                istat0::INTF,
            ];
            return Action::byte(at::ISTAT0, pick(random, &bits));
        }
        1 => return Action::read(at::CTEST2, 1),
        2 if one_in(random, 4) => return Action::byte(at::ISTAT0, istat0::ABRT),
        2 if one_in(random, 4) => return Action::byte(at::SCNTL1, 0x08),
        _ => {}
    }
    loop {
        let width = pick(
            random,
            &[Width::Byte, Width::Byte, Width::Word, Width::Dword],
        );
        let at = u16::try_from(random.below(0x100)).unwrap_or(0) & !(u16::from(width.bytes()) - 1);
        let value = word(random);
        if (at..)
            .zip(value.to_le_bytes())
            .take(width.bytes().into())
            .all(|(at, byte)| is_still(at, byte))
        {
            return Action::Write {
                // In the I/O BAR, or in one of the images of the registers.
                bar: random.below(2).to_le_bytes()[0],
                at,
                width,
                value,
            };
        }
    }
}

/// Whether this byte starts, stops and resets nothing, and no time goes by for it.
fn is_still(at: u16, byte: u8) -> bool {
    match at {
        0x00 => byte & 0x20 == 0,
        0x01 => byte & 0x1a == 0,
        0x14 | 0x2f | 0x49 => false,
        0x3b => byte & 0x04 == 0,
        0x4e => byte & 0x11 == 0,
        _ => true,
    }
}
