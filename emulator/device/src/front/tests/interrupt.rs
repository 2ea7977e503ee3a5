//! INTx: a level over eventfds.

use outrigger_vfio_user::{IrqSetFlags as F, SetIrqs};
use proptest::prelude::*;
use rustix::io::Errno;

use super::device::LINE;
use super::vfio_user::GRACE;
use super::wiring::{TRIGGER_FD, UNMASK_FD, set, wired};
use super::*;

const MASK_FD: F = F::DATA_EVENTFD.union(F::ACTION_MASK);
const UNMASK: F = F::DATA_NONE.union(F::ACTION_UNMASK);
const MASK: F = F::DATA_NONE.union(F::ACTION_MASK);

#[test]
fn a_level_triggers_once_until_it_is_unmasked() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    assert_eq!(count(&trigger), 0);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 1);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 0, "automasked");
    // Down and up again within the mask is not lost: the level counts when it is unmasked.
    client.write(&mut server, 1, LINE, &[0]);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 0);
    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    server.pass(GRACE);
    assert_eq!(count(&trigger), 1, "still up: again");
    client.write(&mut server, 1, LINE, &[0]);
    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    assert_eq!(count(&trigger), 0, "down: not again");
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 1);
}

/// QEMU without KVM's interrupt controller: it unmasks when the guest's handler reads the cause, before the handler clears it.
#[test]
fn a_handler_on_its_way_is_not_interrupted_again() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    for _ in 0..3 {
        client.write(&mut server, 1, LINE, &[1]);
        assert_eq!(count(&trigger), 1, "a line that rises is signalled at once");
        client.read(&mut server, 1, LINE, 1);
        client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
        assert_eq!(count(&trigger), 0, "the handler has begun");
        let due = server.worker.export.deadline();
        assert_eq!(due, Some(server.worker.now + GRACE));
        client.write(&mut server, 1, LINE, &[0]);
        assert_eq!(server.worker.export.deadline(), None);
    }
    // Left with the line up: the level counts.
    client.write(&mut server, 1, LINE, &[1]);
    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    assert_eq!(count(&trigger), 1);
    server.pass(GRACE - Duration::from_nanos(1));
    assert_eq!(count(&trigger), 0);
    server.pass(Duration::from_nanos(1));
    assert_eq!(count(&trigger), 1);
}

#[test]
fn the_unmask_eventfd_does_the_same() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    let unmask = eventfd();
    let answered = client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[unmask.as_fd()]);
    assert_eq!(answered.errno(), 0);
    client.write(&mut server, 1, LINE, &[1]);
    for _ in 0..3 {
        assert_eq!(count(&trigger), 1);
        rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
        server.turn();
        assert_eq!(count(&unmask), 0, "taken");
    }
    client.write(&mut server, 1, LINE, &[0]);
    count(&trigger);
    rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
    server.turn();
    assert_eq!(count(&trigger), 0);
    // Without its eventfd it is not unmasked any more.
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 1);
    client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[]);
    rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
    server.turn();
    assert_eq!(count(&trigger), 0);
}

#[test]
fn the_client_can_mask() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    let mask = eventfd();
    client.ask(&mut server, &set(MASK_FD, 1, &[]), &[mask.as_fd()]);
    let steps: [(F, &[u8], bool); 3] = [
        (MASK, &[], true),
        (F::DATA_BOOL | F::ACTION_MASK, &[1], true),
        (F::DATA_BOOL | F::ACTION_MASK, &[0], false),
    ];
    for (flags, data, masks) in steps {
        client.ask(&mut server, &set(flags, 1, data), &[]);
        client.write(&mut server, 1, LINE, &[1]);
        assert_eq!(count(&trigger), u64::from(!masks));
        client.ask(
            &mut server,
            &set(F::DATA_BOOL | F::ACTION_UNMASK, 1, &[0]),
            &[],
        );
        assert_eq!(count(&trigger), 0);
        client.ask(
            &mut server,
            &set(F::DATA_BOOL | F::ACTION_UNMASK, 1, &[1]),
            &[],
        );
        // It has been signalled before where the mask did not take.
        assert_eq!(count(&trigger), u64::from(masks));
        server.pass(GRACE);
        assert_eq!(count(&trigger), u64::from(!masks));
        client.write(&mut server, 1, LINE, &[0]);
        client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    }
    rustix::io::write(&mask, &1_u64.to_ne_bytes()).unwrap();
    server.turn();
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 0);
}

