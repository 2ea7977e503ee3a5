use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::message::{Access, Request, Width};
use crate::mirror::{Mirrored, Serve};
use crate::{Client, ClientSetup, Error, Geometry, PeerWatch, Server, ServerSetup};

const OFFER: Snapshot = Snapshot {
    value: 0x0480,
    residual: 0x0001,
};

const SUMMARIES: [Summary; 2] = [
    Summary {
        group: 0,
        register: 0,
        bits: 1,
    },
    Summary {
        group: 3,
        register: 0,
        bits: 8,
    },
];

/// A session of so many clients with one mirrored register.
fn session(clients: u32) -> (Vec<Client>, Server, UnixStream) {
    let own = |fd: BorrowedFd<'_>| -> OwnedFd { fd.try_clone_to_owned().unwrap() };
    let geometry = Geometry::new(clients, 32).unwrap();
    let (socket, peer) = UnixStream::pair().unwrap();
    let ours = ClientSetup::new(geometry).unwrap();
    let (requests, mailboxes) = (own(ours.requests()), own(ours.mailboxes()));
    let mut theirs = ServerSetup::new(geometry, requests, mailboxes, 1).unwrap();
    let doorbells = ours.doorbells().into_iter().map(own).collect();
    theirs.add_doorbells(0, doorbells).unwrap();
    let (device, doorbell) = (own(theirs.device()), own(theirs.doorbell()));
    let watch = PeerWatch::Socket(Arc::new(socket.into()));
    let clients = ours.finish(device, doorbell, 64, &watch, Duration::from_secs(5));
    (clients.unwrap(), theirs.finish().unwrap(), peer)
}

/// Two groups of two bytes, 0 and 3. A write to offset 0 or 3 adds causes to one of them.
#[derive(Clone, Debug, Default)]
struct Chip {
    causes: [u16; 2],
    claims: usize,
}

const RESIDUALS: [u16; 2] = [0x8000, 0];

impl Chip {
    fn index(group: u64) -> usize {
        usize::from(group != 0)
    }

    fn read(&mut self, group: u64) -> u16 {
        let group = Self::index(group);
        std::mem::take(&mut self.causes[group]) | RESIDUALS[group]
    }

    fn summary(&self) -> u8 {
        u8::from(self.causes[0] != 0) | u8::from(self.causes[1] != 0) << 3
    }
}

impl Serve for Chip {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        match request {
            Request::Read(access) => self.read(access.offset).into(),
            Request::Write(access, value) => {
                let [a, b, ..] = value.to_le_bytes();
                self.causes[Self::index(access.offset)] |= u16::from_le_bytes([a, b]);
                0
            }
        }
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == 0).then_some(Mirrored {
            value: self.summary(),
            events: 0,
        })
    }

    fn snapshots(&self) -> Snapshots {
        let snapshot = |group: usize| {
            Some(Snapshot {
                value: self.causes[group] | RESIDUALS[group],
                residual: RESIDUALS[group],
            })
        };
        [snapshot(0), None, None, snapshot(1)]
    }

    fn claim(&mut self, group: u32) {
        self.read(group.into());
        self.claims += 1;
    }
}

fn raise(group: u64, causes: u16) -> (Access, u64) {
    let access = Access {
        region: 1,
        offset: group,
        width: Width::Word,
    };
    (access, causes.into())
}

#[test]
fn golden_word() {
    let word = published(OFFER, 5);
    assert_eq!(word, 0x0000_0015_0001_0480);
    assert_eq!(decode(word), State::Published(OFFER));
    assert_eq!(decode(word | CLAIMED), State::Claimed(OFFER));
    assert_eq!(word | CLAIMED, 0x0000_0017_0001_0480);
    assert_eq!(idle(5), 0x0000_0014_0000_0000);
    for other in [0, idle(5), idle(5) | CLAIMED, !PUBLISHED] {
        assert_eq!(decode(other), State::Idle);
    }
}

