//! Loom: every wait and wake, and the order of accesses, over all interleavings that a bounded
//! number of preemptions gives.
//!
//! A lost wake-up leaves a thread asleep for ever, which loom reports as a deadlock; a body that is
//! read while it is written is a race, which it reports too.

mod mirror;
mod read_to_clear;

use std::time::Duration;

use loom::sync::Arc as LoomArc;
use loom::thread;

use crate::client::Client;
use crate::consumer::Consumer;
use crate::doorbell::{Alarm, Doorbell};
use crate::mailbox::{MailboxClient, MailboxServer};
use crate::memory::Mapping;
use crate::message::{Access, Request, Width};
use crate::mirror::{MirrorClient, MirrorServer, Posted};
use crate::producer::Producer;
use crate::read_to_clear::{GROUPS, SnapshotServer};
use crate::server::{Channel, Server, Turn};
use crate::statistics::{Statistics, Tally};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::Sleeper;

const REGISTER: Access = Access {
    region: 0,
    offset: 0,
    width: Width::Dword,
};

fn session(channels: usize, slots: usize) -> (Vec<Client>, Server) {
    let flag = Mapping::new(1);
    let statistics = Mapping::new(1);
    let bell = Doorbell::new();
    let tickets = (channels > 1).then(|| std::sync::Arc::new(AtomicU64::new(0)));
    let mirror = Mapping::new(1);
    let clears = Mapping::new(GROUPS);
    let posted: std::sync::Arc<[Posted]> = (0..channels).map(|_| Posted::default()).collect();
    let consumed: Vec<_> = (0..channels).map(|_| Mapping::new(1)).collect();
    let mut clients = Vec::new();
    let mut served = Vec::new();
    for channel in 0..channels {
        let (ring, mailbox) = (Mapping::new(slots), Mapping::new(1));
        let counters = consumed.iter().map(Mapping::peer).collect();
        let consumed = &consumed[channel];
        let (client_flag, client_bell) = (Mapping::new(1), Doorbell::new());
        let claims = Mapping::new(1);
        clients.push(Client {
            producer: Producer::new(ring.own(), consumed.peer()),
            mailbox: MailboxClient::new(mailbox.own()),
            sleeper: Sleeper {
                flag: client_flag.own(),
                alarm: Alarm(client_bell.clone()),
                deadline: Duration::MAX,
                number: 0,
            },
            worker: flag.peer(),
            worker_statistics: statistics.peer(),
            doorbell: bell.clone(),
            rung: 0,
            tickets: tickets.clone(),
            mirror: MirrorClient::new(
                Some(mirror.peer()),
                1,
                clears.own(),
                posted.clone(),
                channel,
                counters,
            ),
            failed: None,
            tally: Tally::new(claims.own()),
        });
        served.push(Channel {
            consumer: Consumer::new(ring.peer(), consumed.own()),
            mailbox: MailboxServer::new(mailbox.own()),
            client: client_flag.peer(),
            claims: claims.peer(),
            doorbell: client_bell,
            rung: 0,
            target: 0,
        });
    }
    let server = Server {
        channels: served,
        flag: flag.own(),
        statistics_line: statistics.own(),
        doorbell: bell,
        cpu: 0,
        sleeps: 0,
        mirror: MirrorServer::new(Some(mirror.own()), 1),
        snapshots: SnapshotServer::new(clears.own()),
        statistics: Statistics::default(),
        turn: Turn::default(),
        waiting: None,
        next: 0,
        failed: None,
    };
    (clients, server)
}

/// The worker: serves a register until `count` requests came, and sleeps whenever there is nothing.
/// The requests, in order. It watches its doorbell edge-triggered, so it never drains it.
fn work(mut server: Server, count: usize) -> Vec<Request> {
    let mut register = 0;
    let mut requests = Vec::new();
    while requests.len() < count {
        let found = server.turn(|request| {
            requests.push(request);
            match request {
                Request::Read(_) => register,
                Request::Write(_, value) => {
                    register = value;
                    0
                }
            }
        });
        if !found.unwrap() {
            if server.prepare_sleep() {
                server.doorbell.sleep();
            }
            server.awake();
        }
    }
    requests
}

fn writes(requests: &[Request]) -> Vec<u64> {
    let value = |request: &Request| match request {
        Request::Write(_, value) => Some(*value),
        Request::Read(_) => None,
    };
    requests.iter().filter_map(value).collect()
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

#[test]
fn posted_writes_wake_a_sleeping_worker() {
    model(3, || {
        let (mut clients, server) = session(1, 4);
        let worker = thread::spawn(move || work(server, 2));
        let mut client = clients.pop().unwrap();
        client.post(REGISTER, 1).unwrap();
        client.post(REGISTER, 2).unwrap();
        assert_eq!(writes(&worker.join().unwrap()), [1, 2]);
    });
}

#[test]
fn room_wakes_a_sleeping_client() {
    model(3, || {
        let (mut clients, server) = session(1, 1);
        let worker = thread::spawn(move || work(server, 3));
        let mut client = clients.pop().unwrap();
        client
            .post_all([(REGISTER, 1), (REGISTER, 2), (REGISTER, 3)])
            .unwrap();
        assert_eq!(writes(&worker.join().unwrap()), [1, 2, 3]);
    });
}

#[test]
fn a_slot_is_not_reused_while_it_is_read() {
    model(3, || {
        let (mut clients, server) = session(1, 2);
        let worker = thread::spawn(move || work(server, 4));
        let mut client = clients.pop().unwrap();
        for value in 0..4 {
            client.post(REGISTER, value).unwrap();
        }
        assert_eq!(writes(&worker.join().unwrap()), [0, 1, 2, 3]);
    });
}

#[test]
fn both_sides_of_a_crossing_sleep_and_wake() {
    model(3, || {
        let (mut clients, server) = session(1, 2);
        let worker = thread::spawn(move || work(server, 4));
        let mut client = clients.pop().unwrap();
        client.post(REGISTER, 7).unwrap();
        assert_eq!(client.read(REGISTER), Ok(7));
        client.write(REGISTER, 8).unwrap();
        assert_eq!(client.read(REGISTER), Ok(8));
        worker.join().unwrap();
    });
}

#[test]
fn a_fence_waits_for_the_effect() {
    model(3, || {
        let (mut clients, mut server) = session(1, 2);
        let effect = LoomArc::new(AtomicU64::new(0));
        let seen = LoomArc::clone(&effect);
        let worker = thread::spawn(move || {
            while effect.load(Ordering::Relaxed) == 0 {
                let serve = |_| {
                    effect.store(1, Ordering::Relaxed);
                    0
                };
                if !server.turn(serve).unwrap() {
                    if server.prepare_sleep() {
                        server.doorbell.sleep();
                    }
                    server.awake();
                    server.drain_doorbell();
                }
            }
        });
        let mut client = clients.pop().unwrap();
        client.post(REGISTER, 7).unwrap();
        client.fence().unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 1);
        worker.join().unwrap();
    });
}

