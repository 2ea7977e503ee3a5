//! Framing on real sockets.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::{Command, Header, Message, Reply, Request, WireError};

const LIMIT: usize = 4096;

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn fds(count: usize) -> Vec<OwnedFd> {
    (0..count)
        .map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap())
        .collect()
}

fn expect_message(received: Received) -> (Vec<u8>, Vec<OwnedFd>) {
    match received {
        Received::Message { bytes, fds } => (bytes, fds),
        other => panic!("{other:?}"),
    }
}

#[test]
fn byte_by_byte() {
    let (mut client, server) = pair();
    let mut receiver = Receiver::new(LIMIT);
    let message = Header::command(1, Command::VERSION, false).emit(b"abc");
    for _ in 0..2 {
        for (at, byte) in message.iter().enumerate() {
            let received = receiver.receive(&server, Wait::Never).unwrap();
            assert!(matches!(received, Received::WouldBlock), "before byte {at}");
            client.write_all(&[*byte]).unwrap();
        }
        let (bytes, fds) = expect_message(receiver.receive(&server, Wait::Never).unwrap());
        assert_eq!(bytes, message);
        assert!(fds.is_empty());
    }
    drop(client);
    assert!(matches!(
        receiver.receive(&server, Wait::Never),
        Ok(Received::Closed)
    ));
}

