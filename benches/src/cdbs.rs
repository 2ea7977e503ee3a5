//! Command descriptor blocks as Linux sends them to a disk.

use std::hint::black_box;

use outrigger_emulator::scsi::DiskCommand;

/// TEST UNIT READY.
pub const TEST_UNIT_READY: &[u8] = &[0; 6];
/// INQUIRY for the standard data.
pub const INQUIRY: &[u8] = &[0x12, 0, 0, 0, 36, 0];
/// MODE SENSE (6) for the caching page.
pub const MODE_SENSE_6: &[u8] = &[0x1a, 0, 8, 0, 192, 0];
/// READ (10) of 8 blocks.
pub const READ_10: &[u8] = &[0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0];
/// WRITE (10) of 8 blocks.
pub const WRITE_10: &[u8] = &[0x2a, 0, 0, 0, 0, 8, 0, 0, 8, 0];
/// SYNCHRONIZE CACHE (10) of the whole medium.
pub const SYNCHRONIZE_CACHE_10: &[u8] = &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// WRITE (16) of 8 blocks beyond 2 TiB.
pub const WRITE_16: &[u8] = &[0x8a, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
/// READ CAPACITY (16).
pub const READ_CAPACITY_16: &[u8] = &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];

/// All of them.
pub const TYPICAL: [&[u8]; 8] = [
    TEST_UNIT_READY,
    INQUIRY,
    MODE_SENSE_6,
    READ_10,
    WRITE_10,
    SYNCHRONIZE_CACHE_10,
    WRITE_16,
    READ_CAPACITY_16,
];

/// Parses a CDB, and keeps the compiler from leaving it out.
#[must_use]
pub fn parse(cdb: &[u8]) -> Option<DiskCommand> {
    black_box(DiskCommand::parse(black_box(cdb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_parsed() {
        for cdb in TYPICAL {
            assert!(parse(cdb).is_some(), "{cdb:02x?}");
        }
        assert_eq!(parse(&[0xff; 10]), None);
    }
}
