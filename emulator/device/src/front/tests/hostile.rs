//! Clients that break the protocol: their connection ends, and the next client is served.

use std::io::Write;

use outrigger_ring::{ClientSetup, Geometry};
use outrigger_vfio_user::{Command, Header};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Does not wait for the server: what it does not take is lost.
fn shove(client: &Client, bytes: &[u8]) {
    client.socket.set_nonblocking(true).unwrap();
    let _ = (&client.socket).write(bytes);
}

fn still_serves(server: &mut Server) {
    let mut next = server.attach();
    assert_eq!(next.read(server, 7, 0, 2), [0x00, 0x10]);
}

#[test]
fn malformed_messages_end_the_connection() {
    let version = Request::Version(Version {
        major: 0,
        minor: 1,
        data: b"{]\0",
    });
    let mut reply = Header::reply(1, Command::DEVICE_GET_INFO).emit(&[0; 16]);
    let mut strange = reply.clone();
    strange[8] = 7;
    let mut huge = Header::command(1, Command::REGION_WRITE, true).emit(&[0; 16]);
    huge[4..8].copy_from_slice(&0x8000_0000_u32.to_le_bytes());
    let mut small = huge.clone();
    small[4..8].copy_from_slice(&3_u32.to_le_bytes());
    let short = Header::command(1, Command::DMA_MAP, false).emit(&[0; 31]);
    let mut count = Header::command(1, Command::REGION_WRITE, true).emit(&[0; 20]);
    count[28..32].copy_from_slice(&5_u32.to_le_bytes());
    reply[8] = 1;
    let mut server = Server::new();
    for (what, bytes) in [
        ("bad JSON", version.emit(1, false)),
        ("a reply", reply),
        ("an unknown type", strange),
        ("a huge size", huge),
        ("a size below the header's", small),
        ("a short structure", short),
        ("a count that does not match", count),
    ] {
        let mut client = server.connect();
        shove(&client, &bytes);
        server.turn();
        assert!(client.is_closed(), "{what}");
        still_serves(&mut server);
    }
}

