mod lost;
mod property;

use super::*;

const PAGE: u64 = 4096;

#[test]
fn reads_back_what_it_wrote() {
    let gate = fixture::gate(&[(0x1000, PAGE), (0x2000, PAGE)]);
    // Within a region and across two that touch; word sizes, aligned and not.
    for address in [0x1000, 0x1001, 0x1ff0, 0x1ffc, 0x1ffd, 0x1fff, 0x2ff8] {
        for length in [0, 1, 2, 3, 4, 5, 8] {
            let bytes: Vec<u8> = (1..=length).collect();
            gate.write(address, &bytes).unwrap();
            let mut got = vec![0; bytes.len()];
            gate.read(address, &mut got).unwrap();
            assert_eq!(got, bytes, "{address:#x}");
        }
    }
}

#[test]
fn nothing_passes_without_bus_mastering() {
    let mut gate = Gate::new();
    gate.map(fixture::mapping(0, PAGE)).unwrap();
    let mut segments = Vec::new();
    for on in [false, true, false] {
        gate.set_bus_master(on);
        let expected = if on { Ok(()) } else { Err(Fault::NotBusMaster) };
        assert_eq!(gate.read(0, &mut [0]), expected);
        assert_eq!(gate.write(0, &[0]), expected);
        assert_eq!(gate.write(0, &[]), expected);
        assert_eq!(
            gate.segments(0, 1, Direction::ToGuest, &mut segments),
            expected
        );
    }
    assert_eq!(segments.len(), 1);
}

#[test]
fn a_fault_moves_nothing() {
    let gate = fixture::gate(&[(0x1000, PAGE), (0x3000, PAGE)]);
    let mut bytes = [7; 8];
    assert_eq!(gate.read(0x1ffc, &mut bytes), Err(Fault::Unmapped(0x2000)));
    assert_eq!(bytes, [7; 8]);
    assert_eq!(gate.write(0x1ffc, &[9; 8]), Err(Fault::Unmapped(0x2000)));
    gate.read(0x1ff8, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8]);
    assert_eq!(gate.write(0xfff, &[9; 8]), Err(Fault::Unmapped(0xfff)));
    let mut segments = Vec::new();
    let fault = gate.segments(0x1800, 0x1000, Direction::ToGuest, &mut segments);
    assert_eq!(fault, Err(Fault::Unmapped(0x2000)));
    assert!(segments.is_empty());
}

#[test]
fn the_top_of_the_address_space() {
    let top = 0_u64.wrapping_sub(PAGE);
    let gate = fixture::gate(&[(top, PAGE), (0, PAGE)]);
    gate.write(u64::MAX - 3, &[1, 2, 3, 4]).unwrap();
    assert_eq!(
        gate.write(u64::MAX - 3, &[0; 5]),
        Err(Fault::Unmapped(u64::MAX)),
        "no wrap to 0"
    );
    assert_eq!(
        gate.read(u64::MAX, &mut [0; 2]),
        Err(Fault::Unmapped(u64::MAX))
    );
    let mut byte = [0];
    gate.read(u64::MAX, &mut byte).unwrap();
    assert_eq!(byte, [4]);
}

#[test]
fn rights_are_kept() {
    let mut gate = fixture::gate(&[]);
    gate.map(Mapping {
        writable: false,
        ..fixture::mapping(0, PAGE)
    })
    .unwrap();
    gate.map(Mapping {
        readable: false,
        ..fixture::mapping(PAGE, PAGE)
    })
    .unwrap();
    assert_eq!(gate.write(PAGE - 1, &[1]), Err(Fault::Denied(PAGE - 1)));
    assert_eq!(gate.read(PAGE, &mut [0]), Err(Fault::Denied(PAGE)));
    assert_eq!(gate.read(PAGE - 1, &mut [0; 2]), Err(Fault::Denied(PAGE)));
    gate.read(PAGE - 1, &mut [0]).unwrap();
    gate.write(PAGE, &[1]).unwrap();

    let mut segments = Vec::new();
    gate.segments(0, 16, Direction::FromGuest, &mut segments)
        .unwrap();
    assert_eq!(
        gate.segments(0, 16, Direction::ToGuest, &mut segments),
        Err(Fault::Denied(0))
    );
    assert_eq!(
        segments[0].write(0, &[1]),
        0,
        "a segment to read from is not written"
    );
    let none = Mapping {
        readable: false,
        writable: false,
        ..fixture::mapping(0x1_0000, PAGE)
    };
    assert!(matches!(gate.map(none), Err(MapError::NoRights)));
}

