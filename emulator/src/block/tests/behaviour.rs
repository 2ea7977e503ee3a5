use super::*;

const SIZE: usize = 1 << 20;

fn read_all(backend: &mut Backend) -> Vec<u8> {
    let bytes = backend.geometry().bytes;
    let data = Data::Owned(vec![0; usize::try_from(bytes).unwrap()]);
    let done = run(backend, request(Op::Read, 0, bytes, data));
    done.result.unwrap();
    match done.data {
        Data::Owned(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_into_guest_ram() {
    let disk = pattern(SIZE);
    for (name, mut backend) in backends(&disk) {
        let gate = fixture::gate(&RAM);
        let data = guest(
            &gate,
            Direction::ToGuest,
            &[(0x7_f000, 0x2000), (0x100, 512)],
        );
        let done = run(&mut backend, request(Op::Read, 512 * 3, 0x2200, data));
        done.result.unwrap();
        let mut got = vec![0; 0x2000];
        gate.read(RAM_START + 0x7_f000, &mut got).unwrap();
        assert_eq!(got, disk[1536..1536 + 0x2000], "{name}");
        gate.read(RAM_START + 0x100, &mut got[..512]).unwrap();
        assert_eq!(got[..512], disk[1536 + 0x2000..][..512], "{name}");
    }
}

#[test]
fn writes_are_read_back() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let mut model = pattern(SIZE);
        let gate = fixture::gate(&RAM);
        gate.write(RAM_START + 0x33, &[0xee; 4096]).unwrap();
        for (fua, offset) in [
            (false, 4096_u32),
            (true, 65536),
            (false, 512),
            (true, 512 * 21),
        ] {
            let data = guest(&gate, Direction::FromGuest, &[(0x33, 1000), (0x33, 3096)]);
            run(
                &mut backend,
                request(Op::Write { fua }, offset.into(), 4096, data),
            )
            .result
            .unwrap();
            model[offset as usize..][..4096].fill(0xee);
        }
        run(&mut backend, request(Op::Flush, 0, 0, Data::None))
            .result
            .unwrap();
        assert!(read_all(&mut backend) == model, "{name}");
    }
}

#[test]
fn zeroes_and_discards() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let mut model = pattern(SIZE);
        let zero = |unmap| Op::WriteZeroes { unmap };
        for (unmap, offset, length) in [
            (false, 512, 1024),
            (true, 8192, 65536),
            (false, 1 << 19, 1 << 18),
        ] {
            run(
                &mut backend,
                request(zero(unmap), offset as u64, length as u64, Data::None),
            )
            .result
            .unwrap();
            model[offset..][..length].fill(0);
        }
        run(&mut backend, request(Op::Discard, 4096, 4096, Data::None))
            .result
            .unwrap();
        let now = read_all(&mut backend);
        assert!(
            now[..4096] == model[..4096] && now[8192..] == model[8192..],
            "{name}"
        );
        if backend.geometry().discard {
            assert_eq!(now[4096..8192], [0; 4096], "{name}");
        }
    }
}

#[test]
fn refuses_what_is_outside() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let size = SIZE as u64;
        let ends = [
            (size, 512),
            (size - 512, 1024),
            (u64::MAX - 511, 512),
            (u64::MAX, u64::MAX),
            (512, u64::MAX),
        ];
        for (offset, length) in ends {
            for op in [
                Op::Read,
                Op::Write { fua: false },
                Op::Discard,
                Op::WriteZeroes { unmap: true },
            ] {
                let data = match op {
                    Op::Read | Op::Write { .. } => Data::Owned(vec![0; 512]),
                    _ => Data::None,
                };
                let done = backend
                    .submit(request(op, offset, length, data))
                    .expect("refused at once");
                assert!(
                    matches!(done.result, Err(BlockError::OutOfRange)),
                    "{name} {op:?} {offset:#x}"
                );
            }
        }
        assert!(read_all(&mut backend) == pattern(SIZE), "{name}");
    }
}