#[test]
fn a_word_is_taken_once_and_then_reads_as_what_is_left() {
    let (mut clients, mut server, _peer) = session(2);
    let mut chip = Chip {
        causes: [4, 0],
        claims: 0,
    };
    assert_eq!(clients[0].claim(0, 0xffff), Ok(None));
    server.show_all(&chip);
    server.publish_snapshots(&chip);
    assert_eq!(clients[1].mirrored(0, &SUMMARIES), Ok(Some(1)));
    assert_eq!(clients[0].claim(0, 0xffff), Ok(Some(0x8004)));
    for client in &mut clients {
        assert_eq!(client.mirrored(0, &SUMMARIES), Ok(Some(0)));
        assert_eq!(client.claim(0, 0xffff), Ok(Some(0x8000)));
    }
    assert_eq!(clients[1].claim(3, 0xffff), Ok(Some(0)));
    assert_eq!(chip.claims, 0);
    server.settle_claims(&mut chip);
    assert_eq!((chip.claims, chip.causes), (2, [0, 0]));
    assert_eq!(
        clients[1].claim(0, 0xffff),
        Ok(None),
        "until it is published"
    );
    assert_eq!(clients[1].mirrored(0, &SUMMARIES), Ok(Some(0)));
    server.settle_claims(&mut chip);
    assert_eq!(chip.claims, 2);
    let counted = clients.iter().map(|it| it.counters().snapshot().mirrored);
    assert_eq!(counted.sum::<u64>(), 8);
}

#[test]
fn a_byte_takes_no_more_than_itself() {
    let (mut clients, mut server, _peer) = session(1);
    let client = &mut clients[0];
    let chip = Chip {
        causes: [0x0104, 0x0100],
        claims: 0,
    };
    server.show_all(&chip);
    server.publish_snapshots(&chip);
    assert_eq!(client.claim(0, 0x00ff), Ok(None));
    assert_eq!(client.claim(0, 0xff00), Ok(None));
    assert_eq!(client.claim(3, 0x00ff), Ok(None));
    assert_eq!(client.claim(3, 0xff00), Ok(Some(0x0100)));
    assert_eq!(client.claim(3, 0x00ff), Ok(Some(0)));
    assert_eq!(client.claim(0, 0xffff), Ok(Some(0x8104)));
    for none in [1, 2, 4, 7, u32::MAX] {
        assert_eq!(client.claim(none, 0xffff), Ok(None), "{none}");
    }
}

#[test]
fn what_another_one_posted_comes_first() {
    let (mut clients, mut server, _peer) = session(2);
    let (mut other, mut client) = (clients.pop().unwrap(), clients.pop().unwrap());
    let mut chip = Chip {
        causes: [4, 0],
        claims: 0,
    };
    server.show_all(&chip);
    server.publish_snapshots(&chip);
    let (access, value) = raise(0, 2);
    other.post(access, value).unwrap();
    assert_eq!(client.claim(0, 0xffff), Ok(None));
    assert_eq!(server.turn_with(&mut chip), Ok(true));
    assert_eq!(client.claim(0, 0xffff), Ok(Some(0x8006)));
    client.post(access, value).unwrap();
    assert_eq!(client.claim(0, 0xffff), Ok(None), "its own");
    assert_eq!(server.turn_with(&mut chip), Ok(true));
    assert_eq!(chip.causes[0], 2, "claimed before the write");
}

#[test]
fn a_request_that_came_another_way_finds_it_taken() {
    let (mut clients, mut server, _peer) = session(1);
    let mut chip = Chip {
        causes: [4, 0],
        claims: 0,
    };
    server.show_all(&chip);
    server.publish_snapshots(&chip);
    assert_eq!(clients[0].claim(0, 0xffff), Ok(Some(0x8004)));
    server.apply_posted_with(&mut chip).unwrap();
    assert_eq!((chip.claims, chip.causes[0]), (1, 0));
    // Nothing is published until that request is done.
    chip.causes[0] = 8;
    assert_eq!(clients[0].claim(0, 0xffff), Ok(None));
    server.show_all(&chip);
    server.publish_snapshots(&chip);
    assert_eq!(clients[0].claim(0, 0xffff), Ok(Some(0x8008)));
}

#[test]
fn a_word_that_the_worker_did_not_write_is_a_violation() {
    let word = published(
        Snapshot {
            value: 0x8004,
            residual: 0x8000,
        },
        1,
    );
    for found in [0, word ^ 1, word ^ PUBLISHED, word ^ 1 << 34, u64::MAX] {
        let (clients, mut server, _peer) = session(1);
        let mut chip = Chip {
            causes: [4, 0],
            claims: 0,
        };
        server.show_all(&chip);
        server.publish_snapshots(&chip);
        assert_eq!(clients[0].mirror.clears.at(0).glance(), word);
        clients[0].mirror.clears.at(0).release(found);
        server.settle_claims(&mut chip);
        assert_eq!(chip.claims, 0);
        let corrupt = Err(Error::Corrupt(Violation::ReadToClear(found)));
        assert!(!server.prepare_sleep(), "the next turn has to say it");
        assert_eq!(server.turn_with(&mut chip), corrupt);
        assert!(server.revoke().is_empty());
        assert_eq!(server.turn_with(&mut chip), corrupt, "for good");
    }
}