#[test]
fn descriptors_stay_with_their_message() {
    let (client, server) = pair();
    let mut receiver = Receiver::new(LIMIT);
    let counts = [0, 3, 0, 16, 1, 0];
    for (id, count) in (0..).zip(counts) {
        let owned = fds(count);
        let borrowed: Vec<_> = owned.iter().map(AsFd::as_fd).collect();
        send(&client, &Request::DeviceInfo.emit(id, false), &borrowed).unwrap();
    }
    for (id, count) in (0..).zip(counts) {
        let (bytes, fds) = expect_message(receiver.receive(&server, Wait::Never).unwrap());
        assert_eq!(Message::new(&bytes).unwrap().header().id, id);
        assert_eq!(fds.len(), count);
        for fd in &fds {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }
    assert!(matches!(
        receiver.receive(&server, Wait::Never),
        Ok(Received::WouldBlock)
    ));
}

/// One call brings several messages, and descriptors in the middle of what was sent end it.
#[test]
fn messages_that_wait_are_read_together() {
    let (mut client, server) = pair();
    let mut receiver = Receiver::new(LIMIT);
    let messages: Vec<_> = (0..4)
        .map(|id| Request::DeviceInfo.emit(id, false))
        .collect();
    client.write_all(&messages[..2].concat()).unwrap();
    let eventfds = fds(2);
    let borrowed: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
    // The third comes in two pieces, each with a descriptor; the fourth follows on its heels.
    let (head, tail) = messages[2].split_at(20);
    send(&client, head, &borrowed[..1]).unwrap();
    send(&client, tail, &borrowed[1..]).unwrap();
    client.write_all(&messages[3]).unwrap();
    for (id, (count, drained)) in [(0, false), (0, false), (2, false), (0, true)]
        .into_iter()
        .enumerate()
    {
        let (bytes, fds) = expect_message(receiver.receive(&server, Wait::Never).unwrap());
        assert_eq!(bytes, messages[id]);
        assert_eq!((fds.len(), receiver.is_drained()), (count, drained), "{id}");
    }
    drop(client);
    assert!(matches!(
        receiver.receive(&server, Wait::Never),
        Ok(Received::Closed)
    ));
}

#[test]
fn seventeen_descriptors_over_several_sends_are_too_many() {
    let (client, server) = pair();
    let mut receiver = Receiver::new(LIMIT);
    let message = Request::DeviceInfo.emit(0, false);
    let owned = fds(9);
    let borrowed: Vec<_> = owned.iter().map(AsFd::as_fd).collect();
    send(&client, &message[..1], &borrowed).unwrap();
    send(&client, &message[1..], &borrowed).unwrap();
    let error = receiver.receive(&server, Wait::Never).unwrap_err();
    assert!(
        matches!(error, ReceiveError::Wire(WireError::TooManyFds)),
        "{error}"
    );
    let too_many: Vec<_> = borrowed.iter().chain(&borrowed).copied().collect();
    let error = send(&client, &message, &too_many).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn sizes_out_of_bounds_are_refused_before_anything_is_allocated() {
    for size in [0_u32, 15, 4097, u32::MAX] {
        let (mut client, server) = pair();
        let mut receiver = Receiver::new(LIMIT);
        let mut header = Header::command(1, Command::VERSION, false).emit(&[]);
        header[4..8].copy_from_slice(&size.to_le_bytes());
        client.write_all(&header).unwrap();
        let error = receiver.receive(&server, Wait::Never).unwrap_err();
        let expected = WireError::Limit { size, limit: LIMIT };
        assert!(
            matches!(error, ReceiveError::Wire(found) if found == expected),
            "{error}"
        );
    }
}

#[test]
fn the_end_inside_a_message_is_not_a_close() {
    let (mut client, server) = pair();
    let mut receiver = Receiver::new(LIMIT);
    client
        .write_all(&Request::DeviceInfo.emit(0, false)[..20])
        .unwrap();
    drop(client);
    assert!(matches!(
        receiver.receive(&server, Wait::Never),
        Err(ReceiveError::CutOff)
    ));
}

#[test]
fn a_full_socket_keeps_the_queue_in_order() {
    let (server, client) = pair();
    let mut sender = Sender::new();
    let mut receiver = Receiver::new(1 << 20);
    let payload = vec![0x5a; 100_000];
    let count: u16 = 20;
    for id in 0..count {
        let reply = Reply::Other {
            command: Command(0x7000),
            payload: &payload,
        };
        sender.push(reply.emit(id), fds(usize::from(id % 3)));
    }
    assert!(
        !sender.flush(&server, Wait::Never).unwrap(),
        "the socket cannot take all"
    );
    let mut next = 0;
    while next < count {
        sender.flush(&server, Wait::Never).unwrap();
        if let Received::Message { bytes, fds } = receiver.receive(&client, Wait::Never).unwrap() {
            let message = Message::new(&bytes).unwrap();
            assert_eq!(
                (message.header().id, message.payload()),
                (next, payload.as_slice())
            );
            assert_eq!(fds.len(), usize::from(next % 3));
            next += 1;
        }
    }
    assert!(sender.is_empty());
}

/// What the server has not read, descriptors among it, does not reset the connection; what it has sent before arrives.
#[test]
fn a_hang_up_is_the_streams_end() {
    let (mut client, server) = pair();
    let (ours, theirs) = pair();
    let request = Request::DeviceInfo.emit(0, true);
    for _ in 0..100 {
        client.write_all(&request).unwrap();
    }
    send(&client, &request, &[theirs.as_fd()]).unwrap();
    drop(theirs);
    let reply = Reply::Done(Command::DEVICE_RESET).emit(3);
    send(&server, &reply, &[]).unwrap();
    hang_up(&server);
    let error = send(&client, &request, &[]).unwrap_err();
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::BrokenPipe,
        "no more comes in"
    );
    drop(server);
    let mut receiver = Receiver::new(LIMIT);
    let (bytes, _) = expect_message(receiver.receive(&client, Wait::Never).unwrap());
    assert_eq!(bytes, reply);
    let received = receiver.receive(&client, Wait::Never);
    assert!(matches!(received, Ok(Received::Closed)), "{received:?}");
    // The descriptor that was on its way is closed.
    let received = Receiver::new(LIMIT).receive(&ours, Wait::Never);
    assert!(matches!(received, Ok(Received::Closed)), "{received:?}");
}

#[test]
fn sending_to_a_closed_peer_is_an_error_not_a_signal() {
    let (server, client) = pair();
    drop(client);
    let error = send(&server, &Request::DeviceReset.emit(0, false), &[]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// Whatever the pieces are in which a stream arrives, the messages come out whole.
    #[test]
    fn any_split_gives_the_same_messages(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        cuts in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let messages: Vec<_> =
            payloads.iter().map(|p| Header::command(3, Command(99), false).emit(p)).collect();
        let stream = messages.concat();
        let (mut client, server) = pair();
        let mut receiver = Receiver::new(LIMIT);
        let mut got = Vec::new();
        let mut rest = stream.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            client.write_all(piece).unwrap();
            rest = after;
            while let Received::Message { bytes, .. } = receiver.receive(&server, Wait::Never).unwrap() {
                got.push(bytes);
            }
        }
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn any_bytes_end_in_messages_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (mut client, server) = pair();
        let mut receiver = Receiver::new(LIMIT);
        client.write_all(&bytes).unwrap();
        drop(client);
        // Each message takes at least a header's bytes, so this ends.
        while let Ok(Received::Message { bytes, .. }) = receiver.receive(&server, Wait::Never) {
            let _ = Message::new(&bytes).map(Request::parse);
        }
    }
}
