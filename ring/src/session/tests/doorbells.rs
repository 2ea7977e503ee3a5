//! Doorbells: what a sleep costs, and what a peer can do to it.

use rustix::fs::{OFlags, fcntl_setfl};

use super::*;
use crate::doorbell::{CALLS, Wake};

#[test]
fn a_saturated_doorbell_that_was_made_blocking_blocks_nobody() {
    let bell = Doorbell::new().unwrap();
    let peers = own(bell.as_fd());
    rustix::io::write(&peers, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    fcntl_setfl(&peers, OFlags::empty()).unwrap();
    bell.ring();
    bell.drain();
    bell.drain();
    bell.ring();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let alarm = Alarm::new(bell.clone(), watch).unwrap();
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::Rung));
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::TimedOut));
}

/// How many system calls for doorbells `work` makes.
fn calls(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[test]
fn a_crossing_between_sleepers_is_six_system_calls() {
    let mut session = session();
    let client = &mut session.clients[0];
    let server = &mut session.server;
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let alarm = Alarm::new(server.doorbell.clone(), watch).unwrap();
    // Nothing drains a doorbell in between: each ring ends one sleep all the same.
    for sleep in 1..=3 {
        assert!(server.prepare_sleep());
        let request = Request::Read(ACCESS);
        client.mailbox.send(Message {
            request,
            order: 0,
            seen: None,
        });
        assert_eq!(calls(|| client.kick()), 2);
        assert_eq!(calls(|| client.kick()), 0);
        client.sleeper.flag.at(0).set(sleep);
        assert_eq!(calls(|| assert_eq!(alarm.sleep(SHORT), Ok(Wake::Rung))), 1);
        server.awake();
        let answer = || assert_eq!(server.turn(|_| 7), Ok(true));
        assert_eq!(calls(answer), 2);
        let slept = || assert_eq!(client.sleeper.alarm.sleep(SHORT), Ok(Wake::Rung));
        assert_eq!(calls(slept), 1);
        client.sleeper.flag.at(0).set(0);
        assert_eq!(client.mailbox.reply(), Ok(Some(7)));
    }
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::TimedOut));
    assert_eq!(client.sleeper.alarm.sleep(SHORT), Ok(Wake::TimedOut));
}

#[test]
fn a_ring_counts_before_the_ringers_death() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let bell = Doorbell::new().unwrap();
    let alarm = Alarm::new(bell.clone(), watch).unwrap();
    bell.ring();
    drop(theirs);
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::Rung));
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::PeerGone));
    assert_eq!(alarm.sleep(SHORT), Ok(Wake::PeerGone));
}
