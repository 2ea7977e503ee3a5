//! What a client takes without the worker: the interrupt line, and requests that come over the socket.

use outrigger_ring::{Access, Width};
use outrigger_vfio_user::IrqSetFlags as F;

use super::latch::{ASK, CAUSE, CAUSES, GROUP, LATCHED, Latch, STATUS};
use super::vfio_user::GRACE;
use super::wiring::{TRIGGER_FD, UNMASK_FD, set};
use super::*;

/// A client whose interrupt is wired, its rings, and the eventfds of trigger and unmask.
fn wired(server: &mut Server) -> (Client, Vec<outrigger_ring::Client>, [OwnedFd; 2]) {
    let mut client = rings::offered(server);
    let events = [eventfd(), eventfd()];
    for (flags, event) in [TRIGGER_FD, UNMASK_FD].into_iter().zip(&events) {
        let set = set(flags, 1, &[]);
        assert_eq!(client.ask(server, &set, &[event.as_fd()]).errno(), 0);
    }
    let rings = rings::attach(server, &mut client);
    (client, rings, events)
}

fn server() -> Server {
    Server::of(Box::new(Latch::default()))
}

/// Has the device latch its cause.
fn latch(ring: &mut outrigger_ring::Client) {
    let ask = Access {
        region: 1,
        offset: ASK,
        width: Width::Byte,
    };
    ring.post(ask, 1).unwrap();
}

#[test]
fn an_end_of_interrupt_after_a_take_finds_the_line_down() {
    let mut server = server();
    let (_client, mut rings, [trigger, unmask]) = wired(&mut server);
    for round in 0..3 {
        latch(&mut rings[0]);
        server.turn();
        assert_eq!(count(&trigger), 1, "{round}");
        rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
        server.turn();
        assert_eq!(count(&trigger), 1, "still up: again");
        // The worker sleeps on, and nobody rings.
        assert_eq!(rings[1].claim(GROUP, 0xffff), Ok(Some(CAUSE)));
        assert!(server.worker.export.prepare_sleep());
        assert!(server.worker.function.interrupt());
        rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
        server.turn();
        assert_eq!(count(&trigger), 0, "down");
        assert!(!server.worker.function.interrupt());
    }
}

#[test]
fn an_unmask_by_message_after_a_take_finds_the_line_down() {
    let mut server = server();
    let (mut client, mut rings, [trigger, _unmask]) = wired(&mut server);
    let unmask = set(F::DATA_NONE | F::ACTION_UNMASK, 1, &[]);
    latch(&mut rings[0]);
    server.turn();
    assert_eq!(count(&trigger), 1);
    assert_eq!(rings[0].claim(GROUP, 0xffff), Ok(Some(CAUSE)));
    client.ask(&mut server, &unmask, &[]);
    assert_eq!(server.worker.export.deadline(), None);
    // And while the handler has its grace.
    latch(&mut rings[0]);
    server.turn();
    assert_eq!(count(&trigger), 1);
    client.ask(&mut server, &unmask, &[]);
    assert_eq!(rings[0].claim(GROUP, 0xffff), Ok(Some(CAUSE)));
    server.pass(GRACE);
    assert_eq!(count(&trigger), 0);
}

#[test]
fn a_condition_that_is_taken_before_the_interrupt_gives_none() {
    let mut server = server();
    let (_client, mut rings, [trigger, _unmask]) = wired(&mut server);
    latch(&mut rings[0]);
    // A turn of the loop that is interrupted between the run and the interrupt.
    let Worker {
        export, function, ..
    } = &mut server.worker;
    assert!(export.intake(function, false));
    assert!(function.interrupt());
    assert_eq!(rings[1].claim(GROUP, 0xffff), Ok(Some(CAUSE)));
    export.settle(function, Instant::now(), false);
    assert_eq!(count(&trigger), 0);
}

#[test]
fn the_socket_finds_it_taken_and_a_reset_leaves_nothing_to_take() {
    let mut server = server();
    let (mut client, mut rings, _events) = wired(&mut server);
    latch(&mut rings[0]);
    server.turn();
    assert_eq!(client.read(&mut server, 1, STATUS, 1), [LATCHED]);
    assert_eq!(rings[0].claim(GROUP, 0xffff), Ok(Some(CAUSE)));
    assert_eq!(client.read(&mut server, 1, STATUS, 1), [0]);
    assert_eq!(client.read(&mut server, 1, CAUSES, 2), [0, 0]);
    latch(&mut rings[0]);
    server.turn();
    // Read over the socket, it cannot be taken any more.
    assert_eq!(client.read(&mut server, 1, CAUSES, 2), CAUSE.to_le_bytes());
    assert_eq!(rings[0].claim(GROUP, 0xffff), Ok(None));
    latch(&mut rings[0]);
    server.turn();
    client.ask(&mut server, &Request::DeviceReset, &[]);
    assert_eq!(rings[0].claim(GROUP, 0xffff), Ok(None));
    assert_eq!(rings[0].mirrored(0, &[]), Ok(Some(0)));
}
