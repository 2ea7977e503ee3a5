use super::*;

const SIZE: usize = 1 << 20;

#[test]
fn many_in_flight_each_come_back_once() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let gate = fixture::gate(&RAM);
        let mut done = Vec::new();
        for cookie in 0..1000_u64 {
            let (op, direction) = if cookie % 3 == 0 {
                (Op::Write { fua: false }, Direction::FromGuest)
            } else {
                (Op::Read, Direction::ToGuest)
            };
            let data = guest(&gate, direction, &[(cookie * 512, 1024)]);
            // Every tenth is aligned for no O_DIRECT and has to be alone.
            let offset = if cookie % 10 == 0 {
                cookie * 512
            } else {
                cookie / 8 * 4096
            };
            done.extend(backend.submit(Request {
                cookie,
                op,
                offset,
                length: 1024,
                data,
            }));
            if cookie % 16 == 0 {
                backend.kick();
            }
        }
        backend.kick();
        if backend.wake_fd().is_some() {
            wait_for(&mut backend, 1000, &mut done);
        }
        let mut cookies: Vec<_> = done.iter().map(|c| c.cookie).collect();
        cookies.sort_unstable();
        assert_eq!(cookies, (0..1000).collect::<Vec<_>>(), "{name}");
        assert!(done.iter().all(|c| c.result.is_ok()), "{name}");
        backend.drain(true, &mut done);
        assert_eq!(done.len(), 1000, "{name}");
    }
}

#[test]
fn an_edge_triggered_loop_misses_nothing() {
    use mio::unix::SourceFd;
    use std::os::fd::AsRawFd;
    for (name, inner) in backends(&pattern(SIZE)) {
        // Nested: the decorator's descriptor stands for two.
        let (mut backend, handle) = Backend::delay(inner, Hold::UntilReleased).unwrap();
        let mut poll = mio::Poll::new().unwrap();
        let fd = backend.wake_fd().unwrap().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), mio::Token(1), mio::Interest::READABLE)
            .unwrap();
        let mut events = mio::Events::with_capacity(4);
        let mut done = Vec::new();
        for cookie in 0..100 {
            let data = Data::Owned(vec![1; 4096]);
            done.extend(backend.submit(Request {
                cookie,
                op: Op::Write { fua: true },
                offset: 0,
                length: 4096,
                data,
            }));
            backend.kick();
            handle.release(1);
            while done.is_empty() {
                // The kernel interrupts the wait to finish io_uring's work on this thread.
                match poll.poll(&mut events, None) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other.unwrap(),
                }
                backend.reap(&mut done);
            }
            assert_eq!(
                done.drain(..).map(|c| c.cookie).collect::<Vec<_>>(),
                [cookie],
                "{name}"
            );
        }
    }
}

#[test]
fn cancelled_requests_come_back_too() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let mut done = Vec::new();
        for cookie in 0..600_u64 {
            let data = Data::Owned(vec![7; 4096]);
            let op = Op::Write { fua: true };
            done.extend(backend.submit(Request {
                cookie,
                op,
                offset: cookie % 200 * 4096,
                length: 4096,
                data,
            }));
        }
        backend.drain(true, &mut done);
        assert_eq!(done.len(), 600, "{name}");
        for completion in &done {
            assert!(
                matches!(completion.result, Ok(()) | Err(BlockError::Cancelled)),
                "{name} {completion:?}"
            );
            assert_eq!(completion.data.len(), 4096);
        }
        // It goes on working.
        run(&mut backend, request(Op::Flush, 0, 0, Data::None))
            .result
            .unwrap();
    }
}

#[test]
fn regions_may_go_while_their_memory_is_in_flight() {
    let disk = pattern(SIZE);
    for (name, mut backend) in backends(&disk) {
        let mut gate = fixture::gate(&RAM);
        let mut done = Vec::new();
        for cookie in 0..64 {
            let data = guest(&gate, Direction::ToGuest, &[(cookie * 4096, 4096)]);
            done.extend(backend.submit(Request {
                cookie,
                op: Op::Read,
                offset: cookie * 4096,
                length: 4096,
                data,
            }));
        }
        gate.unmap_all();
        backend.kick();
        backend.drain(false, &mut done);
        assert_eq!(done.len(), 64, "{name}");
        for completion in done {
            completion.result.unwrap();
            let mut got = vec![0; 4096];
            completion.data.take(0, &mut got);
            let at = usize::try_from(completion.cookie).unwrap() * 4096;
            assert!(got == disk[at..][..4096], "{name}");
        }
    }
}

#[test]
fn dropping_waits_for_what_is_in_flight() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let gate = fixture::gate(&RAM);
        for cookie in 0..128 {
            let data = guest(&gate, Direction::ToGuest, &[(cookie * 4096, 4096)]);
            let request = Request {
                cookie,
                op: Op::Read,
                offset: cookie * 4096,
                length: 4096,
                data,
            };
            let _ = backend.submit(request);
        }
        backend.kick();
        drop(backend);
        // Whatever was done, nothing is written from here on.
        let ram = |bytes: &mut Vec<u8>| gate.read(RAM_START, bytes).unwrap();
        let (mut then, mut now) = (vec![0; 128 * 4096], vec![0; 128 * 4096]);
        ram(&mut then);
        for _ in 0..20 {
            std::thread::yield_now();
            ram(&mut now);
            assert!(then == now, "{name}");
        }
    }
}