#[test]
fn a_file_open_for_reading_is_not_mapped_for_writing() {
    let named = tempfile::NamedTempFile::new().unwrap();
    named.as_file().set_len(PAGE).unwrap();
    let open = || OwnedFd::from(std::fs::File::open(named.path()).unwrap());
    let mut gate = fixture::gate(&[]);
    let mapping = Mapping {
        fd: open(),
        ..fixture::mapping(0, PAGE)
    };
    assert!(matches!(gate.map(mapping), Err(MapError::Kernel(_))));
    gate.map(Mapping {
        fd: open(),
        writable: false,
        ..fixture::mapping(0, PAGE)
    })
    .unwrap();
}

#[test]
fn bad_ranges_are_refused() {
    let mut gate = fixture::gate(&[]);
    let bad = [
        // address, size, offset, file size
        (0, 0, 0, PAGE),
        (1, PAGE, 0, PAGE),
        (0, PAGE - 1, 0, PAGE),
        (0, PAGE, 1, 2 * PAGE),
        (0, 2 * PAGE, 0, PAGE),
        (0, PAGE, PAGE, PAGE),
        (0, PAGE, 0, PAGE - 1),
        (0, PAGE, 0_u64.wrapping_sub(PAGE), PAGE),
        (0_u64.wrapping_sub(PAGE), 2 * PAGE, 0, 2 * PAGE),
        (PAGE, u64::MAX, 0, PAGE),
        (0, 0_u64.wrapping_sub(PAGE), PAGE, PAGE),
    ];
    for (address, size, offset, file) in bad {
        let mapping = Mapping {
            address,
            size,
            offset,
            fd: fixture::memfd(file),
            ..fixture::mapping(0, PAGE)
        };
        let error = gate.map(mapping).unwrap_err();
        assert!(
            matches!(error, MapError::BadRange { .. }),
            "{address:#x} {size:#x} {offset:#x}: {error}"
        );
    }
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let null = OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
    for fd in [socket.into(), null] {
        let error = gate
            .map(Mapping {
                fd,
                ..fixture::mapping(0, PAGE)
            })
            .unwrap_err();
        assert!(matches!(error, MapError::NotAFile), "{error}");
    }
    assert_eq!(gate.read(0, &mut [0]), Err(Fault::Unmapped(0)));
}

#[test]
fn regions_do_not_overlap_and_their_number_is_bounded() {
    let mut gate = fixture::gate(&[(0x10_0000, 4 * PAGE)]);
    for (at, pages) in [
        (0x10_0000, 4),
        (0x10_0000, 1),
        (0x0f_f000, 2),
        (0x10_3000, 2),
        (0x0f_f000, 6),
    ] {
        let error = gate.map(fixture::mapping(at, pages * PAGE)).unwrap_err();
        assert!(matches!(error, MapError::Overlap { .. }), "{error}");
    }
    for (address, size) in [
        (0x10_0000, PAGE),
        (0x10_1000, PAGE),
        (0, 0),
        (0x10_0000, 0),
        (0x10_0000, 5 * PAGE),
    ] {
        assert!(matches!(
            gate.unmap(address, size),
            Err(MapError::NotMapped { .. })
        ));
    }
    gate.unmap(0x10_0000, 4 * PAGE).unwrap();

    let fd = fixture::memfd(PAGE);
    let at = |index: usize| Mapping {
        fd: fd.try_clone().unwrap(),
        ..fixture::mapping(index as u64 * PAGE, PAGE)
    };
    for index in 0..MAX_REGIONS {
        gate.map(at(index)).unwrap();
    }
    assert!(matches!(
        gate.map(at(MAX_REGIONS)),
        Err(MapError::TooMany(_))
    ));
    gate.unmap_all();
    gate.map(at(MAX_REGIONS)).unwrap();
}

