//! Loom: what is read from the mirror is what the device would have answered, whatever else happens
//! meanwhile.

use loom::sync::Arc as LoomArc;
use loom::thread;

use super::{model, session};
use crate::client::Client;
use crate::message::{Access, Request, Width};
use crate::mirror::{Effect, Mirrored, Serve};
use crate::server::Server;
use crate::sync::{AtomicU64, Ordering};

/// A bit that the device sets and a 1 clears.
const STICKY: u8 = 0x04;
/// Bits that read back as written.
const THROUGH: u8 = 0x30;
const EFFECT: Effect = Effect {
    register: 0,
    through: THROUGH,
    clears: STICKY,
};

const REGISTER: Access = Access {
    region: 0,
    offset: 0,
    width: Width::Byte,
};

/// One register: offset 0 takes plain writes, offset 1 sets the high bits.
#[derive(Debug, Default)]
struct Chip {
    value: u8,
    events: u32,
    requests: usize,
}

impl Chip {
    fn event(&mut self) {
        self.value |= STICKY;
        self.events += 1;
    }
}

impl Serve for Chip {
    fn serve(&mut self, request: Request, seen: Option<u32>) -> u64 {
        self.requests += 1;
        match request {
            Request::Read(_) => self.value.into(),
            Request::Write(access, value) => {
                let [value, ..] = value.to_le_bytes();
                if access.offset == 1 {
                    self.value = self.value & 0x3f | value & 0xc0;
                    return 0;
                }
                if value & STICKY != 0 && seen.is_none_or(|seen| seen == self.events) {
                    self.value &= !STICKY;
                }
                self.value = self.value & !THROUGH | value & THROUGH;
                0
            }
        }
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        (register == 0).then_some(Mirrored {
            value: self.value,
            events: self.events,
        })
    }
}

/// One turn, or a sleep until there is something.
fn turn(server: &mut Server, chip: &mut Chip) {
    if !server.turn_with(chip).unwrap() {
        if server.prepare_sleep() {
            server.doorbell.sleep();
        }
        server.awake();
    }
}

fn read(client: &mut Client) -> u8 {
    match client.mirrored(0, &[]).unwrap() {
        Some(value) => value,
        None => client.read(REGISTER).unwrap().to_le_bytes()[0],
    }
}

fn plain(client: &mut Client, value: u8) {
    client.post_effect(0, 0, value, EFFECT).unwrap();
}

fn opaque(client: &mut Client, value: u8) {
    let access = Access {
        offset: 1,
        ..REGISTER
    };
    client.post(access, value.into()).unwrap();
}

#[test]
fn a_read_shows_its_own_clients_posted_writes() {
    model(3, || {
        let (mut clients, mut server) = session(1, 4);
        let mut client = clients.pop().unwrap();
        let mut chip = Chip::default();
        server.show_all(&chip);
        let worker = thread::spawn(move || {
            while chip.requests < 3 {
                turn(&mut server, &mut chip);
            }
        });
        opaque(&mut client, 0x80);
        plain(&mut client, 0x20);
        // Not before the first write was consumed, and then with the second.
        if let Some(value) = client.mirrored(0, &[]).unwrap() {
            assert_eq!(value, 0xa0);
        }
        plain(&mut client, 0x10);
        if let Some(value) = client.mirrored(0, &[]).unwrap() {
            assert_eq!(value, 0x90);
        }
        worker.join().unwrap();
    });
}

/// The device stores a completion and then sets the sticky bit. The driver clears the bit, reads it
/// as clear and looks for completions. Either it sees the completion, or the bit is set afterwards:
/// no completion is lost.
#[test]
fn a_clear_takes_no_event_that_came_after_it() {
    model(3, || {
        let (mut clients, mut server) = session(1, 4);
        let mut client = clients.pop().unwrap();
        let mut chip = Chip::default();
        chip.event();
        server.show_all(&chip);
        let completion = LoomArc::new(AtomicU64::new(0));
        let completions = LoomArc::clone(&completion);
        let worker = thread::spawn(move || {
            completion.store(1, Ordering::Relaxed);
            chip.event();
            server.show_all(&chip);
            while chip.requests < 1 {
                turn(&mut server, &mut chip);
            }
            chip.value & STICKY != 0
        });
        plain(&mut client, STICKY);
        let Some(value) = client.mirrored(0, &[]).unwrap() else {
            panic!("the write's effect is known");
        };
        let found = completions.load(Ordering::Relaxed) == 1;
        let set_again = worker.join().unwrap();
        assert!(set_again || found, "lost");
        assert!(set_again || value & STICKY == 0, "read as set, never to be");
    });
}