#[test]
fn two_clients_wake_one_worker() {
    model(2, || {
        let (clients, server) = session(2, 2);
        let clients: Vec<_> = clients
            .into_iter()
            .map(|mut client| thread::spawn(move || client.post(REGISTER, 1).unwrap()))
            .collect();
        assert_eq!(work(server, 2).len(), 2);
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// One vCPU posts a write and then tells another one, which reads.
#[test]
fn a_read_sees_what_another_vcpu_posted_before() {
    model(2, || {
        let (mut clients, server) = session(2, 2);
        let (mut reader, mut writer) = (clients.pop().unwrap(), clients.pop().unwrap());
        let told = LoomArc::new(AtomicU64::new(0));
        let tell = LoomArc::clone(&told);
        let writer = thread::spawn(move || {
            writer.post(REGISTER, 7).unwrap();
            tell.store(1, Ordering::Release);
        });
        let reader = thread::spawn(move || {
            let told = told.load(Ordering::Acquire) == 1;
            let value = reader.read(REGISTER).unwrap();
            assert!(!told || value == 7);
        });
        work(server, 2);
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// One vCPU posts a write and then tells another one, which posts a write of its own. Both channel
/// orders.
#[test]
fn posted_writes_of_two_vcpus_keep_their_order() {
    for first in [0, 1] {
        model(2, move || {
            let (mut clients, server) = session(2, 2);
            let mut early = clients.remove(first);
            let mut late = clients.pop().unwrap();
            let told = LoomArc::new(AtomicU64::new(0));
            let tell = LoomArc::clone(&told);
            let early = thread::spawn(move || {
                early.post(REGISTER, 1).unwrap();
                tell.store(1, Ordering::Release);
            });
            let late = thread::spawn(move || {
                let told = told.load(Ordering::Acquire) == 1;
                late.post(REGISTER, 2).unwrap();
                told
            });
            let order = writes(&work(server, 2));
            early.join().unwrap();
            if late.join().unwrap() {
                assert_eq!(order, [1, 2]);
            }
        });
    }
}

/// A vCPU hands over two writes together, tells another one, and that posts a write of its own; or
/// the other way round.
#[test]
fn batches_keep_their_order() {
    for batch_first in [true, false] {
        model(2, move || {
            let (mut clients, server) = session(2, 2);
            let (mut early, mut late) = (clients.remove(0), clients.remove(0));
            let told = LoomArc::new(AtomicU64::new(0));
            let tell = LoomArc::clone(&told);
            let batch = [(REGISTER, 2), (REGISTER, 3)];
            let (first, then): (Vec<_>, Vec<_>) = match batch_first {
                true => (batch.into(), vec![(REGISTER, 4)]),
                false => (vec![(REGISTER, 1)], batch.into()),
            };
            let early = thread::spawn(move || {
                early.post_all(first).unwrap();
                tell.store(1, Ordering::Release);
            });
            let late = thread::spawn(move || {
                let told = told.load(Ordering::Acquire) == 1;
                late.post_all(then).unwrap();
                told
            });
            let order = writes(&work(server, 3));
            early.join().unwrap();
            if late.join().unwrap() {
                assert!(order.is_sorted());
            }
            let at = |wanted| order.iter().position(|&value| value == wanted);
            assert!(at(2) < at(3));
        });
    }
}

/// A vCPU posts a write, another one that was told of it posts one, and the first one that was told
/// of that posts again.
#[test]
fn a_ring_does_not_run_ahead_of_what_came_between() {
    model(2, || {
        let (mut clients, server) = session(2, 2);
        let (mut first, mut second) = (clients.remove(0), clients.remove(0));
        let told = LoomArc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let tell = LoomArc::clone(&told);
        let first = thread::spawn(move || {
            first.post(REGISTER, 1).unwrap();
            tell[0].store(1, Ordering::Release);
            let told = tell[1].load(Ordering::Acquire) == 1;
            first.post(REGISTER, 3).unwrap();
            told
        });
        let second = thread::spawn(move || {
            let heard = told[0].load(Ordering::Acquire) == 1;
            second.post(REGISTER, 2).unwrap();
            told[1].store(1, Ordering::Release);
            heard
        });
        let order = writes(&work(server, 3));
        let at = |wanted| order.iter().position(|&value| value == wanted);
        assert!(!second.join().unwrap() || at(1) < at(2));
        assert!(!first.join().unwrap() || at(2) < at(3));
    });
}
