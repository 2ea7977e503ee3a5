//! The medium's errors and changes, and the commands that read what they write.

use super::{NEXUS, Nexus, Rig};
use crate::scsi::{Attribute, ErrorPolicy, OnError, Want};
use outrigger_block::{Backend, Engine, Failure, FileOptions, Op};

#[test]
fn errors_can_be_ignored_in_one_direction() {
    let ignore_reads = ErrorPolicy {
        read: OnError::Ignore,
        write: OnError::Report,
    };
    let ignore_writes = ErrorPolicy {
        read: OnError::Report,
        write: OnError::Ignore,
    };
    let any = |_| true;
    let (read, write) = ([8, 0, 0, 4, 2, 0], [10, 0, 0, 4, 2, 0]);
    let flush = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut rig = Rig::failing(Failure::Io(5), u64::MAX, any, ignore_reads);
    assert_eq!(rig.run(&read).status, 0);
    assert_eq!(rig.run(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0]).status, 0);
    let sense = rig.sense(&write);
    assert_eq!(
        sense[..14],
        [0xf0, 0, 3, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0x0c, 0]
    );
    assert_eq!(rig.refusal(&flush), (3, 0x0c, 0));
    let mut rig = Rig::failing(Failure::NoSpace, u64::MAX, any, ignore_writes);
    assert_eq!(rig.run(&write).status, 0);
    assert_eq!(rig.run(&flush).status, 0);
    assert_eq!(rig.refusal(&read), (7, 0x27, 7));
    // Counted all the same.
    assert_eq!(rig.data(&[0x4d, 0, 0x42, 0, 0, 0, 0, 1, 0, 0])[35], 2);
    // That the initiator is wrong is no error of the medium.
    let mut rig = Rig::failing(Failure::OutOfRange, u64::MAX, any, ignore_reads);
    assert_eq!(rig.refusal(&read), (5, 0x21, 0));
}

#[test]
fn a_resize_is_told_once() {
    let mut rig = Rig::blank(8);
    rig.bus
        .replace_backend(0, 0, Backend::memory(vec![0; 16 * 512], false));
    // INQUIRY does not take it.
    assert_eq!(rig.run(&[0x12, 0, 0, 0, 36, 0]).status, 0);
    assert_eq!(rig.refusal(&[8, 0, 0, 15, 1, 0]), (6, 0x2a, 9));
    assert_eq!(rig.run(&[8, 0, 0, 15, 1, 0]).status, 0);
    assert_eq!(rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0])[3], 15);
    assert_eq!(rig.data(&[0x1a, 0, 8, 0, 255, 0])[4..8], [0, 0, 0, 16]);
    // Beside another condition it waits for its turn.
    rig.bus.reset();
    rig.bus
        .replace_backend(0, 0, Backend::memory(vec![0; 4 * 512], false));
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x2a, 9));
    assert_eq!(rig.refusal(&[8, 0, 0, 4, 1, 0]), (5, 0x21, 0));
}

