//! Interrupts of a device that goes on working: completions share them, and none waits for long.

use outrigger_ring::{Access, Width};

use super::device::LINE;
use super::vfio_user::GATHER;
use super::wiring::{UNMASK_FD, set, wired};
use super::*;

fn line(worker: &mut Worker, up: bool) {
    let access = Access {
        region: 1,
        offset: LINE,
        width: Width::Byte,
    };
    worker.function.write(access, up.into());
}

/// Settles at the worker's time plus this.
fn settle(worker: &mut Worker, after: Duration, busy: bool) {
    let now = worker.now + after;
    worker.export.settle(&mut worker.function, now, busy);
}

const SOON: Duration = Duration::from_nanos(1);

#[test]
fn a_busy_device_interrupts_when_it_is_done_or_the_time_is_over() {
    let mut server = Server::new();
    let (_client, trigger) = wired(&mut server);
    let worker = &mut server.worker;
    line(worker, true);
    settle(worker, Duration::ZERO, true);
    settle(worker, GATHER - SOON, true);
    assert_eq!(count(&trigger), 0, "others may share it");
    settle(worker, GATHER, true);
    assert_eq!(count(&trigger), 1, "not for ever");

    let mut server = Server::new();
    let (_client, trigger) = wired(&mut server);
    let worker = &mut server.worker;
    line(worker, true);
    settle(worker, Duration::ZERO, true);
    settle(worker, SOON, false);
    assert_eq!(count(&trigger), 1, "nothing else to do");
}

/// What the guest has seen to meanwhile is not signalled, and the next one has its own time.
#[test]
fn a_line_that_falls_takes_its_time_with_it() {
    let mut server = Server::new();
    let (_client, trigger) = wired(&mut server);
    let worker = &mut server.worker;
    line(worker, true);
    settle(worker, Duration::ZERO, true);
    line(worker, false);
    settle(worker, GATHER, true);
    line(worker, true);
    settle(worker, GATHER, true);
    settle(worker, GATHER * 2 - SOON, true);
    assert_eq!(count(&trigger), 0);
    settle(worker, GATHER * 2, true);
    assert_eq!(count(&trigger), 1);
}

/// Without waiting, also where the client has made the eventfd one that blocks.
#[test]
fn the_end_of_an_interrupt_is_taken_once() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    let unmask = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[unmask.as_fd()]);
    let worker = &mut server.worker;
    line(worker, true);
    settle(worker, Duration::ZERO, false);
    assert_eq!(count(&trigger), 1);
    assert!(!worker.export.take_unmask(), "not there yet");
    for _ in 0..2 {
        rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
    }
    assert!(worker.export.take_unmask());
    assert!(!worker.export.take_unmask(), "both were one");
    settle(worker, Duration::ZERO, false);
    assert_eq!(count(&trigger), 1, "the line is still up");
    server.turn();
    assert_eq!(count(&trigger), 0, "the event in the loop is stale");
}
