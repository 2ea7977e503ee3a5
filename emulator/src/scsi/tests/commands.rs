//! The rest of the commands: verify, provisioning, cache, start and stop, and their errors.

use super::Rig;
use crate::scsi::{Attribute, Want};
use outrigger_block::{Backend, FailRule, Failure, Op};

/// A pattern that tells places apart.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from((n ^ n >> 8 ^ n >> 16) & 0xff).unwrap_or(0))
        .collect()
}

fn key_and_code(sense: &[u8]) -> (u8, u8, u8) {
    (sense[2] & 0xf, sense[12], sense[13])
}

#[test]
fn verify_reads_or_compares() {
    let bytes = pattern(512 * 512);
    let mut rig = Rig::new(Backend::memory(bytes.clone(), false));
    assert_eq!(rig.run(&[0x2f, 0, 0, 0, 0, 0, 0, 2, 0, 0]).status, 0);
    assert_eq!(
        rig.run_out(&[0x2f, 2, 0, 0, 0, 0, 0, 2, 0, 0], &bytes)
            .status,
        0
    );
    let twelve = [0xaf, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0];
    assert_eq!(rig.run_out(&twelve, &bytes[3 * 512..4 * 512]).status, 0);
    let mut wrong = bytes;
    wrong[300 * 512 + 511] ^= 1;
    let mut cdb = [0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(rig.run_out(&cdb, &wrong).status, 2);
    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
    assert_eq!(
        sense,
        [
            0xf0, 0, 0xe, 0, 0, 1, 44, 10, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0, 0
        ]
    );
    cdb[1] = 4;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xca, 0, 1]);
}

