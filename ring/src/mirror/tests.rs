use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::message::{Access, Request, Width};
use crate::{Client, ClientSetup, Error, Geometry, PeerWatch, Server, ServerSetup};

#[test]
fn golden_word() {
    let now = Mirrored {
        value: 0x24,
        events: 3,
    };
    let word = encode(now, 0x1_0000_0005);
    assert_eq!(word, 0x0000_0005_0000_0724);
    assert_eq!(decode(word), Some((now, 5)));
    assert_eq!(decode(0), None);
    let most = Mirrored {
        value: 0xff,
        events: u32::MAX,
    };
    let events = EVENTS_MASK;
    assert_eq!(
        decode(encode(most, u64::MAX)),
        Some((Mirrored { events, ..most }, u32::MAX))
    );
}

const EFFECT: Effect = Effect {
    register: 0,
    through: 0x30,
    clears: 0x04,
};

/// A session of one client with one mirrored register.
fn session() -> (Client, Server, UnixStream) {
    let (mut clients, server, peer) = session_of(1);
    (clients.remove(0), server, peer)
}

/// A session of so many clients with one mirrored register.
fn session_of(clients: u32) -> (Vec<Client>, Server, UnixStream) {
    let own = |fd: BorrowedFd<'_>| -> OwnedFd { fd.try_clone_to_owned().unwrap() };
    let geometry = Geometry::new(clients, 32).unwrap();
    let (socket, peer) = UnixStream::pair().unwrap();
    let ours = ClientSetup::new(geometry).unwrap();
    let mut theirs =
        ServerSetup::new(geometry, own(ours.requests()), own(ours.mailboxes()), 1).unwrap();
    assert_eq!(theirs.mirror_bytes(), 64);
    let doorbells = ours.doorbells().into_iter().map(own).collect();
    theirs.add_doorbells(0, doorbells).unwrap();
    let (device, doorbell) = (own(theirs.device()), own(theirs.doorbell()));
    let watch = PeerWatch::Socket(Arc::new(socket.into()));
    let clients = ours.finish(device, doorbell, 64, &watch, Duration::from_secs(5));
    let server = theirs.finish().unwrap();
    (clients.unwrap(), server, peer)
}

/// The register: any write sets it.
struct Byte(Mirrored);

impl Serve for Byte {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        if let Request::Write(_, value) = request {
            self.0.value = value.to_le_bytes()[0];
        }
        self.0.value.into()
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == 0).then_some(self.0)
    }
}

#[test]
fn nothing_is_read_before_it_is_shown_nor_beyond_the_mirror() {
    let (mut client, mut server, _peer) = session();
    assert_eq!(client.mirrored(0, &[]), Ok(None));
    server.show_all(&Byte(Mirrored::default()));
    assert_eq!(client.mirrored(0, &[]), Ok(Some(0)));
    for other in [1, 2, 15, 16, u32::MAX] {
        assert_eq!(client.mirrored(other, &[]), Ok(None));
    }
    assert_eq!(client.counters().snapshot().mirrored, 1);
}

#[test]
fn a_write_of_unknown_effect_must_be_consumed_first() {
    let (mut client, mut server, _peer) = session();
    let mut byte = Byte(Mirrored::default());
    server.show_all(&byte);
    let access = Access {
        region: 1,
        offset: 0x14,
        width: Width::Byte,
    };
    client.post(access, 0x40).unwrap();
    client.post_effect(1, 0x14, 0x20, EFFECT).unwrap();
    assert_eq!(client.mirrored(0, &[]), Ok(None));
    assert_eq!(server.turn_with(&mut byte), Ok(true));
    assert_eq!(client.mirrored(0, &[]), Ok(Some(0x20)));
}

#[test]
fn more_writes_than_are_remembered_are_waited_for() {
    let (mut client, mut server, _peer) = session();
    let mut byte = Byte(Mirrored::default());
    server.show_all(&byte);
    for count in 0..MAX_PENDING + 1 {
        let value = if count % 2 == 0 { 0x10 } else { 0x20 };
        client.post_effect(1, 0x14, value, EFFECT).unwrap();
        let known = (count < MAX_PENDING).then_some(value);
        assert_eq!(client.mirrored(0, &[]), Ok(known), "{count}");
    }
    assert_eq!(server.turn_with(&mut byte), Ok(true));
    assert_eq!(client.mirrored(0, &[]), Ok(Some(0x10)));
}

#[test]
fn a_word_that_contains_more_than_was_published_is_a_violation() {
    let (mut client, mut server, _peer) = session();
    // 100 writes, of which none was published.
    server.mirror.show(0, Mirrored::default(), 100);
    client.post_effect(1, 0x14, 0x20, EFFECT).unwrap();
    let corrupt = Err(Error::Corrupt(Violation::Mirror(100)));
    assert_eq!(client.mirrored(0, &[]), corrupt);
    assert_eq!(client.mirrored(0, &[]), corrupt, "for good");
}

#[test]
fn a_count_is_news_though_the_value_is_none() {
    let (client, mut server, _peer) = session();
    let now = Mirrored {
        value: 0x20,
        events: 1,
    };
    for applied in [0, 1, 1, 7] {
        server.mirror.show(0, now, applied);
        assert_eq!(
            client.mirror.look(0),
            Some((now, u32::try_from(applied).unwrap()))
        );
    }
}

#[test]
fn a_write_of_another_client_that_changes_nothing_counts() {
    let (mut clients, mut server, _peer) = session_of(2);
    let (mut other, mut client) = (clients.pop().unwrap(), clients.pop().unwrap());
    let mut byte = Byte(Mirrored::default());
    server.show_all(&byte);
    let access = Access {
        region: 1,
        offset: 0x20,
        width: Width::Byte,
    };
    other.post(access, 0).unwrap();
    assert_eq!(server.turn_with(&mut byte), Ok(true));
    client.post_effect(1, 0x14, 0x20, EFFECT).unwrap();
    assert_eq!(client.mirrored(0, &[]), Ok(Some(0x20)));
}

/// A worker that shows anything at any time: what a client reads is a value or a violation.
#[test]
fn a_mirror_that_changes_under_a_read_gives_a_value() {
    for round in 1..20_u64 {
        let (mut client, server, _peer) = session();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                for _ in 0..500 {
                    // Nothing is missing, so the count is not looked at.
                    client.mirrored(0, &[]).unwrap();
                }
                let mut violated = false;
                for _ in 0..16 {
                    // Tagged with whatever is seen.
                    let posted = client.post_effect(1, 0x14, 0x24, EFFECT);
                    assert_eq!(posted.is_err(), violated);
                    let read = client.mirrored(0, &[]);
                    assert!(!violated || read.is_err(), "for good");
                    violated = read.is_err();
                }
            });
            let shown = server.mirror.lines.as_ref().unwrap();
            let mut word = round;
            while !reader.is_finished() {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                // Sometimes with a count that can be.
                let mask = if word & 1 == 0 {
                    u64::MAX
                } else {
                    u64::MAX >> 31
                };
                shown.at(0).release(word & mask);
            }
        });
    }
}
