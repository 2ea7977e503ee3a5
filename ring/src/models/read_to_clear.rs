//! Loom: what a client claims from a read-to-clear group's word is what a read of the device would
//! have claimed, once and in order.

use loom::sync::Arc as LoomArc;
use loom::thread;

use super::{model, session};
use crate::client::Client;
use crate::message::{Access, Request, Width};
use crate::mirror::{Effect, Mirrored, Serve};
use crate::read_to_clear::{Snapshot, Snapshots, Summary};
use crate::server::Server;
use crate::sync::{AtomicU64, Ordering};

/// The mirrored register: group 0 has something, group 1 has something, a bit that reads back as
/// written.
const FIRST: u8 = 0x02;
const SECOND: u8 = 0x01;
const THROUGH: u8 = 0x10;

const SUMMARIES: [Summary; 2] = [
    Summary {
        group: 0,
        register: 0,
        bits: FIRST,
    },
    Summary {
        group: 1,
        register: 0,
        bits: SECOND,
    },
];

/// What a group without causes reads as.
const RESIDUAL: u16 = 0x80;

fn at(offset: u64) -> Access {
    Access {
        region: 0,
        offset,
        width: Width::Byte,
    }
}

/// Offset 0 is the register; 1 and 2 are the groups; a write to 3 replaces group 0's causes and
/// what was written through.
#[derive(Debug, Default)]
struct Chip {
    causes: [u16; 2],
    through: u8,
    requests: usize,
    /// What was claimed, by reads and by way of snapshots.
    reads: Vec<u16>,
    claims: Vec<u16>,
}

impl Chip {
    fn raised(causes: [u16; 2]) -> Self {
        Self {
            causes,
            ..Self::default()
        }
    }

    fn clear(&mut self, group: usize) -> u16 {
        std::mem::take(&mut self.causes[group])
    }
}

impl Serve for Chip {
    fn serve(&mut self, request: Request, _: Option<u32>) -> u64 {
        self.requests += 1;
        match request {
            Request::Read(access) => match access.offset {
                0 => self.mirrored(0).unwrap().value.into(),
                group => {
                    let value = self.clear(group as usize - 1);
                    self.reads.push(value);
                    (value | RESIDUAL).into()
                }
            },
            Request::Write(access, value) => {
                let [value, ..] = value.to_le_bytes();
                if access.offset == 3 {
                    self.causes[0] = value.into();
                    self.through = 0;
                } else {
                    self.through = value & THROUGH;
                }
                0
            }
        }
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        let bit = |group: usize, bit| if self.causes[group] == 0 { 0 } else { bit };
        (register == 0).then_some(Mirrored {
            value: bit(0, FIRST) | bit(1, SECOND) | self.through,
            events: 0,
        })
    }

    fn snapshots(&self) -> Snapshots {
        let snapshot = |causes| Snapshot {
            value: causes | RESIDUAL,
            residual: RESIDUAL,
        };
        let mut snapshots = Snapshots::default();
        if self.causes != [0, 0] {
            snapshots[0] = Some(snapshot(self.causes[0]));
            snapshots[1] = Some(snapshot(self.causes[1]));
        }
        snapshots
    }

    fn claim(&mut self, group: u32) {
        let value = self.clear(group as usize);
        self.claims.push(value);
    }
}

fn show(server: &mut Server, chip: &Chip) {
    server.show_all(chip);
    server.publish_snapshots(chip);
}

/// One client, and a device with these causes, which it snapshots.
fn alone(causes: [u16; 2]) -> (Client, Server, Chip) {
    let (mut clients, mut server) = session(1, 2);
    let chip = Chip::raised(causes);
    show(&mut server, &chip);
    (clients.pop().unwrap(), server, chip)
}

/// The device does something of its own.
fn step(server: &mut Server, chip: &mut Chip, act: impl FnOnce(&mut Chip)) {
    let claimed = server.revoke();
    if !claimed.is_empty() {
        claimed.groups().for_each(|group| chip.claim(group));
        server.show_all(chip);
        server.claims_done();
    }
    act(chip);
    show(server, chip);
}

/// Serves so many requests, and collects what was claimed.
fn work(server: &mut Server, chip: &mut Chip, requests: usize) {
    while chip.requests < requests {
        if !server.turn_with(chip).unwrap() {
            if server.prepare_sleep() {
                server.doorbell.sleep();
            }
            server.awake();
        }
    }
    server.settle_claims(chip);
}

/// Collects what was claimed, without the look that comes first elsewhere: with it loom leaves out
/// the interleavings in between.
fn collect(server: &mut Server, chip: &mut Chip) {
    server.apply_posted_with(chip).unwrap();
}

