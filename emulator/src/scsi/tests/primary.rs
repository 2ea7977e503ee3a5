//! What every unit does beside its blocks: logs, diagnostics, buffers, reports of what there is.

use super::Rig;
use outrigger_block::{Backend, FailRule, Failure, Op};

fn log(page: u8) -> [u8; 10] {
    [0x4d, 0, 0x40 | page, 0, 0, 0, 0, 1, 0, 0]
}

#[test]
fn log_pages() {
    let mut rig = Rig::blank(8);
    assert_eq!(rig.data(&log(0)), [0, 0, 0, 4, 0, 2, 3, 0x2f]);
    assert_eq!(
        rig.data(&log(0x2f)),
        [0x2f, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0]
    );
    assert_eq!(rig.sense(&log(0x0d))[12..18], [0x24, 0, 0, 0xcd, 0, 2]);
    // Subpages, saving, thresholds.
    let mut cdb = log(0);
    cdb[3] = 0xff;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xc0, 0, 3]);
    cdb = log(0);
    cdb[1] = 1;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xc8, 0, 1]);
    cdb = log(0);
    cdb[2] = 0;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xcf, 0, 2]);
}

#[test]
fn what_is_counted() {
    let rule = FailRule {
        ops: |op| op == Op::Read,
        range: 5 * 512..6 * 512,
        after: 0,
        times: 1,
        failure: Failure::Io(5),
    };
    let mut rig = Rig::new(Backend::fail(Backend::memory(vec![0; 4096], false), rule));
    assert_eq!(rig.run(&[8, 0, 0, 5, 1, 0]).status, 2);
    assert_eq!(rig.run(&[8, 0, 0, 2, 3, 0]).status, 0);
    assert_eq!(rig.run(&[10, 0, 0, 0, 1, 0]).status, 0);
    let errors = |code, high, low, errors| {
        [
            code, 0, 0, 32, 0, 3, 0, 4, 0, 0, 0, 0, 0, 5, 0, 8, 0, 0, 0, 0, 0, 0, high, low, 0, 6,
            0, 8, 0, 0, 0, 0, 0, 0, 0, errors,
        ]
    };
    assert_eq!(rig.data(&log(3)), errors(3, 6, 0, 1));
    assert_eq!(rig.data(&log(2)), errors(2, 2, 0, 0));
    // As after a reset; from a parameter on; from one that is not there.
    let mut cdb = log(3);
    cdb[2] |= 0x80;
    assert_eq!(rig.data(&cdb), errors(3, 0, 0, 0));
    cdb = log(3);
    cdb[6] = 6;
    assert_eq!(
        rig.data(&cdb),
        [3, 0, 0, 12, 0, 6, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    cdb[6] = 7;
    assert_eq!(rig.sense(&cdb)[12..18], [0x24, 0, 0, 0xc0, 0, 5]);
    // LOG SELECT resets.
    assert_eq!(rig.run(&[0x4c, 2, 0xc0, 0, 0, 0, 0, 0, 0, 0]).status, 0);
    assert_eq!(rig.data(&log(3)), errors(3, 0, 0, 0));
    let list = rig.sense(&[0x4c, 2, 0, 0, 0, 0, 0, 0, 4, 0]);
    assert_eq!(list[12..18], [0x24, 0, 0, 0xc0, 0, 7]);
}

#[test]
fn diagnostics() {
    let mut rig = Rig::blank(8);
    assert_eq!(rig.run_out(&[0x1d, 0x10, 0, 0, 4, 0], &[0; 4]).status, 0);
    assert_eq!(rig.data(&[0x1c, 0, 0, 0, 255, 0]), [0, 0, 0, 1, 0]);
    assert_eq!(rig.data(&[0x1c, 1, 0, 0, 255, 0]), [0, 0, 0, 1, 0]);
    let other = rig.sense(&[0x1c, 1, 0x40, 0, 255, 0]);
    assert_eq!(other[12..18], [0x24, 0, 0, 0xc0, 0, 2]);
    assert_eq!(rig.refusal(&[0x1d, 0x10, 0, 0, 3, 0]), (5, 0x1a, 0));
    let page = [0x40, 0, 0, 0];
    assert_eq!(rig.run_out(&[0x1d, 0x10, 0, 0, 4, 0], &page).status, 2);
    let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
    assert_eq!(sense[12..18], [0x26, 0, 0, 0x80, 0, 0]);
}

#[test]
fn buffers() {
    let mut rig = Rig::blank(8);
    let read = |mode, id, offset, length| [0x3c, mode, id, 0, 0, offset, 0, 0, length, 0];
    let write = |mode, id, offset, length| [0x3b, mode, id, 0, 0, offset, 0, 0, length, 0];
    assert_eq!(rig.data(&read(3, 0, 0, 4)), [0, 0, 0x10, 0]);
    assert_eq!(rig.data(&read(3, 1, 0, 4)), [0, 0, 0, 0]);
    assert_eq!(rig.data(&read(0x0b, 0, 0, 4)), [0, 0, 0x10, 0]);
    assert_eq!(rig.data(&read(2, 0, 0, 3)), [0, 0, 0]);
    assert_eq!(rig.run_out(&write(2, 0, 1, 3), &[1, 2, 3]).status, 0);
    assert_eq!(rig.data(&read(2, 0, 0, 5)), [0, 1, 2, 3, 0]);
    assert_eq!(rig.data(&read(2, 0, 2, 2)), [2, 3]);
    // The echo buffer is another one, and empty at first.
    assert_eq!(rig.refusal(&read(0x0a, 0, 0, 3)), (5, 0x2c, 0));
    assert_eq!(rig.run_out(&write(0x0a, 0, 0, 2), &[8, 9]).status, 0);
    assert_eq!(rig.data(&read(0x0a, 0, 0, 255)), [8, 9]);
    assert_eq!(
        rig.sense(&read(2, 1, 0, 4))[12..18],
        [0x24, 0, 0, 0xc0, 0, 2]
    );
    let mut beyond = write(2, 0, 0, 1);
    beyond[4] = 0x10;
    assert_eq!(rig.sense(&beyond)[12..18], [0x24, 0, 0, 0xc0, 0, 6]);
    beyond[5] = 1;
    assert_eq!(rig.sense(&beyond)[12..18], [0x24, 0, 0, 0xc0, 0, 3]);
    assert_eq!(
        rig.sense(&write(5, 0, 0, 4))[12..18],
        [0x24, 0, 0, 0xcc, 0, 1]
    );
    let mut long = write(0x0a, 0, 0, 1);
    long[7] = 0x10;
    assert_eq!(rig.sense(&long)[12..18], [0x24, 0, 0, 0xc0, 0, 6]);
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.refusal(&read(0x0a, 0, 0, 3)), (5, 0x2c, 0));
}

fn report(options: u8, operation: u8, action: u8) -> [u8; 12] {
    [
        0xa3, 0x0c, options, operation, 0, action, 0, 0, 0x10, 0, 0, 0,
    ]
}

#[test]
fn supported_operations_one_by_one() {
    let mut rig = Rig::blank(8);
    assert_eq!(
        rig.data(&report(1, 0x12, 0)),
        [0, 3, 0, 6, 0x12, 3, 0xff, 0xff, 0xff, 0]
    );
    assert_eq!(rig.data(&report(1, 0x43, 0)), [0, 1, 0, 0]);
    let sixteen = rig.data(&report(2, 0x9e, 0x10));
    assert_eq!(sixteen[..6], [0, 3, 0, 16, 0x9e, 0x10]);
    assert_eq!(rig.data(&report(2, 0x9e, 0x11)), [0, 1, 0, 0]);
    assert_eq!(rig.data(&report(3, 0x9e, 0x12))[1], 3);
    assert_eq!(rig.data(&report(3, 0x12, 9))[1], 3);
    // With service actions one must be named, without none can be.
    assert_eq!(
        rig.sense(&report(1, 0x9e, 0))[12..18],
        [0x24, 0, 0, 0xca, 0, 2]
    );
    assert_eq!(
        rig.sense(&report(2, 0x12, 0))[12..18],
        [0x24, 0, 0, 0xca, 0, 2]
    );
    assert_eq!(
        rig.sense(&report(4, 0, 0))[12..18],
        [0x24, 0, 0, 0xca, 0, 2]
    );
    assert_eq!(
        rig.data(&report(0x81, 0, 0)),
        [
            0, 0x83, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        ]
    );
    let unknown_action = rig.sense(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(unknown_action[12..18], [0x24, 0, 0, 0xcc, 0, 1]);
}

#[test]
fn unmap_is_there_where_it_helps() {
    let mut rig = Rig::new(Backend::memory(vec![0; 512], true));
    assert_eq!(rig.data(&report(1, 0x42, 0))[1], 1);
    assert_eq!(Rig::blank(1).data(&report(1, 0x42, 0))[1], 3);
}

#[test]
fn task_management_functions() {
    let mut rig = Rig::blank(8);
    let mut cdb = [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0];
    assert_eq!(rig.data(&cdb), [0xda, 0, 0, 0]);
    cdb[2] = 0x80;
    assert_eq!(
        rig.data(&cdb),
        [0xda, 0, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}
