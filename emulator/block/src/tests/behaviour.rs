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
        for direct in [false, true] {
            let options = FileOptions {
                read_only: true,
                direct,
                engine,
            };
            match Backend::file(image_file(Place::Disk, &bytes), options) {
                Ok(backend) => all.push(backend),
                Err(OpenError::Direct(error)) => outrigger_skip::skipped(error),
                Err(error) => panic!("{error}"),
            }
        }
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