/// A range without memory keeps others out, and nothing reaches it.
#[test]
fn ranges_without_memory_are_in_the_same_table() {
    let top = 0_u64.wrapping_sub(PAGE);
    let mut gate = fixture::gate(&[(0x4000, 2 * PAGE)]);
    for (address, size) in [(0x4000, 2 * PAGE), (0x5000, 1), (0x3fff, 2), (0, u64::MAX)] {
        let error = gate.map_unreachable(address, size).unwrap_err();
        assert!(matches!(error, MapError::Overlap { .. }), "{error}");
    }
    for (address, size) in [(0, 0), (u64::MAX, 2), (top, PAGE + 1)] {
        let error = gate.map_unreachable(address, size).unwrap_err();
        assert!(matches!(error, MapError::BadRange { .. }), "{error}");
    }
    gate.map_unreachable(0x6000, PAGE).unwrap();
    gate.map_unreachable(top, PAGE).unwrap();
    for address in [0x6000, top] {
        let error = gate.map(fixture::mapping(address, PAGE)).unwrap_err();
        assert!(matches!(error, MapError::Overlap { .. }), "{error}");
        assert_eq!(gate.write(address, &[1]), Err(Fault::Unmapped(address)));
        assert_eq!(gate.read(address, &mut [0]), Err(Fault::Unmapped(address)));
    }
    assert_eq!(gate.write(0x5fff, &[1; 2]), Err(Fault::Unmapped(0x6000)));
    assert!(!gate.is_reachable(0x6000, PAGE).unwrap());
    assert!(gate.is_reachable(0x4000, 2 * PAGE).unwrap());
    gate.is_reachable(0x4000, PAGE).unwrap_err();
    gate.unmap(0x6000, PAGE).unwrap();
    gate.map(fixture::mapping(0x6000, PAGE)).unwrap();
    gate.write(0x5fff, &[1; 2]).unwrap();
    gate.unmap_all();
    gate.map(fixture::mapping(top, PAGE)).unwrap();

    for index in 0..MAX_UNREACHABLE as u64 {
        gate.map_unreachable(index * PAGE, PAGE).unwrap();
    }
    let error = gate.map_unreachable(1 << 40, PAGE).unwrap_err();
    assert!(
        matches!(error, MapError::TooMany(MAX_UNREACHABLE)),
        "{error}"
    );
    gate.map(fixture::mapping(1 << 40, PAGE)).unwrap();
}

#[test]
fn segments_outlive_their_region() {
    let mut gate = fixture::gate(&[]);
    let fd = fixture::memfd(2 * PAGE);
    let mapping = fixture::mapping(0x1000, PAGE);
    gate.map(Mapping {
        fd: fd.try_clone().unwrap(),
        offset: PAGE,
        ..mapping
    })
    .unwrap();
    let mut segments = Vec::new();
    gate.segments(0x1010, 16, Direction::ToGuest, &mut segments)
        .unwrap();
    gate.unmap(0x1000, PAGE).unwrap();
    assert_eq!(gate.write(0x1010, &[1]), Err(Fault::Unmapped(0x1010)));

    let segment = &segments[0];
    assert_eq!(segment.write(12, &[1, 2, 3, 4, 5, 6]), 4, "only what fits");
    let mut got = [0; 6];
    assert_eq!(segment.read(12, &mut got), 4);
    assert_eq!(got, [1, 2, 3, 4, 0, 0]);
    assert_eq!(
        (segment.write(16, &[1]), segment.read(usize::MAX, &mut got)),
        (0, 0)
    );
    let mut file = [0; 4];
    rustix::io::pread(&fd, &mut file, PAGE + 0x1c).unwrap();
    assert_eq!(file, [1, 2, 3, 4]);
}

#[test]
fn neighbouring_pieces_of_one_mapping_merge() {
    let gate = fixture::gate(&[(0x1000, 2 * PAGE), (0x3000, PAGE)]);
    let mut segments = Vec::new();
    let mut add = |address, length, direction| {
        gate.segments(address, length, direction, &mut segments)
            .unwrap();
        segments.iter().map(Segment::len).collect::<Vec<_>>()
    };
    assert_eq!(add(0x1000, 512, Direction::ToGuest), [512]);
    assert_eq!(add(0x1200, 512, Direction::ToGuest), [1024]);
    assert_eq!(add(0x1600, 512, Direction::ToGuest), [1024, 512], "a gap");
    assert_eq!(
        add(0x1800, 0x2000, Direction::ToGuest),
        [1024, 0x1a00, 0x800],
        "the next mapping"
    );
    assert_eq!(add(0x3800, 0, Direction::ToGuest), [1024, 0x1a00, 0x800]);
    assert_eq!(
        add(0x3800, 4, Direction::FromGuest),
        [1024, 0x1a00, 0x800, 4],
        "another direction"
    );
}

#[test]
fn mappings_are_given_back() {
    // The name of the file tells this test's mappings from those of the tests beside it.
    let fd = rustix::fs::memfd_create("gate-leak-check", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, PAGE).unwrap();
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .matches("gate-leak-check")
            .count()
    };
    let mut gate = fixture::gate(&[]);
    for _ in 0..50 {
        gate.map(Mapping {
            fd: fd.try_clone().unwrap(),
            ..fixture::mapping(0, PAGE)
        })
        .unwrap();
        assert_eq!(mapped(), 1);
        gate.unmap(0, PAGE).unwrap();
    }
    assert_eq!(mapped(), 0);
}
