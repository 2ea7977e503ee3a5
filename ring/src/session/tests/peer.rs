//! What a hostile peer writes into the memories afterwards.

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Violation};
use crate::layout::LINE;
use crate::memory::Body;

fn put(mapping: &Arc<Mapping>, offset: u64, stamp: u64, body: Body) {
    let lines = mapping.own(offset, 1).unwrap();
    lines.at(0).fill(body);
    lines.at(0).release(stamp);
}

fn write(order: u64) -> Body {
    Message {
        request: Request::Write(ACCESS, 1),
        order,
        seen: None,
    }
    .encode()
}

#[test]
fn a_slots_stamp_is_the_old_or_the_next_one() {
    for stamp in [2, 3, 15, 16, 17, 18, 1 << 32, u64::MAX - 1, u64::MAX] {
        let mut session = session();
        put(&session.requests, geometry().slots_at(1), stamp, write(0));
        assert!(!session.server.prepare_sleep());
        let corrupt = Error::Corrupt(Violation::Stamp {
            expected: 1,
            found: stamp,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt), "{stamp:#x}");
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
    let mut session = session();
    put(
        &session.requests,
        geometry().slots_at(1),
        1,
        write(u64::MAX),
    );
    assert_eq!(session.server.turn(|_| 0), Ok(true));
    // The second slot still says what it said before.
    put(
        &session.requests,
        geometry().slots_at(1) + LINE,
        1,
        write(0),
    );
    assert!(session.server.turn(|_| 0).is_err());
}

#[test]
fn a_mailbox_names_the_end_of_its_own_ring() {
    for position in [1, 2, 17, u64::MAX] {
        let mut session = session();
        put(&session.mailboxes, Geometry::mailbox(0), 1, write(position));
        let corrupt = Error::Corrupt(Violation::Position {
            position,
            published: 0,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
    for stamp in [2, 3, u64::MAX] {
        let mut session = session();
        put(&session.mailboxes, Geometry::mailbox(1), stamp, write(0));
        let corrupt = Error::Corrupt(Violation::Stamp {
            expected: 1,
            found: stamp,
        });
        assert_eq!(session.server.turn(|_| 0), Err(corrupt));
    }
}

#[test]
fn a_client_believes_no_impossible_counter_or_reply() {
    for consumed in [17, u64::MAX] {
        let mut session = session();
        put(&session.device, Geometry::consumed(0), consumed, [0; 7]);
        let client = &mut session.clients[0];
        client
            .post_all((0..16).map(|value| (ACCESS, value)))
            .unwrap();
        assert_eq!(
            client.post(ACCESS, 0),
            Err(Violation::Consumed(consumed).into())
        );
        assert_eq!(
            client.read(ACCESS),
            Err(Violation::Consumed(consumed).into())
        );
    }
    let mut session = session();
    put(&session.device, Geometry::consumed(0), 3, [0; 7]);
    let client = &mut session.clients[0];
    client
        .post_all((0..4).map(|value| (ACCESS, value)))
        .unwrap();
    assert_eq!(client.fence(), Err(Error::TimedOut));
}

#[test]
fn a_reply_is_no_wider_than_the_access() {
    for (reply, stamp) in [(0x1_0000_0000, 2), (1, 3), (1, 4), (1, u64::MAX)] {
        let mut session = session();
        let mailboxes = Arc::clone(&session.mailboxes);
        let client = &mut session.clients[0];
        // The reply that will be there, in place of the worker's.
        client.mailbox.send(Message {
            request: Request::Read(ACCESS),
            order: 0,
            seen: None,
        });
        put(
            &mailboxes,
            Geometry::mailbox(0),
            stamp,
            [reply, 0, 0, 0, 0, 0, 0],
        );
        let answer = client.mailbox.reply();
        if stamp == 2 {
            assert_eq!(answer, Ok(Some(reply)));
            assert_ne!(reply & !Request::Read(ACCESS).reply_mask(), 0);
        } else {
            assert_eq!(
                answer,
                Err(Violation::Stamp {
                    expected: 2,
                    found: stamp
                })
            );
        }
    }
}

fn near() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..40,
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(1 << 63),
        any::<u64>()
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let head = (0_u64..4, 0_u64..10, 0_u64..10)
        .prop_map(|(kind, width, region)| kind | width << 8 | region << 16);
    let reserved = prop_oneof![9 => Just(0_u64), 1 => any::<u64>()];
    (head, near(), near(), near(), reserved).prop_map(|(head, offset, value, order, reserved)| {
        [head, offset, value, order, reserved, 0, 0]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// Whatever a client writes, the worker ends each turn, and an error is final.
    #[test]
    fn the_worker_survives_any_client(
        writes in prop::collection::vec((0_u32..4, 0_u64..20, near(), any_body()), 1..60)
    ) {
        let mut session = session();
        let mut failed = None;
        for (place, slot, stamp, body) in writes {
            let (mapping, offset) = match place {
                0 | 1 => (&session.requests, geometry().slots_at(place) + slot % 16 * LINE),
                2 => (&session.mailboxes, Geometry::mailbox((slot % 2) as u32)),
                _ => (&session.requests, Geometry::client_flag((slot % 2) as u32)),
            };
            put(mapping, offset, stamp, body);
            let served = session.server.turn(|request| {
                assert!(request.access().is_encodable());
                u64::MAX
            });
            let _ = session.server.prepare_sleep();
            session.server.awake();
            if let Some(error) = failed {
                prop_assert_eq!(served, Err(error));
            }
            failed = served.err();
        }
    }

    /// Whatever a worker writes, a client's call ends, and an error is final.
    #[test]
    fn a_client_survives_any_worker(
        writes in prop::collection::vec((0_u32..3, near(), near(), 0_u32..3), 1..20)
    ) {
        let mut session = session();
        let client = &mut session.clients[0];
        client.sleeper.deadline = Duration::from_micros(50);
        let mut failed: Option<Error> = None;
        for (place, stamp, value, call) in writes {
            let (mapping, offset) = match place {
                0 => (&session.device, Geometry::consumed(0)),
                1 => (&session.device, Geometry::worker_flag()),
                _ => (&session.mailboxes, Geometry::mailbox(0)),
            };
            put(mapping, offset, stamp, [value, 0, 0, 0, 0, 0, 0]);
            let result = match call {
                0 => client.post(ACCESS, 1),
                1 => client.fence(),
                _ => client.read(ACCESS).map(drop),
            };
            if let Some(error) = failed {
                prop_assert_eq!(result, Err(error));
            }
            failed = result.err();
        }
    }

    /// The ring is a queue of bounded length.
    #[test]
    fn the_ring_is_a_queue(steps in prop::collection::vec((any::<bool>(), 1_usize..24), 1..80)) {
        let session = session();
        let Session { mut clients, mut server, .. } = session;
        let mut client = clients.remove(0);
        let mut model = std::collections::VecDeque::new();
        let mut next = 0;
        let consumer = |server: &mut Server| server.channels.swap_remove(0).consumer;
        let mut consumer = consumer(&mut server);
        for (produce, count) in steps {
            for _ in 0..count {
                if produce {
                    let room = client.producer.has_room().unwrap();
                    prop_assert_eq!(room, model.len() < 16);
                    if room {
                        let request = Request::Write(ACCESS, next);
                        client.producer.push(Message { request, order: next, seen: None });
                        model.push_back(request);
                        next += 1;
                    }
                } else {
                    prop_assert_eq!(consumer.visible_end() - consumer.head(), model.len() as u64);
                    prop_assert_eq!(consumer.anything(), !model.is_empty());
                    prop_assert_eq!(consumer.peek(), Ok(!model.is_empty()));
                    // Its tickets are its numbers, so a message is taken if its own is named.
                    let ticket = consumer.ticket().unwrap_or(0);
                    prop_assert_eq!(consumer.take(ticket + 1), Ok(None));
                    let taken = consumer.take(ticket).unwrap();
                    prop_assert_eq!(taken.map(|message| message.request), model.pop_front());
                    consumer.publish();
                    prop_assert_eq!(client.producer.outstanding(), Ok(model.len() as u64));
                }
            }
        }
    }
}

/// What was there when the worker looked and is not when it comes to it: a client that takes a
/// stamp back must not keep it waiting.
#[test]
fn a_write_that_is_taken_back_is_no_reason_to_wait() {
    let mut s = session();
    s.clients[0].post_all([(ACCESS, 1), (ACCESS, 2)]).unwrap();
    let slots = s.requests.own(geometry().slots_at(0), 16).unwrap();
    let mut served = 0;
    let outcome = s.server.apply_posted(|_| {
        served += 1;
        slots.at(1).release(0);
        0
    });
    assert_eq!(outcome, Err(Error::Corrupt(Violation::Order)));
    assert_eq!(served, 1);
}
