use std::time::Duration;

use super::*;

fn read(cookie: u64, offset: u64) -> Request {
    Request {
        cookie,
        op: Op::Read,
        offset,
        length: 512,
        data: Data::Owned(vec![0; 512]),
    }
}

fn cookies(done: &[Completion]) -> Vec<u64> {
    done.iter().map(|c| c.cookie).collect()
}

#[test]
fn held_requests_go_one_by_one_when_released() {
    for (name, inner) in backends(&pattern(8192)) {
        let (mut backend, handle) = Backend::delay(inner, Hold::UntilReleased).unwrap();
        assert_eq!(backend.geometry().bytes, 8192);
        let gate = fixture::gate(&RAM);
        let mut done = Vec::new();
        for cookie in 0..3 {
            let data = guest(&gate, Direction::ToGuest, &[(cookie * 512, 512)]);
            let request = Request {
                cookie,
                op: Op::Read,
                offset: 0,
                length: 512,
                data,
            };
            assert!(backend.submit(request).is_none(), "{name}");
        }
        backend.kick();
        backend.reap(&mut done);
        assert!(
            done.is_empty() && handle.held() == 3 && backend.deadline().is_none(),
            "{name}"
        );
        let mut got = [0; 512];
        gate.read(RAM_START, &mut got).unwrap();
        assert_eq!(got, [0; 512], "{name}: the bytes are held back too");

        handle.release(2);
        wait_for(&mut backend, 2, &mut done);
        let mut first = cookies(&done);
        first.sort_unstable();
        assert_eq!((first, handle.held()), (vec![0, 1], 1), "{name}");
        gate.read(RAM_START, &mut got).unwrap();
        assert!(got[..] == pattern(512)[..], "{name}");

        backend.drain(true, &mut done);
        assert_eq!(done.len(), 3);
        assert!(
            matches!(done[2].result, Err(BlockError::Cancelled)),
            "{name}"
        );
        assert!(done[2].data.len() == 512 && handle.held() == 0);
    }
}

#[test]
fn a_release_in_advance_lets_the_next_pass() {
    let (mut backend, handle) =
        Backend::delay(Backend::memory(pattern(8192), false), Hold::UntilReleased).unwrap();
    handle.release(1);
    assert!(backend.submit(read(1, 0)).is_some());
    assert!(backend.submit(read(2, 0)).is_none());
    let mut done = Vec::new();
    // Waiting for all lets all go.
    backend.drain(false, &mut done);
    assert!(cookies(&done) == [2] && done[0].result.is_ok());
}

#[test]
fn a_time_is_a_deadline() {
    let inner = Backend::memory(pattern(8192), false);
    let (mut backend, _handle) =
        Backend::delay(inner, Hold::For(Duration::from_secs(3600))).unwrap();
    let before = Instant::now();
    assert!(backend.submit(read(1, 0)).is_none());
    assert!(backend.deadline().unwrap() >= before + Duration::from_secs(3600));
    let mut done = Vec::new();
    backend.reap(&mut done);
    assert!(done.is_empty());

    let inner = Backend::memory(pattern(8192), false);
    let (mut backend, _handle) = Backend::delay(inner, Hold::For(Duration::ZERO)).unwrap();
    assert!(backend.submit(read(1, 0)).is_none());
    backend.reap(&mut done);
    assert_eq!(cookies(&done), [1]);
    assert!(backend.deadline().is_none());
}

#[test]
fn chosen_requests_fail() {
    for (name, inner) in backends(&pattern(8192)) {
        let rule = FailRule {
            ops: |op| matches!(op, Op::Read),
            range: 1024..2048,
            after: 1,
            times: 2,
            failure: Failure::Io(libc::EIO),
        };
        let mut backend = Backend::fail(inner, rule);
        let outcomes: Vec<_> = [
            (0, 512),
            (512, 1024),
            (512, 1024),
            (1536, 512),
            (2048, 512),
            (1536, 512),
        ]
        .into_iter()
        .map(|(offset, length)| {
            let data = Data::Owned(vec![0; usize::try_from(length).unwrap()]);
            match run(&mut backend, request(Op::Read, offset, length, data)).result {
                Ok(()) => None,
                Err(BlockError::Io { offset, source }) => Some((offset, source.raw_os_error())),
                Err(other) => panic!("{other:?}"),
            }
        })
        .collect();
        let eio = Some(libc::EIO);
        let expected = [
            None,
            None,
            Some((Some(1024), eio)),
            Some((Some(1536), eio)),
            None,
            None,
        ];
        assert_eq!(outcomes, expected, "{name}");
    }
}

#[test]
fn a_flush_fails_whatever_the_range() {
    let rule = FailRule {
        ops: |op| op == Op::Flush,
        range: 0..1,
        after: 0,
        times: u64::MAX,
        failure: Failure::NoSpace,
    };
    let mut backend = Backend::fail(Backend::memory(pattern(8192), false), rule);
    let done = run(&mut backend, request(Op::Flush, 0, 0, Data::None));
    assert!(matches!(done.result, Err(BlockError::NoSpace)));
    assert!(run(&mut backend, read(1, 0)).result.is_ok());
}
