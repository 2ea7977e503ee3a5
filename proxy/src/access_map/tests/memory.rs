//! Ranges of memory, and the descriptors that come with them.

use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;

const SIZES: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

fn memfd(size: u64, flags: MemfdFlags, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("test", flags | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, size).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn good(size: u64) -> OwnedFd {
    memfd(size, MemfdFlags::CLOEXEC, SIZES)
}

fn memory(region: u32, offset: u64, size: u64, descriptor: u32) -> AccessEntry {
    AccessEntry {
        region,
        offset,
        size,
        treatment: Treatment::Memory { descriptor },
    }
}

fn adopt(entries: &[AccessEntry], fds: Vec<OwnedFd>) -> Result<Vec<BarMemory>, MapError> {
    let entries = entries.iter().copied();
    AccessMap::new(entries, fds, &regions(), &bars()).map(|(_, memories)| memories)
}

#[test]
fn a_range_gets_its_memfd() {
    let entries = [memory(2, 0x2000, 0x2000, 1), memory(2, 0, 0x1000, 0)];
    let memories = adopt(&entries, vec![good(0x1000), good(0x2000)]).unwrap();
    let places: Vec<_> = memories
        .iter()
        .map(|m| {
            let bytes = m.file().metadata().unwrap().len();
            (m.region(), m.offset(), m.size(), bytes)
        })
        .collect();
    assert_eq!(
        places,
        [(2, 0x2000, 0x2000, 0x2000), (2, 0, 0x1000, 0x1000)]
    );
}

#[test]
fn a_write_waits_while_the_guest_may_see_the_memory() {
    let entries = [memory(2, 0x1000, 0x1000, 0)];
    let (map, _) = AccessMap::new(entries, vec![good(0x1000)], &regions(), &bars()).unwrap();
    let waits = |region, offset| map.waits(byte(region, offset));
    assert!(!waits(2, 0x1000));
    map.set_mapped(true);
    assert!(waits(2, 0x1000) && waits(2, 0x1fff));
    assert!(!waits(2, 0xfff) && !waits(2, 0x2000) && !waits(1, 0x10));
    map.set_mapped(false);
    assert!(!waits(2, 0x1000));
}

/// What a hostile emulator may come up with, and what is said of it.
#[test]
fn odd_memories_are_refused() {
    let none = SealFlags::empty();
    let cloexec = MemfdFlags::CLOEXEC;
    let cases: Vec<(&str, Vec<AccessEntry>, Vec<OwnedFd>)> = vec![
        (
            "no memfd",
            vec![memory(2, 0, 0x1000, 0)],
            vec![std::fs::File::open("/dev/null").unwrap().into()],
        ),
        (
            "no memfd",
            vec![memory(2, 0, 0x1000, 0)],
            vec![tempfile::tempfile().unwrap().into()],
        ),
        (
            "no memfd",
            vec![memory(2, 0, 0x1000, 0)],
            vec![std::os::unix::net::UnixStream::pair().unwrap().0.into()],
        ),
        (
            "not sealed",
            vec![memory(2, 0, 0x1000, 0)],
            vec![memfd(0x1000, cloexec, none)],
        ),
        (
            "not sealed",
            vec![memory(2, 0, 0x1000, 0)],
            vec![memfd(0x1000, cloexec, SealFlags::GROW | SealFlags::SEAL)],
        ),
        (
            "not sealed",
            vec![memory(2, 0, 0x1000, 0)],
            vec![memfd(0x1000, cloexec, SealFlags::SHRINK | SealFlags::SEAL)],
        ),
        (
            "sealed",
            vec![memory(2, 0, 0x1000, 0)],
            vec![memfd(0x1000, cloexec, SIZES | SealFlags::WRITE)],
        ),
        (
            "another size",
            vec![memory(2, 0, 0x2000, 0)],
            vec![good(0x1000)],
        ),
        (
            "another size",
            vec![memory(2, 0, 0x1000, 0)],
            vec![good(0x2000)],
        ),
        ("another size", vec![memory(2, 0, 0x1000, 0)], vec![good(0)]),
        (
            "whole pages",
            vec![memory(2, 0x800, 0x1000, 0)],
            vec![good(0x1000)],
        ),
        (
            "whole pages",
            vec![memory(2, 0, 0x1800, 0)],
            vec![good(0x1800)],
        ),
        (
            "whole pages",
            vec![memory(1, 0, 0x400, 0)],
            vec![good(0x400)],
        ),
        (
            "no memory BAR",
            vec![memory(0, 0, 0x100, 0)],
            vec![good(0x1000)],
        ),
        ("missing", vec![memory(2, 0, 0x1000, 0)], vec![]),
        ("missing", vec![memory(2, 0, 0x1000, 1)], vec![good(0x1000)]),
        (
            "missing",
            vec![memory(2, 0, 0x1000, u32::MAX)],
            vec![good(0x1000)],
        ),
        (
            "another's",
            vec![memory(2, 0, 0x1000, 0), memory(2, 0x1000, 0x1000, 0)],
            vec![good(0x1000)],
        ),
        ("that no entry names", vec![], vec![good(0x1000)]),
        (
            "that no entry names",
            vec![memory(2, 0, 0x1000, 1)],
            vec![good(0x1000), good(0x1000)],
        ),
        (
            "overlap",
            vec![memory(2, 0, 0x2000, 0), memory(2, 0x1000, 0x1000, 1)],
            vec![good(0x2000), good(0x1000)],
        ),
        (
            "overlap",
            vec![entry(2, 0x10, 1), memory(2, 0, 0x1000, 0)],
            vec![good(0x1000)],
        ),
        ("not within", vec![memory(2, 0, 0, 0)], vec![good(0)]),
        (
            "not within",
            vec![memory(2, 0x4000, 0x1000, 0)],
            vec![good(0x1000)],
        ),
        (
            "not within",
            vec![memory(2, 0x1000, u64::MAX - 0xfff, 0)],
            vec![good(0x1000)],
        ),
        (
            "not within",
            vec![memory(6, 0, 0x1000, 0)],
            vec![good(0x1000)],
        ),
        (
            "not within",
            vec![memory(7, 0, 0x1000, 0)],
            vec![good(0x1000)],
        ),
    ];
    for (index, (reason, entries, fds)) in cases.into_iter().enumerate() {
        let error = adopt(&entries, fds).unwrap_err().to_string();
        assert!(error.contains(reason), "case {index}: {error}");
    }
}

fn any_entry() -> impl Strategy<Value = AccessEntry> {
    let page = prop_oneof![Just(0_u64), Just(0x1000), Just(0x2000), any::<u64>()];
    let size = prop_oneof![Just(1_u64), Just(0x1000), Just(0x2000), any::<u64>()];
    (0_u32..9, page, size, 0_u32..4, any::<u32>(), 0_u32..3).prop_map(
        |(region, offset, size, first, second, kind)| {
            let [through, clears, opaque, _] = second.to_le_bytes();
            let treatment = match kind {
                0 => Treatment::Memory { descriptor: first },
                1 => Treatment::Mirrored {
                    register: first,
                    through,
                    clears,
                    opaque,
                },
                _ => Treatment::Other {
                    kind: second.max(3),
                    words: [first, second],
                },
            };
            AccessEntry {
                region,
                offset,
                size,
                treatment,
            }
        },
    )
}

proptest! {
    /// Whatever is believed is disjoint, lies in a memory BAR, and has a memory of its own and of
    /// its size.
    #[test]
    fn what_is_believed_holds(
        entries in proptest::collection::vec(any_entry(), 0..6),
        sizes in proptest::collection::vec(0_u64..3, 0..3),
    ) {
        let fds = sizes.iter().map(|pages| good(pages * 0x1000)).collect();
        if let Ok((map, memories)) = AccessMap::new(entries, fds, &regions(), &bars()) {
            prop_assert_eq!(memories.len(), sizes.len());
            for (index, one) in memories.iter().enumerate() {
                prop_assert_eq!(one.region(), 2);
                prop_assert!(one.offset() + one.size() <= 0x4000);
                prop_assert_eq!(one.file().metadata().unwrap().len(), one.size());
                for other in &memories[..index] {
                    prop_assert!(
                        one.offset() + one.size() <= other.offset()
                            || other.offset() + other.size() <= one.offset()
                    );
                }
            }
            map.set_mapped(true);
            for offset in [0, 0xfff, 0x1000, 0x3fff] {
                let inside = memories
                    .iter()
                    .any(|m| (m.offset()..m.offset() + m.size()).contains(&offset));
                prop_assert_eq!(map.waits(byte(2, offset)), inside);
            }
        }
    }
}