#[test]
fn refuses_data_that_do_not_fit_the_request() {
    for (name, mut backend) in backends(&pattern(SIZE)) {
        let gate = fixture::gate(&RAM);
        for (op, data) in [
            (Op::Read, Data::None),
            (Op::Read, Data::Owned(vec![0; 511])),
            (Op::Write { fua: false }, Data::Owned(vec![0; 513])),
            // Guest RAM that the device was given for reading only is not written.
            (Op::Read, guest(&gate, Direction::FromGuest, &[(0, 512)])),
        ] {
            let done = run(&mut backend, request(op, 0, 512, data));
            assert!(
                matches!(done.result, Err(BlockError::Io { offset: None, .. })),
                "{name}"
            );
        }
        // Nothing to do is done at once.
        for op in [
            Op::Read,
            Op::Write { fua: true },
            Op::Discard,
            Op::WriteZeroes { unmap: false },
        ] {
            let done = backend
                .submit(request(op, SIZE as u64, 0, Data::None))
                .expect("at once");
            done.result.unwrap();
        }
    }
}

#[test]
fn read_only_disks_refuse_to_change() {
    let bytes = pattern(SIZE);
    let mut all = vec![Backend::memory(bytes.clone(), true)];
    for engine in [Engine::Auto, Engine::Threads] {
        let options = FileOptions {
            read_only: true,
            direct: false,
            engine,
        };
        all.push(Backend::file(image_file(Place::Disk, &bytes), options).unwrap());
    }
    for mut backend in all {
        assert!(backend.geometry().read_only && !backend.geometry().discard);
        for (op, data) in [
            (Op::Write { fua: false }, Data::Owned(vec![0; 512])),
            (Op::Discard, Data::None),
            (Op::WriteZeroes { unmap: false }, Data::None),
        ] {
            let done = run(&mut backend, request(op, 0, 512, data));
            assert!(matches!(done.result, Err(BlockError::ReadOnly)));
        }
        run(&mut backend, request(Op::Flush, 0, 0, Data::None))
            .result
            .unwrap();
        assert!(read_all(&mut backend) == bytes);
    }
}

#[test]
fn more_pieces_than_one_list_holds() {
    let disk = pattern(SIZE);
    for (name, mut backend) in backends(&disk) {
        let gate = fixture::gate(&RAM);
        // Backwards, so that no two pieces merge.
        let pieces: Vec<_> = (0..1500_u64).rev().map(|i| (i * 512, 512)).collect();
        let data = guest(&gate, Direction::ToGuest, &pieces);
        run(&mut backend, request(Op::Read, 0, 1500 * 512, data))
            .result
            .unwrap();
        let mut got = vec![0; 512];
        for (index, (at, _)) in pieces.iter().enumerate() {
            gate.read(RAM_START + at, &mut got).unwrap();
            assert!(got == disk[index * 512..][..512], "{name} piece {index}");
        }
        let data = guest(&gate, Direction::FromGuest, &pieces);
        run(
            &mut backend,
            request(Op::WriteZeroes { unmap: false }, 0, 1500 * 512, Data::None),
        )
        .result
        .unwrap();
        run(
            &mut backend,
            request(Op::Write { fua: false }, 0, 1500 * 512, data),
        )
        .result
        .unwrap();
        assert!(read_all(&mut backend) == disk, "{name}");
    }
}

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
    for (_, mut backend) in backends(&pattern(SIZE)) {
        let gate = fixture::gate(&RAM);
        for cookie in 0..64 {
            let data = guest(&gate, Direction::ToGuest, &[(cookie * 4096, 4096)]);
            let _ = backend.submit(Request {
                cookie,
                op: Op::Read,
                offset: cookie * 4096,
                length: 4096,
                data,
            });
        }
        backend.kick();
        drop(gate);
        drop(backend);
    }
}