/// A worker that polls must look for the end of an interrupt only while it holds back the next one.
#[test]
fn an_interrupt_awaits_the_unmask_eventfd_alone() {
    fn awaits(server: &mut Server) -> bool {
        server.worker.export.awaits_unmask(&server.worker.function)
    }
    let mut server = Server::new();
    let (mut client, _trigger) = wired(&mut server);
    client.write(&mut server, 1, LINE, &[1]);
    assert!(!awaits(&mut server), "no eventfd to look at");
    client.write(&mut server, 1, LINE, &[0]);
    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    let unmask = eventfd();
    client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[unmask.as_fd()]);
    assert!(!awaits(&mut server), "the line is down");
    client.write(&mut server, 1, LINE, &[1]);
    assert!(awaits(&mut server));
    client.write(&mut server, 1, LINE, &[0]);
    assert!(!awaits(&mut server), "nothing to interrupt for");
    rustix::io::write(&unmask, &1_u64.to_ne_bytes()).unwrap();
    server.turn();
    client.ask(&mut server, &set(MASK, 1, &[]), &[]);
    client.write(&mut server, 1, LINE, &[1]);
    assert!(!awaits(&mut server), "the client does not want it");
}

/// QEMU's way from its own handler to KVM's: mask, another trigger, an unmask eventfd, unmask.
#[test]
fn a_new_trigger_hears_of_a_line_that_is_up() {
    let mut server = Server::new();
    let (mut client, first) = wired(&mut server);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&first), 1);
    let (second, unmask) = (eventfd(), eventfd());
    client.ask(&mut server, &set(MASK, 1, &[]), &[]);
    client.ask(&mut server, &set(TRIGGER_FD, 1, &[]), &[second.as_fd()]);
    client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[unmask.as_fd()]);
    assert_eq!(count(&second), 0);
    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
    server.pass(GRACE);
    assert_eq!((count(&first), count(&second)), (0, 1));
}

#[test]
fn disabled_means_silent_and_fresh() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    client.ask(&mut server, &set(MASK, 1, &[]), &[]);
    let disable = set(F::DATA_NONE | F::ACTION_TRIGGER, 0, &[]);
    assert_eq!(client.ask(&mut server, &disable, &[]).errno(), 0);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 0);
    client.ask(&mut server, &set(TRIGGER_FD, 1, &[]), &[trigger.as_fd()]);
    assert_eq!(count(&trigger), 1, "the mask went too, and the line is up");
}

#[test]
fn a_reset_forgets_what_was_not_acknowledged() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 1);
    client.ask(&mut server, &Request::DeviceReset, &[]);
    assert_eq!(count(&trigger), 0);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 1);
}

#[test]
fn interrupt_disable_in_command_holds_the_line() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    client.write(&mut server, 7, 4, &[0, 4]);
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), 0);
    client.write(&mut server, 7, 4, &[0, 0]);
    assert_eq!(count(&trigger), 1);
}

#[test]
fn loopback_triggers_without_the_device() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    for (flags, data, signals) in [
        (F::DATA_NONE | F::ACTION_TRIGGER, &[][..], 1),
        (F::DATA_BOOL | F::ACTION_TRIGGER, &[1], 1),
        (F::DATA_BOOL | F::ACTION_TRIGGER, &[0], 0),
    ] {
        assert_eq!(
            client.ask(&mut server, &set(flags, 1, data), &[]).errno(),
            0
        );
        assert_eq!(count(&trigger), signals);
    }
}

#[test]
fn a_saturated_trigger_does_not_hold_the_worker() {
    let mut server = Server::new();
    let mut client = server.attach();
    // Blocking on purpose: the client decides that.
    let trigger = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    client.ask(&mut server, &set(TRIGGER_FD, 1, &[]), &[trigger.as_fd()]);
    rustix::io::write(&trigger, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!(count(&trigger), u64::MAX - 1);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    let file = memory(8);
    let (socket, _peer) = UnixStream::pair().unwrap();
    let fd = eventfd();
    let base = SetIrqs {
        flags: TRIGGER_FD,
        index: 0,
        start: 0,
        count: 1,
        data: &[],
    };
    let two = [fd.as_fd(), fd.as_fd()];
    let cases: [(SetIrqs<'_>, &[BorrowedFd<'_>]); 12] = [
        (base, &two),
        (base, &[file.as_fd()]),
        (base, &[socket.as_fd()]),
        (
            SetIrqs {
                flags: UNMASK_FD,
                ..base
            },
            &[file.as_fd()],
        ),
        (SetIrqs { index: 1, ..base }, &two[..1]),
        (SetIrqs { start: 1, ..base }, &two[..1]),
        (SetIrqs { count: 2, ..base }, &two),
        (SetIrqs { count: 0, ..base }, &[]),
        (
            SetIrqs {
                flags: F::empty(),
                ..base
            },
            &[],
        ),
        (
            SetIrqs {
                flags: TRIGGER_FD | F::ACTION_MASK,
                ..base
            },
            &two[..1],
        ),
        (
            SetIrqs {
                flags: TRIGGER_FD | F::from_bits_retain(0x40),
                ..base
            },
            &two[..1],
        ),
        (
            SetIrqs {
                flags: F::DATA_BOOL | F::ACTION_MASK,
                ..base
            },
            &[],
        ),
    ];
    for (set, fds) in cases {
        let answered = client.ask(&mut server, &Request::SetIrqs(set), fds);
        assert_eq!(answered.errno(), Errno::INVAL.raw_os_error(), "{set:?}");
    }
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!((count(&trigger), count(&fd)), (1, 0));
}

