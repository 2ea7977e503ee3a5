//! When a write is acknowledged: not before the backend has done it, and not before it is stable where that is promised.

use super::queue::tagged;
use super::{DiskOptions, NEXUS, Rig};
use crate::scsi::{Attribute, TaskId, Want};
use outrigger_block::{Backend, DelayHandle, FailRule, Failure, Hold, Op};

const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 1, 0, 0, 2, 0];
const WRITE_FUA: [u8; 10] = [0x2a, 8, 0, 0, 0, 1, 0, 0, 2, 0];
const WRITE_AND_VERIFY: [u8; 10] = [0x2e, 0, 0, 0, 0, 1, 0, 0, 2, 0];
const COMPARE_AND_WRITE: [u8; 16] = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0];
const WRITE_SAME: [u8; 10] = [0x41, 0, 0, 0, 0, 1, 0, 0, 2, 0];
const SYNCHRONIZE: [u8; 10] = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];

/// A disk of 16 blocks of ones on which these operations fail.
fn without(ops: fn(Op) -> bool, write_cache: bool) -> Rig {
    let rule = FailRule {
        ops,
        range: 0..u64::MAX,
        after: 0,
        times: u64::MAX,
        failure: Failure::Io(5),
    };
    let backend = Backend::fail(Backend::memory(vec![1; 16 * 512], false), rule);
    let options = DiskOptions {
        write_cache,
        ..DiskOptions::default()
    };
    Rig::with_options(backend, options)
}

/// Whether the command succeeds with the data `[1; 1024]`, of which it takes what it wants.
fn succeeds(rig: &mut Rig, cdb: &[u8]) -> bool {
    let status = rig.run_out(cdb, &[1; 1024]).status;
    if status != 0 {
        // Nobody asks why.
        rig.data(&[0x03, 0, 0, 0, 18, 0]);
    }
    status == 0
}

#[test]
fn what_must_be_stable_is_written_through_or_flushed() {
    // Nothing that makes a write stable works: who needs it fails.
    let stable: fn(Op) -> bool = |op| matches!(op, Op::Flush | Op::Write { fua: true });
    for (cdb, with_cache) in [
        (&WRITE[..], true),
        (&WRITE_FUA, false),
        (&WRITE_AND_VERIFY, false),
        (&COMPARE_AND_WRITE, true),
        (&WRITE_SAME, true),
        (&SYNCHRONIZE, false),
        (&STOP, false),
    ] {
        assert_eq!(
            succeeds(&mut without(stable, true), cdb),
            with_cache,
            "{cdb:02x?}"
        );
        assert!(
            !succeeds(&mut without(stable, false), cdb),
            "{cdb:02x?} without cache"
        );
    }
}

fn held_back(write_cache: bool) -> (Rig, DelayHandle) {
    let memory = Backend::memory(vec![0; 16 * 512], false);
    let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("a delay");
    let options = DiskOptions {
        write_cache,
        ..DiskOptions::default()
    };
    (Rig::with_options(backend, options), handle)
}

/// Begins a command, and moves its data.
fn begin(rig: &mut Rig, tag: u8, cdb: &[u8]) -> TaskId {
    let task = rig.bus.begin(tagged(tag), Attribute::Simple, cdb);
    rig.gather(task, 0);
    task
}

#[test]
fn nothing_is_acknowledged_early() {
    for write_cache in [true, false] {
        for (cdb, requests) in [
            (&WRITE[..], 1),
            (&WRITE_FUA, 1),
            (&SYNCHRONIZE, 1),
            (&STOP, 1),
            // The write, and what reads it again.
            (&WRITE_AND_VERIFY, 2),
        ] {
            let (mut rig, handle) = held_back(write_cache);
            rig.dma.write(0, &[1; 1024]).expect("RAM");
            let task = begin(&mut rig, 1, cdb);
            for _ in 0..requests {
                // However often the backend is asked.
                for _ in 0..3 {
                    rig.bus.kick();
                    rig.bus.poll(std::time::Instant::now());
                    assert_eq!(rig.bus.want(task), Want::Wait, "{cdb:02x?}");
                }
                assert_eq!(handle.held(), 1, "{cdb:02x?}");
                rig.release(&handle, 1);
            }
            assert_eq!(rig.bus.want(task), Want::Status(0), "{cdb:02x?}");
        }
    }
}

#[test]
fn a_failed_flush_is_told() {
    let mut rig = without(|op| op == Op::Flush, true);
    assert_eq!(rig.run_at(NEXUS, &WRITE).status, 0);
    assert_eq!(rig.refusal(&SYNCHRONIZE), (3, 0x0c, 0));
    // And again: the data are still not stable.
    assert_eq!(rig.refusal(&SYNCHRONIZE), (3, 0x0c, 0));
}