/// A worker that writes anything at any time: what a client reads is a value, or it makes a
/// crossing.
#[test]
fn a_word_that_changes_under_a_read_gives_a_value() {
    let (mut clients, mut server, _peer) = session(1);
    let client = &mut clients[0];
    server.show_all(&Chip::default());
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            for round in 0..5000 {
                client.mirrored(0, &SUMMARIES).unwrap();
                let mask = [0xffff, 0x00ff, 0xff00][round % 3];
                let value = client.claim(u32::try_from(round % 5).unwrap(), mask);
                assert!(value.unwrap().is_none_or(|value| value & !mask == 0));
            }
        });
        let mut word = 1_u64;
        while !reader.is_finished() {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            server.snapshots.lines.at(word % 4).release(word);
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Take {
        client: usize,
        group: u32,
        mask: u16,
    },
    Summary {
        client: usize,
    },
    Post {
        client: usize,
        group: u64,
        causes: u16,
    },
    Turn,
    Collect,
    /// The device raises something of its own.
    Raise {
        group: usize,
        causes: u16,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let group = prop_oneof![Just(0_u32), Just(3)];
    let causes = prop_oneof![Just(1_u16), Just(0x0100), Just(0x0204)];
    let mask = prop_oneof![Just(0xffff_u16), Just(0x00ff), Just(0xff00)];
    (0..6, 0_usize..2, group, causes, mask).prop_map(|(what, client, group, causes, mask)| {
        match what {
            0 => Act::Take {
                client,
                group,
                mask,
            },
            1 => Act::Summary { client },
            2 => Act::Post {
                client,
                group: group.into(),
                causes,
            },
            3 => Act::Turn,
            4 => Act::Collect,
            _ => Act::Raise {
                group: usize::from(group != 0),
                causes,
            },
        }
    })
}

proptest! {
    /// Two clients and the worker by turns: what is answered here is what a device answers that has
    /// claimed in everything at once.
    #[test]
    fn answers_are_the_devices(acts in prop::collection::vec(act(), 1..60)) {
        let (mut clients, mut server, _peer) = session(2);
        let mut chip = Chip::default();
        // The device as the guest knows it, and writes that it has not seen.
        let mut model = Chip::default();
        let mut posted = 0;
        server.show_all(&chip);
        server.publish_snapshots(&chip);
        for act in acts {
            match act {
                Act::Take { client, group, mask } => {
                    let found = clients[client].claim(group, mask).unwrap();
                    if let Some(found) = found {
                        prop_assert_eq!(posted, 0);
                        let index = Chip::index(group.into());
                        prop_assert_eq!(found, (model.causes[index] | RESIDUALS[index]) & mask);
                        model.causes[index] &= !mask;
                    }
                }
                Act::Summary { client } => {
                    if let Some(found) = clients[client].mirrored(0, &SUMMARIES).unwrap() {
                        prop_assert_eq!(posted, 0);
                        prop_assert_eq!(found, model.summary());
                    }
                }
                Act::Post { client, group, causes } => {
                    if posted < 16 {
                        let (access, value) = raise(group, causes);
                        clients[client].post(access, value).unwrap();
                        model.causes[Chip::index(group)] |= causes;
                        posted += 1;
                    }
                }
                Act::Turn => {
                    server.turn_with(&mut chip).unwrap();
                    posted = 0;
                }
                Act::Collect => server.settle_claims(&mut chip),
                Act::Raise { group, causes } => {
                    let claimed = server.revoke();
                    if !claimed.is_empty() {
                        claimed.groups().for_each(|group| chip.claim(group));
                        server.show_all(&chip);
                        server.claims_done();
                    }
                    for chip in [&mut chip, &mut model] {
                        chip.causes[group] |= causes;
                    }
                    server.show_all(&chip);
                    server.publish_snapshots(&chip);
                }
            }
        }
        server.turn_with(&mut chip).unwrap();
        server.settle_claims(&mut chip);
        prop_assert_eq!(chip.causes, model.causes);
    }
}
