//! Sense data of one task, kept while another one fails.

use super::asm::{clear_ack, int, mov, set, wait_disconnect, wait_reselect};
use super::{DATA, Rig, SCRIPT, SCRIPTS_RAM, SIP, TABLE, image, read10};
use crate::lsi::Model;
use crate::lsi::Phase::{DataIn, MessageIn, MessageOut, Status};
use crate::lsi::scripts::Signals;
use outrigger_block::{Backend, DelayHandle, FailRule, Failure, Hold, Op};

const MESSAGES: u32 = TABLE + 0x40;
const REJECT: u32 = TABLE + 0x60;
/// The block that cannot be read.
const BAD: u32 = 10;

/// Two tagged reads that have disconnected: the first one of the bad block, the second one of the block before it and that
/// one, with data for SCRIPTS RAM, which the disk reads in advance.
fn two_reads() -> (Rig, DelayHandle) {
    let rule = FailRule {
        ops: |op| op == Op::Read,
        range: u64::from(BAD) * 512..u64::from(BAD + 1) * 512,
        after: 0,
        times: u64::MAX,
        failure: Failure::Io(5),
    };
    let backend = Backend::fail(Backend::memory(image(), false), rule);
    let (backend, handle) = Backend::delay(backend, Hold::UntilReleased).expect("a delay");
    let mut rig = Rig::with(Model::Lsi53c895a, backend);
    rig.settle();
    let disconnect = [
        mov(MessageIn, 1, MESSAGES),
        clear_ack(),
        mov(MessageIn, 1, MESSAGES + 1),
        clear_ack(),
        wait_disconnect(),
        int(1),
    ];
    let mut first = vec![mov(DataIn, 512, DATA)];
    first.extend(disconnect);
    rig.nexus(&[0xc0, 0x20, 1], &read10(BAD, 1), &first);
    rig.assert_int(1);
    rig.nexus(
        &[0xc0, 0x20, 2],
        &read10(BAD - 1, 2),
        &[mov(DataIn, 4, SCRIPTS_RAM + 0x800)],
    );
    // A phase mismatch: there are no data yet.
    assert_eq!(rig.interrupts(), (SIP, 0, 0x80));
    rig.script(&disconnect);
    rig.assert_int(1);
    handle.release(2);
    (rig, handle)
}

/// Waits for a reselection, and goes on with `then`; SIGP ends the wait with `INT 9`.
fn reselected(rig: &mut Rig, then: &[[u32; 2]]) {
    let mut words = vec![
        wait_reselect(SCRIPT + 5 * 8 + 8 * u32::try_from(then.len()).expect("few")),
        mov(MessageIn, 1, MESSAGES),
        clear_ack(),
        mov(MessageIn, 2, MESSAGES + 1),
        clear_ack(),
    ];
    words.extend(then);
    words.push(int(9));
    rig.script(&words);
}

fn status() -> [[u32; 2]; 5] {
    [
        mov(Status, 1, MESSAGES + 3),
        mov(MessageIn, 1, MESSAGES + 4),
        clear_ack(),
        wait_disconnect(),
        int(8),
    ]
}

/// The sense key and the block that REQUEST SENSE tells.
fn sense(rig: &mut Rig) -> (u8, u32) {
    let cdb = [3, 0, 0, 0, 18, 0];
    assert_eq!(rig.command(&cdb, Some((DataIn, 18))), 0);
    let sense = rig.peek(DATA, 18);
    (sense[2], u32::from(sense[6]))
}

#[test]
fn the_second_failure_waits_for_the_sense_data_of_the_first() {
    let (mut rig, handle) = two_reads();
    reselected(&mut rig, &status());
    rig.assert_int(8);
    assert_eq!(rig.peek(MESSAGES + 2, 2), [1, 2]);
    // The second one comes back for more data.
    reselected(
        &mut rig,
        &[
            mov(DataIn, 4, SCRIPTS_RAM + 0x800),
            mov(DataIn, 1020, DATA),
            mov(MessageIn, 1, MESSAGES + 3),
            clear_ack(),
            mov(MessageIn, 1, MESSAGES + 4),
            clear_ack(),
            wait_disconnect(),
            int(7),
        ],
    );
    rig.assert_int(7);
    assert_eq!(rig.peek(MESSAGES + 2, 3), [2, 2, 4]);
    handle.release(1);
    rig.run();
    reselected(&mut rig, &status());
    assert_eq!(rig.interrupts(), (0, 0, 0), "it stays away");
    rig.w8(crate::lsi::at::ISTAT0, 0x20);
    rig.run();
    rig.assert_int(9);

    assert_eq!(sense(&mut rig), (3, BAD));
    reselected(&mut rig, &status());
    rig.assert_int(8);
    assert_eq!(rig.peek(MESSAGES + 2, 2), [2, 2]);
    assert_eq!(sense(&mut rig), (3, BAD));
    assert_eq!(sense(&mut rig).0, 0);
}

#[test]
fn a_failed_task_that_may_not_disconnect_is_busy() {
    let (mut rig, handle) = two_reads();
    reselected(&mut rig, &status());
    rig.assert_int(8);
    rig.poke(REJECT, &[7]);
    let mut then = vec![
        mov(DataIn, 4, SCRIPTS_RAM + 0x800),
        mov(DataIn, 1020, DATA),
        // SAVE DATA POINTERS is refused, and with it DISCONNECT.
        mov(MessageIn, 1, MESSAGES + 3),
        set(Signals {
            atn: true,
            ..Signals::default()
        }),
        clear_ack(),
        mov(MessageOut, 1, REJECT),
    ];
    then.extend(status());
    reselected(&mut rig, &then);
    assert_eq!(rig.interrupts(), (0, 0, 0), "it is being read");
    handle.release(1);
    rig.run();
    rig.assert_int(8);
    assert_eq!(rig.peek(MESSAGES + 3, 2), [8, 0]);
    assert_eq!(sense(&mut rig), (3, BAD));
    assert_eq!(sense(&mut rig).0, 0);
}
