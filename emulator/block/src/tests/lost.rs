//! Guest RAM that is gone while a request moves it: the request ends, and it is noted.

use super::*;

#[test]
fn a_request_whose_guest_ram_is_gone_ends_and_it_is_noted() {
    outrigger_device::crash::install().unwrap();
    let disk = pattern(1 << 20);
    for (name, mut backend) in backends(&disk) {
        // Aligned, and not: where O_DIRECT bounces.
        for shift in [0, 12] {
            for op in [Op::Read, Op::Write { fua: false }, Op::Write { fua: true }] {
                let mut gate = fixture::gate(&[]);
                let mapping = fixture::mapping(RAM_START, RAM_SIZE);
                let client = mapping.fd.try_clone().unwrap();
                gate.map(mapping).unwrap();
                let direction = match op {
                    Op::Read => Direction::ToGuest,
                    _ => Direction::FromGuest,
                };
                let data = guest(&gate, direction, &[(shift, 64 << 10)]);
                rustix::fs::ftruncate(&client, 4096).unwrap();
                let done = run(&mut backend, request(op, 0, 64 << 10, data));
                // The kernel refuses; a copy made here finds zeroes.
                match done.result {
                    Ok(()) | Err(BlockError::Io { .. }) => {}
                    other => panic!("{name}, {op:?}: {other:?}"),
                }
                assert_eq!(gate.lost(), Some(RAM_START), "{name}, {op:?}, {shift}");
            }
        }
        // The backend is as ever.
        let data = Data::Owned(disk[..4096].to_vec());
        run(
            &mut backend,
            request(Op::Write { fua: false }, 0, 4096, data),
        )
        .result
        .unwrap();
        let done = run(
            &mut backend,
            request(Op::Read, 0, 4096, Data::Owned(vec![0; 4096])),
        );
        done.result.unwrap();
        assert!(matches!(done.data, Data::Owned(bytes) if bytes == disk[..4096]));
    }
}

/// The image's own errors are no reason to send a client away.
#[test]
fn an_error_of_the_image_is_not_the_clients() {
    let mut gate = fixture::gate(&[]);
    gate.map(fixture::mapping(RAM_START, RAM_SIZE)).unwrap();
    let file = image_file(Place::Memory, &pattern(8192));
    let other = file.try_clone().unwrap();
    let mut backend = Backend::file(file, FileOptions::default()).unwrap();
    other.set_len(4096).unwrap();
    let data = guest(&gate, Direction::ToGuest, &[(0, 8192)]);
    let done = run(&mut backend, request(Op::Read, 0, 8192, data));
    assert!(done.result.is_err());
    assert_eq!(gate.lost(), None);
}
