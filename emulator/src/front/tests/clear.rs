//! What a client takes without the worker: the interrupt line, and requests that come over the socket. With the real chip.

use outrigger_ring::{Access, Width};
use outrigger_vfio_user::IrqSetFlags as F;

use super::vfio_user::GRACE;
use super::wiring::{TRIGGER_FD, UNMASK_FD, set};
use super::*;
use crate::lsi::{Lsi, Model};
use crate::scsi::Bus;

const ISTAT0: u64 = 0x14;
/// The clear group of SIST0 and SIST1, and the selection time-out in it.
const SIST: u32 = 1;
const STO: u16 = 0x0400;

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
    Server::of(Box::new(Lsi::new(Model::Lsi53c895a, Bus::new())))
}

/// Selects a target that is not there, with the time-out enabled.
fn time_out(ring: &mut outrigger_ring::Client) {
    let byte = |offset| Access {
        region: 1,
        offset,
        width: Width::Byte,
    };
    for (register, value) in [(0x41, 0x04), (0x06, 3), (0x00, 0xe0)] {
        ring.post(byte(register), value).unwrap();
    }
}

#[test]
fn an_end_of_interrupt_after_a_take_finds_the_line_down() {
    let mut server = server();
    let (_client, mut rings, [trigger, unmask]) = wired(&mut server);
    for round in 0..3 {
        time_out(&mut rings[0]);
        server.turn();
        assert_eq!(count(&trigger), 1, "{round}");
        rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
        server.turn();
        assert_eq!(count(&trigger), 1, "still up: again");
        // The worker sleeps on, and nobody rings.
        assert_eq!(rings[1].take(SIST, 0xffff), Ok(Some(STO)));
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
    time_out(&mut rings[0]);
    server.turn();
    assert_eq!(count(&trigger), 1);
    assert_eq!(rings[0].take(SIST, 0xffff), Ok(Some(STO)));
    client.ask(&mut server, &unmask, &[]);
    assert_eq!(server.worker.export.deadline(), None);
    // And while the handler has its grace.
    time_out(&mut rings[0]);
    server.turn();
    assert_eq!(count(&trigger), 1);
    client.ask(&mut server, &unmask, &[]);
    assert_eq!(rings[0].take(SIST, 0xffff), Ok(Some(STO)));
    server.pass(GRACE);
    assert_eq!(count(&trigger), 0);
}

#[test]
fn a_condition_that_is_taken_before_the_interrupt_gives_none() {
    let mut server = server();
    let (_client, mut rings, [trigger, _unmask]) = wired(&mut server);
    time_out(&mut rings[0]);
    // A turn of the loop that is interrupted between the run and the interrupt.
    let Worker {
        export, function, ..
    } = &mut server.worker;
    assert!(export.intake(function, false));
    assert!(function.interrupt());
    assert_eq!(rings[1].take(SIST, 0xffff), Ok(Some(STO)));
    export.settle(function, Instant::now(), false);
    assert_eq!(count(&trigger), 0);
}

#[test]
fn the_socket_finds_it_taken_and_a_reset_leaves_nothing_to_take() {
    let mut server = server();
    let (mut client, mut rings, _events) = wired(&mut server);
    time_out(&mut rings[0]);
    server.turn();
    assert_eq!(client.read(&mut server, 1, ISTAT0, 1), [0x02]);
    assert_eq!(rings[0].take(SIST, 0xffff), Ok(Some(STO)));
    assert_eq!(client.read(&mut server, 1, ISTAT0, 1), [0]);
    assert_eq!(client.read(&mut server, 1, 0x42, 2), [0, 0]);
    time_out(&mut rings[0]);
    server.turn();
    // Read over the socket, it cannot be taken any more.
    assert_eq!(client.read(&mut server, 1, 0x42, 2), STO.to_le_bytes());
    assert_eq!(rings[0].take(SIST, 0xffff), Ok(None));
    time_out(&mut rings[0]);
    server.turn();
    client.ask(&mut server, &Request::DeviceReset, &[]);
    assert_eq!(rings[0].take(SIST, 0xffff), Ok(None));
    assert_eq!(rings[0].mirrored(0, &[]), Ok(Some(0)));
}