/// What the device did before it showed a value is visible with the value.
#[test]
fn the_bit_is_set_after_the_completion() {
    model(3, || {
        let (mut clients, mut server) = session(1, 4);
        let mut client = clients.pop().unwrap();
        let mut chip = Chip::default();
        server.show_all(&chip);
        let (completion, line) = (
            LoomArc::new(AtomicU64::new(0)),
            LoomArc::new(AtomicU64::new(0)),
        );
        let (completions, interrupt) = (LoomArc::clone(&completion), LoomArc::clone(&line));
        let worker = thread::spawn(move || {
            completion.store(1, Ordering::Relaxed);
            chip.event();
            server.show_all(&chip);
            line.store(1, Ordering::Release);
        });
        let interrupted = interrupt.load(Ordering::Acquire) == 1;
        let value = client.mirrored(0, &[]).unwrap().unwrap();
        assert!(!interrupted || value == STICKY, "interrupt before mirror");
        if value == STICKY {
            assert_eq!(completions.load(Ordering::Relaxed), 1);
        }
        worker.join().unwrap();
    });
}

/// One vCPU posts a write, plain or not, and then tells another one, which reads.
#[test]
fn a_read_shows_what_another_vcpu_posted_before() {
    for known in [false, true] {
        model(2, move || {
            let (mut clients, mut server) = session(2, 2);
            let (mut reader, mut writer) = (clients.pop().unwrap(), clients.pop().unwrap());
            let mut chip = Chip::default();
            server.show_all(&chip);
            let told = LoomArc::new(AtomicU64::new(0));
            let tell = LoomArc::clone(&told);
            let writer = thread::spawn(move || {
                if known {
                    plain(&mut writer, 0x20);
                } else {
                    opaque(&mut writer, 0x40);
                }
                tell.store(1, Ordering::Release);
            });
            let reader = thread::spawn(move || {
                let told = told.load(Ordering::Acquire) == 1;
                if let Some(value) = reader.mirrored(0, &[]).unwrap() {
                    assert!(!told || value == if known { 0x20 } else { 0x40 });
                }
            });
            while chip.requests < 1 {
                turn(&mut server, &mut chip);
            }
            writer.join().unwrap();
            reader.join().unwrap();
        });
    }
}

/// Two vCPUs write the register without agreeing on an order, and one reads it. There is an order
/// of the three that explains what was read and what is left.
#[test]
fn writes_of_two_vcpus_and_a_read_have_one_order() {
    model(2, || {
        let (mut clients, mut server) = session(2, 2);
        let (mut one, mut other) = (clients.pop().unwrap(), clients.pop().unwrap());
        let mut chip = Chip::default();
        chip.event();
        server.show_all(&chip);
        let one = thread::spawn(move || {
            plain(&mut one, 0x20);
            one.mirrored(0, &[]).unwrap()
        });
        let other = thread::spawn(move || plain(&mut other, 0x10 | STICKY));
        while chip.requests < 2 {
            turn(&mut server, &mut chip);
        }
        other.join().unwrap();
        if let Some(value) = one.join().unwrap() {
            let explained = [
                (0x20 | STICKY, 0x10), // write, read, other
                (0x10, 0x10),          // write, other, read
                (0x20, 0x20),          // other, write, read
            ];
            let found = (value, chip.value);
            assert!(explained.contains(&found), "{found:x?}");
        }
    });
}

/// A write that changes nothing is one of those that the word counts: a client that reads meanwhile
/// must not take it for its own.
#[test]
fn a_write_that_changes_nothing_is_counted() {
    model(2, || {
        let (mut clients, mut server) = session(2, 2);
        let (mut one, mut other) = (clients.pop().unwrap(), clients.pop().unwrap());
        let mut chip = Chip::default();
        server.show_all(&chip);
        let one = thread::spawn(move || {
            plain(&mut one, 0x20);
            one.mirrored(0, &[]).unwrap()
        });
        let other = thread::spawn(move || opaque(&mut other, 0));
        while chip.requests < 2 {
            turn(&mut server, &mut chip);
        }
        other.join().unwrap();
        let read = one.join().unwrap();
        assert!(read.is_none_or(|value| value == 0x20), "{read:x?}");
    });
}

/// The read of a client whose writes are being consumed while it looks, by way of a crossing where
/// it must.
#[test]
fn a_read_and_a_crossing_agree() {
    model(2, || {
        let (mut clients, mut server) = session(1, 4);
        let mut client = clients.pop().unwrap();
        let mut chip = Chip::default();
        chip.event();
        server.show_all(&chip);
        let worker = thread::spawn(move || {
            while chip.requests < 3 {
                turn(&mut server, &mut chip);
            }
        });
        plain(&mut client, 0x20 | STICKY);
        assert_eq!(read(&mut client), 0x20);
        opaque(&mut client, 0x40);
        assert_eq!(client.read(REGISTER), Ok(0x60));
        assert_eq!(client.mirrored(0, &[]), Ok(Some(0x60)));
        worker.join().unwrap();
    });
}