#[test]
fn a_file_cut_short_underneath_is_a_medium_error() {
    for engine in [Engine::Auto, Engine::Threads] {
        for place in [Place::Disk, Place::Memory] {
            let file = image_file(place, &pattern(SIZE));
            let other = file.try_clone().unwrap();
            let options = FileOptions {
                read_only: false,
                direct: false,
                engine,
            };
            let mut backend = Backend::file(file, options).unwrap();
            other.set_len(10_000).unwrap();
            let done = run(
                &mut backend,
                request(Op::Read, 8192, 4096, Data::Owned(vec![0; 4096])),
            );
            match done.result {
                Err(BlockError::Io {
                    offset: Some(10_000),
                    source,
                }) => {
                    assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_a_disk_is_refused() {
    let options = FileOptions::default();
    let open = |file, options| Backend::file(file, options).map(|_| ()).unwrap_err();
    assert!(matches!(
        open(File::open("/dev/null").unwrap(), options),
        OpenError::NotADisk
    ));
    assert!(matches!(
        open(image_file(Place::Disk, &[]), options),
        OpenError::Empty
    ));
    assert!(matches!(
        open(image_file(Place::Disk, &[0; 700]), options),
        OpenError::PartialBlock { bytes: 700 }
    ));
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), [0; 512]).unwrap();
    assert!(matches!(
        open(File::open(named.path()).unwrap(), options),
        OpenError::Access("writing")
    ));
    let write_only = std::fs::OpenOptions::new()
        .write(true)
        .open(named.path())
        .unwrap();
    let read_only = FileOptions {
        read_only: true,
        ..options
    };
    assert!(matches!(
        open(write_only, read_only),
        OpenError::Access("reading")
    ));
    Backend::file(File::open(named.path()).unwrap(), read_only).unwrap();
}

#[test]
fn a_file_opened_to_append_or_not_to_block_still_works() {
    use std::os::unix::fs::OpenOptionsExt;
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), [0; 1024]).unwrap();
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::APPEND)
        .bits()
        .cast_signed();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(named.path())
        .unwrap();
    let mut backend = Backend::file(file, FileOptions::default()).unwrap();
    let data = Data::Owned(vec![9; 512]);
    run(&mut backend, request(Op::Write { fua: true }, 0, 512, data))
        .result
        .unwrap();
    let now = std::fs::read(named.path()).unwrap();
    assert!(now[..512] == [9; 512] && now[512..] == [0; 512]);
}

#[test]
fn a_page_cache_hit_needs_no_wait() {
    let disk = pattern(SIZE);
    let file = image_file(Place::Disk, &disk);
    assert_eq!(file_bytes(&file), disk);
    let mut backend = Backend::file(file, FileOptions::default()).unwrap();
    let done = backend.submit(request(Op::Read, 4096, 4096, Data::Owned(vec![0; 4096])));
    match done {
        Some(Completion {
            data: Data::Owned(bytes),
            result: Ok(()),
            ..
        }) => assert!(bytes == disk[4096..8192]),
        Some(other) => panic!("{other:?}"),
        None => println!("SKIPPED: no RWF_NOWAIT on this file system"),
    }
}

#[test]
fn descriptors_are_given_back() {
    let count = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| {
                // Other tests run beside this one: only what this one's images are called.
                std::fs::read_link(entry.path())
                    .is_ok_and(|to| to.to_string_lossy().contains("leak-check"))
            })
            .count()
    };
    let folder = tempfile::Builder::new()
        .prefix("leak-check")
        .tempdir()
        .unwrap();
    for round in 0..20 {
        for engine in [Engine::Auto, Engine::Threads] {
            for direct in [false, true] {
                let path = folder.path().join(format!("{round}"));
                std::fs::write(&path, pattern(SIZE)).unwrap();
                let file = File::options().read(true).write(true).open(&path).unwrap();
                let Ok(mut backend) = Backend::file(
                    file,
                    FileOptions {
                        read_only: false,
                        direct,
                        engine,
                    },
                ) else {
                    continue;
                };
                run(&mut backend, request(Op::Flush, 0, 0, Data::None))
                    .result
                    .unwrap();
                assert!(count() >= 1);
            }
        }
    }
    assert_eq!(count(), 0);
}
