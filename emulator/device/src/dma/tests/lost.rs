//! Guest RAM whose file is cut short while it is mapped. The handler of faults is the whole
//! process's, as in the emulator.

use std::os::fd::{AsFd, OwnedFd};

use super::*;

/// A gate with a region of `pages` at `address`, and the client's own descriptor of its file.
fn shared(address: u64, pages: u64) -> (Gate, OwnedFd) {
    crate::crash::install().unwrap();
    let mut gate = fixture::gate(&[]);
    let mapping = fixture::mapping(address, pages * PAGE);
    let client = mapping.fd.try_clone().unwrap();
    gate.map(mapping).unwrap();
    (gate, client)
}

fn cut(file: impl AsFd, pages: u64) {
    rustix::fs::ftruncate(file, pages * PAGE).unwrap();
}

#[test]
fn what_is_gone_reads_as_zeroes_and_is_noted() {
    let (mut gate, client) = shared(0x10_0000, 16);
    gate.map(fixture::mapping(0, PAGE)).unwrap();
    let (other, _kept) = shared(0x10_0000, 16);
    for gate in [&gate, &other] {
        gate.write(0x10_0000, &[7; 0x10000]).unwrap();
    }
    cut(&client, 8);
    let before = losses();
    let mut byte = [0];
    gate.read(0x10_7fff, &mut byte).unwrap();
    assert_eq!((byte, gate.lost()), ([7], None), "what is there is there");

    // Copies, words, and in both directions.
    for length in [1, 4, 8, 64, 0x8000] {
        let mut bytes = vec![1; length];
        gate.read(0x10_8000, &mut bytes).unwrap();
        assert_eq!(bytes, vec![0; length]);
        assert_eq!(gate.lost(), Some(0x10_0000));
    }
    gate.write(0x10_8000, &[1; 0x8000]).unwrap();
    let mut segments = Vec::new();
    let length = 0x10000;
    gate.segments(0x10_0000, length, Direction::ToGuest, &mut segments)
        .unwrap();
    assert_eq!(segments[0].write(0, &[2; 0x10000]), 0x10000);
    assert_ne!(losses(), before);
    // All others are as they were.
    other.read(0x10_8000, &mut byte).unwrap();
    assert_eq!((byte, other.lost()), ([7], None));
    // What the client maps next is whole again.
    drop(segments);
    gate.unmap(0x10_0000, 16 * PAGE).unwrap();
    assert_eq!(gate.lost(), None);
    gate.map(fixture::mapping(0x10_0000, PAGE)).unwrap();
    gate.write(0x10_0000, &[3]).unwrap();
    assert_eq!(gate.lost(), None);
}

#[test]
fn threads_that_meet_the_end_together_all_go_on() {
    let (gate, client) = shared(0, 512);
    cut(&client, 0);
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (gate, start) = (&gate, &start);
            scope.spawn(move || {
                start.wait();
                for page in 0..512 {
                    let address = (page + thread * 128) % 512 * PAGE;
                    gate.write(address, &[1; 64]).unwrap();
                    gate.read(address, &mut [0; 64]).unwrap();
                }
            });
        }
    });
    assert_eq!(gate.lost(), Some(0));
}

/// A segment keeps its memory when the region is taken away; cut short then, it still does no harm.
#[test]
fn segments_in_flight_are_covered_too() {
    let (mut gate, client) = shared(0, 2);
    let mut segments = Vec::new();
    gate.segments(0, 8192, Direction::ToGuest, &mut segments)
        .unwrap();
    gate.unmap_all();
    cut(&client, 0);
    assert_eq!(segments[0].read(0, &mut [1; 8192]), 8192);
    assert_eq!(segments[0].write(0, &[1; 8192]), 8192);
}

/// Nobody who takes over this process finds a descriptor of guest RAM in it.
#[test]
fn descriptors_are_closed_once_they_are_mapped() {
    let name = "closed-once-mapped";
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, PAGE).unwrap();
    let mut gate = fixture::gate(&[]);
    gate.map(Mapping {
        fd,
        ..fixture::mapping(0, PAGE)
    })
    .unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let named = targets.filter(|it| it.to_string_lossy().contains(name));
    assert_eq!(named.count(), 0);
    gate.write(0, &[1]).unwrap();
}