#[test]
fn too_many_descriptors_end_the_connection() {
    let mut server = Server::new();
    let mut client = server.attach();
    let fd = eventfd();
    let message = Request::DeviceInfo.emit(1, false);
    let nine = [fd.as_fd(); 9];
    send(&client.socket, &message[..4], &nine).unwrap();
    send(&client.socket, &message[4..], &nine).unwrap();
    server.turn();
    assert!(client.is_closed());
    still_serves(&mut server);
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    let mut server = Server::new();
    let mut client = server.attach();
    let (ours, theirs) = UnixStream::pair().unwrap();
    client.ask(&mut server, &Request::DeviceInfo, &[theirs.as_fd()]);
    drop(theirs);
    ours.set_nonblocking(true).unwrap();
    assert_eq!(std::io::Read::read(&mut &ours, &mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_client_that_goes_inside_a_message_is_gone() {
    let mut server = Server::new();
    let client = server.attach();
    shove(&client, &Request::DeviceInfo.emit(1, false)[..20]);
    server.turn();
    drop(client);
    server.turn();
    still_serves(&mut server);
}

/// A client that asks and never reads: the server keeps the replies to one message and reads no further, and goes on when the client does.
#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut server = Server::new();
    let mut client = server.attach();
    let range = RegionRange {
        region: 1,
        offset: 0,
        count: 0x400,
    };
    let ask = Request::RegionRead(range).emit(9, false);
    client.socket.set_nonblocking(true).unwrap();
    let mut asked = 0;
    // Until neither side takes anything any more.
    loop {
        let before = asked;
        while (&client.socket).write(&ask).is_ok_and(|n| n == ask.len()) {
            asked += 1;
        }
        server.turn();
        if asked == before {
            break;
        }
    }
    assert!(asked > 100);
    let mut answered = 0;
    while answered < asked {
        match client.receive() {
            Some(reply) => {
                assert_eq!(reply.bytes.len(), 32 + 0x400);
                answered += 1;
            }
            None => server.turn(),
        }
    }
    assert_eq!(client.read(&mut server, 7, 0, 2), [0x00, 0x10]);
}

#[test]
fn a_portion_is_bounded_and_the_rest_is_not_forgotten() {
    let mut server = Server::new();
    let mut client = server.attach();
    let write = |n: u8| {
        Request::RegionWrite(RegionData {
            region: 1,
            offset: 0x80,
            data: &[n],
        })
        .emit(1, true)
    };
    let burst: Vec<u8> = (0..200).flat_map(write).collect();
    (&client.socket).write_all(&burst).unwrap();
    let worker = &mut server.worker;
    worker
        .poll
        .poll(&mut worker.events, Some(Duration::from_secs(10)))
        .unwrap();
    for event in &worker.events {
        worker
            .export
            .ready(worker.poll.registry(), event, &mut worker.function);
    }
    assert!(!worker.export.prepare_sleep());
    assert!(worker.export.intake(&mut worker.function, false));
    assert_eq!(client.read(&mut server, 1, 0x80, 1), [199]);
}

/// A message that can be anything from right to nonsense.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let commands = prop_oneof![1_u16..19, Just(0x4f01), Just(0x4f02), any::<u16>()];
    let small = prop_oneof![Just(0_u8), Just(1), Just(7), any::<u8>()];
    let payload = prop_oneof![
        prop::collection::vec(small, 0..80),
        // Whole little words, as structures have them.
        prop::collection::vec(0_u32..64, 0..20)
            .prop_map(|words| words.iter().flat_map(|word| word.to_le_bytes()).collect()),
        // RING_SETUP, nearly right.
        (0_u32..3, 0_u32..4, 4_u32..8).prop_map(|(version, channels, slots)| {
            [version, channels, 1 << slots, 0]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect()
        }),
        // A region access whose count is right.
        (
            0_u64..0x500,
            0_u32..10,
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(offset, region, data)| {
                let mut payload = offset.to_le_bytes().to_vec();
                payload.extend(region.to_le_bytes());
                payload.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
                payload.extend(data);
                payload
            }),
    ];
    (commands, payload, any::<bool>()).prop_map(|(command, payload, no_reply)| {
        Header::command(1, Command(command), no_reply).emit(&payload)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 16 * 3))]

    #[test]
    fn any_bytes_leave_a_server_that_serves(
        bytes in prop::collection::vec(any::<u8>(), 1..3000),
        attached: bool,
    ) {
        let mut server = Server::new();
        let client = if attached { server.attach() } else { server.connect() };
        shove(&client, &bytes);
        server.turn();
        drop(client);
        server.turn();
        still_serves(&mut server);
    }

    #[test]
    fn any_messages_and_descriptors_leave_a_server_that_serves(
        messages in prop::collection::vec((messages(), prop::collection::vec(0_usize..7, 0..4)), 1..40),
        rings: bool,
        cut in prop::option::of(1_usize..30),
    ) {
        let mut server = Server::new();
        let mut client = if rings { super::rings::attached(&mut server) } else { server.attach() };
        let setup = ClientSetup::new(Geometry::new(1, 16).unwrap()).unwrap();
        let (file, event) = (memory(0x1000), eventfd());
        let (socket, _peer) = UnixStream::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let kinds = [
            file.as_fd(),
            event.as_fd(),
            socket.as_fd(),
            null.as_fd(),
            setup.requests(),
            setup.mailboxes(),
            setup.doorbells()[0],
        ];
        for (bytes, fds) in &messages {
            let fds: Vec<_> = fds.iter().map(|kind| kinds[*kind]).collect();
            if send(&client.socket, bytes, &fds).is_err() {
                break;
            }
            server.turn();
            while let Ok(Received::Message { bytes, .. }) = client.receiver.receive(&client.socket, Wait::Never) {
                // Whatever was asked, what comes back is well-formed.
                Reply::parse(Message::new(&bytes).unwrap()).unwrap();
            }
        }
        if let Some(cut) = cut {
            shove(&client, &Request::DeviceInfo.emit(1, false)[..cut]);
            server.turn();
        }
        drop(client);
        server.turn();
        still_serves(&mut server);
    }

    #[test]
    fn damaged_messages_leave_a_server_that_serves(
        message in messages(),
        at in any::<prop::sample::Index>(),
        byte in select(vec![0_u8, 1, 0x0f, 0x20, 0x7f, 0x80, 0xff]),
    ) {
        let mut server = Server::new();
        let client = server.attach();
        let mut bytes = message;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        shove(&client, &bytes);
        server.turn();
        drop(client);
        server.turn();
        still_serves(&mut server);
    }
}