#[test]
fn write_same() {
    let mut rig = Rig::new(Backend::memory(pattern(1 << 20), false));
    let block = pattern(512);
    // More than one chunk.
    assert_eq!(
        rig.run_out(&[0x41, 0, 0, 0, 0, 1, 0, 1, 0, 0], &block)
            .status,
        0
    );
    let mut expected = pattern(1 << 20);
    for place in 1..257 {
        expected[place * 512..][..512].copy_from_slice(&block);
    }
    assert_eq!(rig.data(&[0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0]), expected);
    // Zeroes, unmapped; and without a data phase.
    assert_eq!(
        rig.run_out(&[0x41, 8, 0, 0, 0, 0, 0, 0, 2, 0], &[0; 512])
            .status,
        0
    );
    let cdb = [0x93, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0];
    assert_eq!(rig.run(&cdb).status, 0);
    expected[..1024].fill(0);
    expected[2048..3072].fill(0);
    assert_eq!(rig.data(&[0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0]), expected);
    let sense = rig.sense(&[0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sense[12..18], [0x24, 0, 0, 0xc0, 0, 7]);
    let sense = rig.sense(&[0x93, 0x10, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0]);
    assert_eq!(sense[12..18], [0x24, 0, 0, 0xcc, 0, 1]);
}

#[test]
fn unmap() {
    let mut rig = Rig::new(Backend::memory(vec![9; 64 * 512], false));
    let mut list = vec![0; 8];
    for (lba, count) in [(1u64, 2u32), (60, 4), (5, 0)] {
        list.extend(lba.to_be_bytes());
        list.extend(count.to_be_bytes());
        list.extend([0; 4]);
    }
    list[3] = 48;
    let cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, 56, 0];
    assert_eq!(rig.run_out(&cdb, &list).status, 0);
    let data = rig.data(&[8, 0, 0, 0, 64, 0]);
    let unmapped: Vec<_> = (0..64).filter(|block| data[block * 512] == 0).collect();
    assert_eq!(unmapped, [1, 2, 60, 61, 62, 63]);
    // One range too far: nothing happens.
    list[15] = 20;
    list[31] = 61;
    assert_eq!(rig.run_out(&cdb, &list).status, 2);
    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
    assert_eq!((key_and_code(&sense), sense[6]), ((5, 0x21, 0), 64));
    assert_eq!(rig.data(&[8, 0, 0, 0, 64, 0]), data);
    assert_eq!(rig.sense(&[0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0])[12], 0x1a);
    assert_eq!(rig.run(&[0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(
        rig.sense(&[0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0])[12..18],
        [0x24, 0, 0, 0xc8, 0, 1]
    );
    // Too many ranges.
    let mut list = vec![0; 8 + 257 * 16];
    list[2..4].copy_from_slice(&[0x10, 0x10]);
    assert_eq!(
        rig.run_out(&[0x42, 0, 0, 0, 0, 0, 0, 0x10, 0x18, 0], &list)
            .status,
        2
    );
    assert_eq!(
        rig.data(&[3, 0, 0, 0, 18, 0])[12..18],
        [0x26, 0, 0, 0x80, 0, 2]
    );
}

#[test]
fn a_read_only_disk_refuses_every_change() {
    let mut rig = Rig::new(Backend::memory(vec![0; 4096], true));
    for cdb in [
        [0x0a, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        [0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0],
        [0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(key_and_code(&rig.sense(&cdb)), (7, 0x27, 0), "{cdb:02x?}");
    }
    assert_eq!(rig.run(&[8, 0, 0, 0, 1, 0]).status, 0);
    assert_eq!(rig.run(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]).status, 0);
}

#[test]
fn stopped_until_started() {
    let mut rig = Rig::blank(8);
    assert_eq!(rig.run(&[0x1b, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(key_and_code(&rig.sense(&[0; 6])), (2, 4, 2));
    assert_eq!(key_and_code(&rig.sense(&[8, 0, 0, 0, 1, 0])), (2, 4, 2));
    assert_eq!(rig.run(&[0x12, 0, 0, 0, 36, 0]).status, 0);
    assert_eq!(rig.run(&[0x1b, 0, 0, 0, 1, 0]).status, 0);
    assert_eq!(rig.run(&[0; 6]).status, 0);
    assert_eq!(
        rig.sense(&[0x1b, 0, 0, 0, 2, 0])[12..18],
        [0x24, 0, 0, 0xc9, 0, 4]
    );
    assert_eq!(
        rig.sense(&[0x1b, 0, 0, 0, 0x11, 0])[12..18],
        [0x24, 0, 0, 0xcf, 0, 4]
    );
}

#[test]
fn commands_with_nothing_to_do() {
    let mut rig = Rig::blank(8);
    assert_eq!(rig.run(&[0x1e, 0, 0, 0, 1, 0]).status, 0);
    assert_eq!(rig.run(&[0x1d, 4, 0, 0, 0, 0]).status, 0);
    assert_eq!(
        rig.sense(&[0x1d, 0x24, 0, 0, 0, 0])[12..18],
        [0x24, 0, 0, 0xcf, 0, 1]
    );
    assert_eq!(rig.run(&[0x04, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(
        rig.run_out(&[0x04, 0x10, 0, 0, 0, 0], &[0, 0, 0, 0]).status,
        0
    );
    assert_eq!(rig.run(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(
        rig.run(&[0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0])
            .status,
        0
    );
    assert_eq!(rig.sense(&[0x35, 0, 0, 0, 0, 8, 0, 0, 0, 0])[12], 0x21);
    // Nothing to read or write.
    assert_eq!(rig.run(&[0x28, 0, 0, 0, 0, 7, 0, 0, 0, 0]).status, 0);
    assert_eq!(rig.run(&[0x2a, 0, 0, 0, 0, 7, 0, 0, 0, 0]).status, 0);
    assert_eq!(rig.run(&[0x2f, 2, 0, 0, 0, 7, 0, 0, 0, 0]).status, 0);
    assert_eq!(rig.sense(&[0x28, 0, 0, 0, 0, 8, 0, 0, 0, 0])[12], 0x21);
}

#[test]
fn unknown_commands() {
    let mut rig = Rig::blank(8);
    for code in [0x02, 0x43, 0x53, 0x7f, 0xa4, 0xc0, 0xff] {
        let sense = rig.sense(&[code; 16]);
        assert_eq!(
            sense,
            [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]
        );
    }
}

#[test]
fn a_transfer_longer_than_the_limit() {
    // Never touched, so it takes no memory.
    let mut rig = Rig::new(Backend::memory(vec![0; (1 << 30) + 512], false));
    let mut cdb = [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 1, 0, 0];
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xc0, 0, 10]);
    cdb[13] = 0;
    let task = rig.bus.begin(super::NEXUS, Attribute::Simple, &cdb);
    assert_eq!(rig.bus.want(task), Want::DataIn(1 << 30));
    cdb[13] = 2;
    rig.bus.finish(task);
    assert_eq!(key_and_code(&rig.sense(&cdb)), (5, 0x21, 0));
}

#[test]
fn long_work_gives_way_to_others() {
    let mut rig = Rig::new(Backend::memory(vec![0; 8 << 20], false));
    let cdb = [0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0];
    let task = rig.bus.begin(super::NEXUS, Attribute::Simple, &cdb);
    let now = std::time::Instant::now();
    let mut turns = 0;
    while rig.bus.want(task) == Want::Wait {
        assert!(rig.bus.deadline().is_some());
        rig.bus.poll(now);
        turns += 1;
    }
    assert_eq!((turns, rig.bus.deadline()), (8, None));
    assert_eq!(rig.finish(task).status, 0);
}

#[test]
fn sense_of_media_errors() {
    let rule = |failure, op: fn(Op) -> bool| FailRule {
        ops: op,
        range: 5 * 512..6 * 512,
        after: 0,
        times: 1,
        failure,
    };
    let sense = |failure, op: fn(Op) -> bool, cdb: &[u8]| {
        let memory = Backend::memory(vec![0; 8 * 512], false);
        let mut rig = Rig::new(Backend::fail(memory, rule(failure, op)));
        let sense = rig.sense(cdb);
        assert_eq!(rig.run(cdb).status, 0, "the next time it succeeds");
        sense
    };
    let read = [8, 0, 0, 2, 6, 0];
    let write = [10, 0, 0, 2, 6, 0];
    let is_read: fn(Op) -> bool = |op| op == Op::Read;
    let is_write: fn(Op) -> bool = |op| matches!(op, Op::Write { .. });
    assert_eq!(
        sense(Failure::Io(5), is_read, &read),
        [0xf0, 0, 3, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        sense(Failure::Io(5), is_write, &write),
        [0xf0, 0, 3, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        key_and_code(&sense(Failure::NoSpace, is_write, &write)),
        (7, 0x27, 7)
    );
    assert_eq!(
        key_and_code(&sense(Failure::ReadOnly, is_write, &write)),
        (7, 0x27, 0)
    );
    assert_eq!(
        key_and_code(&sense(Failure::OutOfRange, is_read, &read)),
        (5, 0x21, 0)
    );
    let flush = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        key_and_code(&sense(Failure::Io(5), |op| op == Op::Flush, &flush)),
        (3, 0x0c, 0)
    );
    let verify = [0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0];
    assert_eq!(
        sense(Failure::Io(5), is_read, &verify)[..7],
        [0xf0, 0, 3, 0, 0, 0, 5]
    );
    let zero = [0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let is_zero: fn(Op) -> bool = |op| matches!(op, Op::WriteZeroes { .. });
    assert_eq!(
        key_and_code(&sense(Failure::Io(5), is_zero, &zero)),
        (3, 0x0c, 0)
    );
}

#[test]
fn sense_lasts_until_the_next_command() {
    let mut rig = Rig::blank(8);
    assert_eq!(rig.run(&[0xff; 6]).status, 2);
    assert_eq!(rig.run(&[0; 6]).status, 0);
    assert_eq!(key_and_code(&rig.data(&[3, 0, 0, 0, 18, 0])), (0, 0, 0));
    assert_eq!(key_and_code(&rig.sense(&[0xff; 6])), (5, 0x20, 0));
    assert_eq!(key_and_code(&rig.data(&[3, 0, 0, 0, 18, 0])), (0, 0, 0));
}