fn claim(client: &mut Client, group: u32) -> Option<u16> {
    client
        .claim(group, 0xff)
        .unwrap()
        .map(|value| value & !RESIDUAL)
}

fn mirrored(client: &mut Client) -> Option<u8> {
    client.mirrored(0, &SUMMARIES).unwrap()
}

fn plain(client: &mut Client) {
    let effect = Effect {
        register: 0,
        through: THROUGH,
        clears: 0,
    };
    client.post_effect(0, 0, THROUGH, effect).unwrap();
}

/// Two vCPUs read: by way of the snapshot if they can, else by a crossing. One of them gets what
/// was there.
#[test]
fn one_of_two_readers_takes_it() {
    model(2, || {
        let (clients, mut server) = session(2, 2);
        let mut chip = Chip::raised([4, 0]);
        show(&mut server, &chip);
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                thread::spawn(move || {
                    let published = claim(&mut client, 0);
                    if published.is_none() {
                        let value = client.read(at(1)).unwrap() as u16;
                        return value & !RESIDUAL;
                    }
                    // For the worker's count.
                    client.post(at(0), 0).unwrap();
                    published.unwrap()
                })
            })
            .collect();
        work(&mut server, &mut chip, 2);
        let mut got: Vec<_> = readers.into_iter().map(|it| it.join().unwrap()).collect();
        server.settle_claims(&mut chip);
        got.sort_unstable();
        assert_eq!(got, [0, 4]);
        assert_eq!(chip.causes[0], 0);
        let all: u16 = chip.reads.iter().chain(&chip.claims).sum();
        assert_eq!(all, 4);
    });
}

/// The same condition comes again while a client claims the first.
#[test]
fn a_condition_that_comes_again_is_not_taken_with_the_first() {
    model(3, || {
        let (mut client, mut server, mut chip) = alone([4, 0]);
        let first = LoomArc::new(AtomicU64::new(0));
        let raised = LoomArc::clone(&first);
        let worker = thread::spawn(move || {
            let mut merged = false;
            step(&mut server, &mut chip, |chip| {
                merged = chip.causes[0] != 0;
                chip.causes[0] |= 4;
            });
            raised.store(1, Ordering::Release);
            (server, chip, merged)
        });
        let value = claim(&mut client, 0);
        let again = claim(&mut client, 0);
        let (mut server, mut chip, merged) = worker.join().unwrap();
        server.settle_claims(&mut chip);
        let got = [value, again]
            .iter()
            .filter(|&&value| value == Some(4))
            .count();
        let left = usize::from(chip.causes[0] == 4);
        // One, if the second came on top of the first.
        assert_eq!(
            got + left,
            if merged { 1 } else { 2 },
            "{value:?} {again:?}"
        );
        assert_eq!(chip.claims.iter().filter(|&&value| value == 4).count(), got);
        drop(first);
    });
}

/// A client claims, then posts a write that changes the same register: the device claims first.
#[test]
fn a_take_comes_before_the_write_after_it() {
    model(3, || {
        let (mut client, mut server, mut chip) = alone([4, 0]);
        let worker = thread::spawn(move || {
            work(&mut server, &mut chip, 1);
            chip
        });
        assert_eq!(claim(&mut client, 0), Some(4));
        client.post(at(3), 8).unwrap();
        // Not what was written before, but for by way of the worker.
        let then = claim(&mut client, 0);
        assert!(then.is_none() || then == Some(8), "{then:?}");
        let chip = worker.join().unwrap();
        assert_eq!(chip.claims[0], 4);
        assert_eq!(
            chip.causes[0] == 0,
            then.is_some() && chip.claims.len() == 2
        );
    });
}

/// One vCPU claims and reads the register; then it tells another one, which reads it too. The
/// device goes on meanwhile, and raises another condition.
#[test]
fn the_summary_is_clear_for_who_took_and_for_who_was_told() {
    model(2, || {
        let (mut clients, mut server) = session(2, 2);
        let (mut other, mut one) = (clients.pop().unwrap(), clients.pop().unwrap());
        let mut chip = Chip::raised([4, 0]);
        show(&mut server, &chip);
        let told = LoomArc::new(AtomicU64::new(0));
        let tell = LoomArc::clone(&told);
        let one = thread::spawn(move || {
            let value = claim(&mut one, 0);
            let seen = mirrored(&mut one);
            if value == Some(4) {
                tell.store(1, Ordering::Release);
            }
            (value, seen)
        });
        let other = thread::spawn(move || {
            let told = told.load(Ordering::Acquire) == 1;
            (told, mirrored(&mut other))
        });
        collect(&mut server, &mut chip);
        step(&mut server, &mut chip, |chip| chip.causes[1] |= 8);
        let (value, seen) = one.join().unwrap();
        let (told, also) = other.join().unwrap();
        if value == Some(4) {
            assert!(seen.is_none_or(|it| it & FIRST == 0), "{seen:?}");
        }
        if told {
            assert!(also.is_none_or(|it| it & FIRST == 0), "{also:?}");
        }
    });
}