#[test]
fn the_error_index_can_be_wired_and_is_never_signalled() {
    let mut server = Server::new();
    let (mut client, trigger) = wired(&mut server);
    let file = memory(8);
    let error = eventfd();
    let base = SetIrqs {
        flags: TRIGGER_FD,
        index: 3,
        start: 0,
        count: 1,
        data: &[],
    };
    let take_away = SetIrqs {
        flags: F::DATA_NONE | F::ACTION_TRIGGER,
        count: 0,
        ..base
    };
    let mask = SetIrqs {
        flags: MASK_FD,
        ..base
    };
    let cases: [(SetIrqs<'_>, &[BorrowedFd<'_>], i32); 7] = [
        (base, &[error.as_fd()], 0),
        (base, &[], 0),
        (take_away, &[], 0),
        (base, &[error.as_fd()], 0),
        (base, &[file.as_fd()], Errno::INVAL.raw_os_error()),
        (mask, &[error.as_fd()], Errno::INVAL.raw_os_error()),
        (
            SetIrqs { start: 1, ..base },
            &[error.as_fd()],
            Errno::INVAL.raw_os_error(),
        ),
    ];
    for (set, fds, errno) in cases {
        let answered = client.ask(&mut server, &Request::SetIrqs(set), fds);
        assert_eq!(answered.errno(), errno, "{set:?}");
    }
    // INTx is as it was.
    client.write(&mut server, 1, LINE, &[1]);
    assert_eq!((count(&trigger), count(&error)), (1, 0));
}

/// What can happen to an interrupt line.
#[derive(Clone, Copy, Debug)]
enum Step {
    Line(bool),
    Mask,
    Unmask,
    UnmaskFd,
    /// As long as the grace, or a part of it.
    Pass(u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// No interrupt is lost and none is made up: after every step the client has been signalled once if and only if
    /// the line is up, it has not masked, and it has answered every signal before; but if its answer was a message and the line
    /// has been up since then, not before the grace is over.
    #[test]
    fn signalled_exactly_when_due(
        steps in prop::collection::vec(
            prop_oneof![
                any::<bool>().prop_map(Step::Line),
                Just(Step::Mask),
                Just(Step::Unmask),
                Just(Step::UnmaskFd),
                (1_u32..=2).prop_map(Step::Pass),
            ],
            1..40,
        ),
    ) {
        let mut server = Server::new();
        let (mut client, trigger) = wired(&mut server);
        let resample = eventfd();
        client.ask(&mut server, &set(UNMASK_FD, 1, &[]), &[resample.as_fd()]);
        let (mut line, mut masked, mut unanswered) = (false, false, false);
        // Halves of the grace that are left.
        let mut grace = 0;
        for step in steps {
            match step {
                Step::Line(up) => {
                    line = up;
                    grace = if up { grace } else { 0 };
                    client.write(&mut server, 1, LINE, &[u8::from(up)]);
                }
                Step::Mask => {
                    masked = true;
                    client.ask(&mut server, &set(MASK, 1, &[]), &[]);
                }
                Step::Unmask => {
                    grace = if unanswered && line { 2 } else { grace };
                    (masked, unanswered) = (false, false);
                    client.ask(&mut server, &set(UNMASK, 1, &[]), &[]);
                }
                Step::UnmaskFd => {
                    (masked, unanswered) = (false, false);
                    rustix::io::write(&resample, &1_u64.to_ne_bytes()).unwrap();
                    grace = 0;
                    server.turn();
                }
                Step::Pass(halves) => {
                    grace -= halves.min(grace);
                    server.pass(GRACE / 2 * halves);
                }
            }
            let due = line && !masked && !unanswered && grace == 0;
            unanswered |= due;
            prop_assert_eq!(count(&trigger), u64::from(due), "after {:?}", step);
        }
    }
}
