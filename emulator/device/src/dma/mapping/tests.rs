use super::*;
use crate::dma::fixture;

const PAGE: u64 = 4096;

#[test]
fn huge_pages_are_mapped_in_parts_and_given_back() {
    const HUGE: u64 = 2 << 20;
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::HUGETLB;
    // Few machines have huge pages set aside; the arithmetic has a test of its own below, with any granule.
    let Ok(fd) =
        rustix::fs::memfd_create("gate-huge-check", flags | rustix::fs::MemfdFlags::HUGE_2MB)
    else {
        return;
    };
    rustix::fs::ftruncate(&fd, HUGE).unwrap();
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .matches("gate-huge-check")
            .count()
    };
    let mut gate = fixture::gate(&[]);
    // As a PC's RAM is: a hole for the VGA window within the first huge page.
    for (address, size) in [(0, 0xa_0000), (0xc_0000, HUGE - 0xc_0000)] {
        let part = Mapping {
            fd: fd.try_clone().unwrap(),
            offset: address,
            ..fixture::mapping(0, PAGE)
        };
        match gate.map(Mapping {
            address,
            size,
            ..part
        }) {
            Ok(()) => {}
            Err(MapError::Kernel(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(mapped(), 2);
    gate.write(0x9_fffc, &[1, 2, 3, 4]).unwrap();
    gate.write(0xc_0000, &[5, 6, 7, 8]).unwrap();
    let (mut low, mut high) = ([0; 4], [0; 4]);
    gate.read(0x9_fffc, &mut low).unwrap();
    gate.read(0xc_0000, &mut high).unwrap();
    assert_eq!((low, high), ([1, 2, 3, 4], [5, 6, 7, 8]));
    gate.unmap_all();
    assert_eq!(mapped(), 0);
}

#[test]
fn a_range_within_a_larger_granule_ends_where_it_was_asked_to() {
    let fd = fixture::memfd(16 * PAGE);
    let part = Mapping {
        fd: fd.try_clone().unwrap(),
        offset: 5 * PAGE,
        ..fixture::mapping(0, 2 * PAGE)
    };
    let memory = GuestMemory::with_granule(part, 8 * PAGE).unwrap();
    assert_eq!(memory.write(0, &[1, 2, 3]), 3);
    assert_eq!(memory.write(8190, &[4, 5, 6]), 2);
    assert_eq!(memory.write(8192, &[7]), 0);
    let mut file = vec![0; 16 << 12];
    rustix::io::pread(&fd, &mut file[..], 0).unwrap();
    let set: Vec<_> = file
        .iter()
        .enumerate()
        .filter(|(_, b)| **b != 0)
        .map(|(i, b)| (i, *b))
        .collect();
    let start = 5 << 12;
    assert_eq!(
        set,
        [
            (start, 1),
            (start + 1, 2),
            (start + 2, 3),
            (start + 8190, 4),
            (start + 8191, 5)
        ]
    );
}

#[test]
fn words_are_not_torn() {
    use std::sync::atomic::AtomicBool;
    let gate = fixture::gate(&[(0, PAGE)]);
    let stop = AtomicBool::new(false);
    let start = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // As a guest's CPU would: all bits of each word flip together.
            let mut value = 0_u8;
            start.wait();
            while !stop.load(Ordering::Relaxed) {
                value = !value;
                gate.write(4, &[value; 12]).unwrap();
            }
        });
        start.wait();
        let torn = (0..200_000).find_map(|round| {
            // Read to an odd address, so that nothing is aligned by chance.
            let mut room = [0; 13];
            let odd = 1 - room.as_ptr().addr() % 2;
            let bytes = &mut room[odd..][..4 + round % 3 * 4];
            let read = gate.read(4, bytes);
            let whole = bytes.chunks(4).all(|word| word == [word[0]; 4]);
            (read.is_err() || !whole).then(|| bytes.to_vec())
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(torn, None);
    });
}