/// A client that claimed finds it claimed, while the device collects it and afterwards.
#[test]
fn what_was_taken_stays_taken_while_it_is_collected() {
    model(3, || {
        let (mut client, mut server, mut chip) = alone([4, 0]);
        let worker = thread::spawn(move || collect(&mut server, &mut chip));
        // Else the worker was first, and left what there is.
        let left = match claim(&mut client, 0) {
            Some(4) => 0,
            other => {
                assert_eq!(other, None);
                FIRST
            }
        };
        assert!(mirrored(&mut client).is_none_or(|it| it == left));
        worker.join().unwrap();
        assert_eq!(mirrored(&mut client), Some(left));
    });
}

/// The device that finds something claimed sees what its reader did before; the reader sees what
/// the device did before it published.
#[test]
fn a_take_tells_either_side() {
    model(3, || {
        let (mut clients, mut server) = session(1, 2);
        let mut client = clients.pop().unwrap();
        let mut chip = Chip::default();
        show(&mut server, &chip);
        let said = LoomArc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let heard = LoomArc::clone(&said);
        let worker = thread::spawn(move || {
            heard[0].store(1, Ordering::Relaxed);
            step(&mut server, &mut chip, |chip| chip.causes[0] = 4);
            if !server.revoke().is_empty() {
                assert_eq!(heard[1].load(Ordering::Relaxed), 1);
            }
        });
        said[1].store(1, Ordering::Relaxed);
        if claim(&mut client, 0) == Some(4) {
            assert_eq!(said[0].load(Ordering::Relaxed), 1);
        }
        worker.join().unwrap();
    });
}

/// Whoever reads that there is something, and then claims, gets it: the register is not older or
/// newer than the word.
#[test]
fn a_summary_that_is_set_has_something_behind_it() {
    model(3, || {
        let (mut client, mut server, mut chip) = alone([4, 0]);
        let worker = thread::spawn(move || {
            collect(&mut server, &mut chip);
            step(&mut server, &mut chip, |chip| chip.causes[0] |= 8);
        });
        let mut left = 0x0c;
        for _ in 0..2 {
            let seen = mirrored(&mut client);
            let claimed = claim(&mut client, 0);
            if seen.is_some_and(|it| it & FIRST != 0) {
                assert_ne!(claimed, Some(0), "claimed by nobody");
            }
            if let Some(claimed) = claimed {
                assert_eq!(claimed & !left, 0, "claimed twice");
                left &= !claimed;
            }
        }
        worker.join().unwrap();
    });
}

/// Two vCPUs take different groups, and each looks whether the other one's is still there: not both
/// can be the first.
#[test]
fn two_that_take_agree_on_an_order() {
    model(3, || {
        let (mut clients, mut server) = session(2, 2);
        let chip = Chip::raised([4, 8]);
        show(&mut server, &chip);
        let (mut other, mut one) = (clients.pop().unwrap(), clients.pop().unwrap());
        let other = thread::spawn(move || (claim(&mut other, 1), mirrored(&mut other)));
        let seen = (claim(&mut one, 0), mirrored(&mut one));
        let also = other.join().unwrap();
        assert_eq!((seen.0, also.0), (Some(4), Some(8)));
        let both_first = seen.1 == Some(SECOND) && also.1 == Some(FIRST);
        assert!(!both_first);
        for (seen, own) in [(seen.1, FIRST), (also.1, SECOND)] {
            assert!(seen.is_none_or(|it| it & own == 0));
        }
    });
}

/// A plain write that the worker has not seen yet does not keep its client from taking; what
/// another one posts does not come between.
#[test]
fn a_plain_write_stays_before_the_take() {
    model(2, || {
        let (mut clients, mut server) = session(2, 2);
        let (mut other, mut one) = (clients.pop().unwrap(), clients.pop().unwrap());
        let mut chip = Chip::raised([4, 0]);
        show(&mut server, &chip);
        let one = thread::spawn(move || {
            plain(&mut one);
            claim(&mut one, 0)
        });
        // Takes the causes away, and what was written through.
        let other = thread::spawn(move || other.post(at(3), 0).unwrap());
        work(&mut server, &mut chip, 2);
        other.join().unwrap();
        let claimed = one.join().unwrap() == Some(4);
        assert!(
            !(claimed && chip.through != 0),
            "the other's write came between"
        );
    });
}
