//! DMA_MAP and DMA_UNMAP against a simple model: memory is reached exactly while it is mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;

use outrigger_vfio_user::{DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
use proptest::prelude::*;
use rustix::io::Errno;

use super::device::{GREET, GREETING};
use super::*;

const PAGE: u64 = 4096;
/// The test's address space: so many pages from [`START`] on, the last of them at the top of all addresses.
const PAGES: u64 = 12;
const START: u64 = 0_u64.wrapping_sub(PAGES * PAGE);

/// A range as a client maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    page: u64,
    pages: u64,
    flags: DmaMapFlags,
    /// Whether a file comes with it.
    file: bool,
}

impl Range {
    fn address(self) -> u64 {
        START + self.page * PAGE
    }

    fn size(self) -> u64 {
        self.pages * PAGE
    }

    fn overlaps(self, other: Self) -> bool {
        self.page < other.page + other.pages && other.page < self.page + self.pages
    }

    fn takes(self, page: u64) -> bool {
        self.file
            && self.flags.contains(DmaMapFlags::WRITE)
            && (self.page..self.page + self.pages).contains(&page)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Map(Range),
    /// Of a range that is mapped, if there is one: exactly, or so many pages off at its start and its end.
    Unmap(prop::sample::Index, i8, i8),
    UnmapAll,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        6 => Just(DmaMapFlags::READ | DmaMapFlags::WRITE),
        1 => Just(DmaMapFlags::READ),
        1 => Just(DmaMapFlags::WRITE),
        1 => Just(DmaMapFlags::empty()),
    ];
    let range = (0..PAGES, 0..4_u64, flags, any::<bool>());
    let range = range.prop_map(|(page, pages, flags, file)| Range {
        page,
        pages,
        flags,
        file,
    });
    let off = || prop_oneof![6 => Just(0), 1 => -1..2_i8];
    prop_oneof![
        12 => range.prop_map(Step::Map),
        8 => (any::<prop::sample::Index>(), off(), off()).prop_map(|(index, start, end)| Step::Unmap(index, start, end)),
        1 => Just(Step::UnmapAll),
    ]
}

/// What the client finds at each page after the device was asked to write to it.
fn check(
    server: &mut Server,
    client: &mut Client,
    ram: &File,
    model: &[Range],
) -> Result<(), TestCaseError> {
    for page in 0..PAGES {
        // The file has the address space's layout, so each page is found again.
        let at = page * PAGE + 0x20;
        ram.write_all_at(&[0; 4], at).unwrap();
        client.write(server, 1, GREET, &(START + at).to_le_bytes());
        let mut found = [0; 4];
        ram.read_exact_at(&mut found, at).unwrap();
        let reached = model.iter().any(|range| range.takes(page));
        prop_assert_eq!(found == *GREETING, reached, "page {}", page);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_reached_exactly_while_it_is_mapped(steps in prop::collection::vec(step(), 1..40)) {
        let mut server = Server::new();
        let mut client = server.attach();
        client.write(&mut server, 7, 4, &[6, 0]);
        let ram = memory(PAGES * PAGE);
        let mut model: Vec<Range> = Vec::new();
        for step in steps {
            match step {
                Step::Map(range) => {
                    let request = Request::DmaMap(DmaMap {
                        flags: range.flags,
                        offset: range.page * PAGE,
                        address: range.address(),
                        size: range.size(),
                    });
                    let fds = [ram.as_fd()];
                    let fds = if range.file { &fds[..] } else { &[] };
                    let errno = client.ask(&mut server, &request, fds).errno();
                    let wraps = range.pages == 0 || range.page + range.pages > PAGES;
                    let useless = range.file && range.flags.is_empty();
                    let expected = if wraps || useless {
                        Errno::INVAL.raw_os_error()
                    } else if model.iter().any(|other| range.overlaps(*other)) {
                        Errno::EXIST.raw_os_error()
                    } else {
                        model.push(range);
                        0
                    };
                    prop_assert_eq!(errno, expected, "{:?} over {:?}", range, model);
                }
                Step::Unmap(index, start, end) => {
                    let Some(place) = (!model.is_empty()).then(|| index.index(model.len())) else {
                        continue;
                    };
                    let range = model[place];
                    let address = range.address().wrapping_add_signed(i64::from(start) * 4096);
                    let size = range.size().wrapping_add_signed(i64::from(end) * 4096);
                    let request = Request::DmaUnmap(DmaUnmap { flags: DmaUnmapFlags::empty(), address, size });
                    let errno = client.ask(&mut server, &request, &[]).errno();
                    let exact = |range: &Range| (range.address(), range.size()) == (address, size);
                    let expected = match model.iter().position(exact) {
                        Some(place) => {
                            model.swap_remove(place);
                            0
                        }
                        None => Errno::NOENT.raw_os_error(),
                    };
                    prop_assert_eq!(errno, expected, "{:x} {:x} of {:?}", address, size, model);
                }
                Step::UnmapAll => {
                    let request = Request::DmaUnmap(DmaUnmap { flags: DmaUnmapFlags::ALL, address: 0, size: 0 });
                    prop_assert_eq!(client.ask(&mut server, &request, &[]).errno(), 0);
                    model.clear();
                }
            }
            check(&mut server, &mut client, &ram, &model)?;
        }
    }
}