#[test]
fn more_than_two_tebibytes() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(3 << 40).expect("a sparse file");
    let options = FileOptions {
        read_only: false,
        direct: false,
        engine: Engine::Auto,
    };
    let mut rig = Rig::new(Backend::file(file, options).expect("a backend"));
    assert_eq!(
        rig.data(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        [255, 255, 255, 255, 0, 0, 2, 0]
    );
    let sixteen = rig.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
    assert_eq!(sixteen[..12], [0, 0, 0, 1, 0x7f, 255, 255, 255, 0, 0, 2, 0]);
    // The last block.
    let cdb = |code| [code, 0, 0, 0, 0, 1, 0x7f, 255, 255, 255, 0, 0, 0, 1, 0, 0];
    assert_eq!(rig.run_out(&cdb(0x8a), &[0x5a; 512]).status, 0);
    assert_eq!(rig.data(&cdb(0x88)), [0x5a; 512]);
    let mut beyond = cdb(0x88);
    beyond[13] = 2;
    assert_eq!(rig.refusal(&beyond), (5, 0x21, 0));
    // All of it cannot be told at once.
    let status = rig.data(&[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0]);
    assert_eq!(status[16..20], [255, 255, 255, 255]);
    // The short form's block descriptor and the long one's.
    let short = rig.data(&[0x5a, 0, 8, 0, 0, 0, 0, 0, 16, 0]);
    assert_eq!(short[8..16], [255, 255, 255, 255, 0, 0, 2, 0]);
    let long = rig.data(&[0x5a, 0x10, 8, 0, 0, 0, 0, 0, 24, 0]);
    assert_eq!(
        long[8..],
        [0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    );
}

#[test]
fn lba_status_and_defects() {
    let mut rig = Rig::blank(16);
    let mut cdb = [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 255, 0, 0];
    assert_eq!(
        rig.data(&cdb),
        [
            0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 11, 0, 0, 0, 0
        ]
    );
    cdb[9] = 16;
    assert_eq!(rig.refusal(&cdb), (5, 0x21, 0));
    let ten = [0x37, 0, 0x1d, 0, 0, 0, 0, 0, 255, 0];
    assert_eq!(rig.data(&ten), [0, 0x1d, 0, 0]);
    let twelve = [0xb7, 0x0d, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0];
    assert_eq!(rig.data(&twelve), [0, 0x0d, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn write_and_verify() {
    let mut rig = Rig::blank(8);
    for cdb in [
        [0x2e, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        [0xae, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0],
        [0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0],
    ] {
        let data = [cdb[0]; 1024];
        assert_eq!(rig.run_out(&cdb, &data).status, 0);
        assert_eq!(rig.data(&[8, 0, 0, 1, 2, 0]), data);
    }
    assert_eq!(rig.run(&[0x2e, 0, 0, 0, 0, 1, 0, 0, 0, 0]).status, 0);
    let compared = rig.sense(&[0x2e, 2, 0, 0, 0, 1, 0, 0, 1, 0]);
    assert_eq!(compared[12..18], [0x24, 0, 0, 0xca, 0, 1]);
    // The write succeeds, but cannot be read again.
    let mut rig = Rig::failing(
        Failure::Io(5),
        u64::MAX,
        |op| op == Op::Read,
        ErrorPolicy::default(),
    );
    let sense = rig.sense(&[0x2e, 0, 0, 0, 0, 4, 0, 0, 2, 0]);
    assert_eq!(
        sense[..14],
        [0xf0, 0, 3, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0x11, 0]
    );
}

#[test]
fn compare_and_write() {
    let mut rig = Rig::blank(8);
    let mut cdb = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0];
    let mut data = vec![0; 1024];
    data.resize(2048, 9);
    assert_eq!(rig.run_out(&cdb, &data).status, 0);
    assert_eq!(rig.data(&[8, 0, 0, 3, 2, 0]), [9; 1024]);
    // It is not what is expected: the first byte that is not.
    data[..1024].fill(9);
    data[700] = 0;
    data[1024..].fill(1);
    assert_eq!(rig.run_out(&cdb, &data).status, 2);
    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
    assert_eq!(sense[..7], [0xf0, 0, 0xe, 0, 0, 2, 0xbc]);
    assert_eq!(sense[12..14], [0x1d, 0]);
    assert_eq!(rig.data(&[8, 0, 0, 3, 2, 0]), [9; 1024]);
    cdb[13] = 0;
    assert_eq!(rig.run(&cdb).status, 0);
    cdb[13] = 6;
    assert_eq!(rig.refusal(&cdb), (5, 0x21, 0));
    let mut rig = Rig::blank(100);
    cdb[13] = 9;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xc0, 0, 13]);
}

#[test]
fn compare_and_write_is_alone() {
    let mut rig = Rig::blank(8);
    let tagged = |tag| Nexus {
        tag: Some(tag),
        ..NEXUS
    };
    let write = [10, 0, 0, 0, 1, 0];
    let cdb = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let first = rig.bus.begin(tagged(1), Attribute::Simple, &write);
    let second = rig.bus.begin(tagged(2), Attribute::Simple, &cdb);
    let third = rig.bus.begin(tagged(3), Attribute::Simple, &write);
    assert_eq!(rig.bus.want(second), Want::Wait);
    assert_eq!(rig.finish(first).status, 0);
    assert_eq!(rig.bus.want(second), Want::DataOut(1024));
    assert_eq!(rig.bus.want(third), Want::Wait);
    assert_eq!(rig.finish(second).status, 0);
    assert_eq!(rig.finish(third).status, 0);
}

#[test]
fn a_raw_image_is_looked_at_again() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(8 * 512).expect("room");
    let same = file.try_clone().expect("a descriptor");
    let mut rig = Rig::new(Backend::file(file, FileOptions::default()).expect("a backend"));
    let capacity = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for blocks in [16, 4] {
        same.set_len(blocks * 512).expect("room");
        // Nothing happens by itself, nor to those of the same size.
        rig.bus.poll(std::time::Instant::now());
        assert_eq!(rig.run(&[0; 6]).status, 0);
        rig.bus.refresh();
        assert_eq!(rig.refusal(&[0; 6]), (6, 0x2a, 9));
        rig.bus.refresh();
        assert_eq!(u64::from(rig.data(&capacity)[3]), blocks - 1);
    }
    // Cut short without a word: what is left can be read, and the first block that is not is named.
    same.set_len(2 * 512).expect("room");
    assert_eq!(rig.run(&[8, 0, 0, 0, 2, 0]).status, 0);
    let sense = rig.sense(&[8, 0, 0, 0, 4, 0]);
    assert_eq!(
        sense[..14],
        [0xf0, 0, 3, 0, 0, 0, 2, 10, 0, 0, 0, 0, 0x11, 0]
    );
}

#[test]
fn a_refresh_tries_held_requests_at_once() {
    let policy = ErrorPolicy {
        read: OnError::Hold,
        write: OnError::Hold,
    };
    let mut rig = Rig::failing(Failure::NoSpace, 1, |_| true, policy);
    let task = rig
        .bus
        .begin(NEXUS, Attribute::Simple, &[10, 0, 0, 5, 1, 0]);
    rig.bus.transfer(&rig.dma, task, 0, 512).expect("RAM");
    assert_eq!(rig.bus.want(task), Want::Wait);
    rig.bus.refresh();
    rig.bus.poll(std::time::Instant::now());
    assert_eq!(rig.bus.want(task), Want::Status(0));
}
