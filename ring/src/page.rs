//! A page of counters that one thread writes and any process reads, without a lock, a system call
//! or a trace of the reader.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::SetupError;
use crate::layout::{HEADER_BYTES, LINE, Shape};
use crate::memory::{Line, OwnLines, PeerLines};
use crate::shared::{Made, Shared};
use crate::sync::{Ordering, fence};

/// Counters in a line.
pub const LINE_COUNTERS: usize = 7;
/// Lines of a page, a power of two.
pub const PAGE_LINES: usize = 8;

const BYTES: u64 = 4096;
const _: () = assert!(PAGE_LINES == 8 && LINE * (1 + PAGE_LINES as u64) <= BYTES);

/// The counters of a page, line by line. What each means is its writer's to say.
pub type PageCounters = [[u64; LINE_COUNTERS]; PAGE_LINES];

/// Header: magic @0, version 1 @8, lines @12, zero from @16.
fn shape() -> Shape {
    let mut header = [0; HEADER_BYTES];
    let fields = b"OUTRCNT1".iter().copied().chain([1, 0, 0, 0, 8]);
    for (to, from) in header.iter_mut().zip(fields) {
        *to = from;
    }
    Shape {
        name: "outrigger-counters",
        size: BYTES,
        header,
        both_write: false,
    }
}

/// The writing end.
#[derive(Debug)]
pub struct CounterPage {
    shared: Made,
    lines: OwnLines,
    updates: u64,
}

impl CounterPage {
    /// A new page of zeroes.
    ///
    /// # Errors
    /// [`SetupError::Io`]: no descriptors or memory left.
    pub fn new() -> Result<Self, SetupError> {
        let shared = Made::create(shape())?;
        let lines = shared.own(LINE, PAGE_LINES as u64)?;
        Ok(Self {
            shared,
            lines,
            updates: 0,
        })
    }

    /// For readers. It can be mapped to read only.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.descriptor()
    }

    /// Writes all counters as `collect` finds them: 65 stores and a fence, nothing else. A reader
    /// that comes while it collects waits for the next writing.
    pub fn publish(&mut self, collect: impl FnOnce() -> PageCounters) {
        self.updates += 1;
        self.lines.at(0).release(self.updates);
        // SYNC: pairs with the fence in `CounterView::begun`. Either that sees the number, or what is collected now has what happened
        // before it.
        fence(Ordering::SeqCst);
        for (index, counters) in (0..).zip(&collect()) {
            let line = self.lines.at(index);
            line.fill(*counters);
            // SYNC: pairs with the acquire in `CounterView::read`.
            line.release(self.updates);
        }
    }
}

/// A reader's end.
#[derive(Debug)]
pub struct CounterView {
    lines: PeerLines,
}

impl CounterView {
    /// Checks and maps a page. Seals, size and header cannot change afterwards, so no read can
    /// fault; the counters may say anything.
    ///
    /// # Errors
    /// Any [`SetupError`]: it is no such page.
    pub fn new(page: OwnedFd) -> Result<Self, SetupError> {
        let shared = Shared::adopt(page, shape())?;
        let lines = shared.peer(LINE, PAGE_LINES as u64)?;
        Ok(Self { lines })
    }

    /// How many writings have begun. What happened before this call is in the counters of the first
    /// writing with a higher number ([`CounterView::read`]).
    #[must_use]
    pub fn begun(&self) -> u64 {
        // SYNC: pairs with the fence in `CounterPage::publish`.
        fence(Ordering::SeqCst);
        self.lines.at(0).glance()
    }

    /// How often the page has been written, and the counters of that writing, or of a later one.
    /// Counters of one line and of different lines need not be of the same writing while the writer
    /// is at it.
    #[must_use]
    pub fn read(&self) -> (u64, PageCounters) {
        // The writer ends with the last line.
        let updates = self.lines.at(PAGE_LINES as u64 - 1).glance();
        // SYNC: pairs with the release in `CounterPage::publish`.
        Line::acquire();
        let mut counters = [[0; LINE_COUNTERS]; PAGE_LINES];
        for (index, counters) in (0..).zip(&mut counters) {
            *counters = self.lines.at(index).body();
        }
        (updates, counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(page: &CounterPage) -> OwnedFd {
        page.descriptor().try_clone_to_owned().unwrap()
    }

    #[test]
    fn readers_see_what_was_published_and_cannot_write() {
        let mut page = CounterPage::new().unwrap();
        let views = [0, 1].map(|_| CounterView::new(own(&page)).unwrap());
        let mut counters = PageCounters::default();
        for update in 0..3 {
            for view in &views {
                assert_eq!(view.read(), (update, counters));
            }
            for (index, counter) in (1..).zip(counters.iter_mut().flatten()) {
                *counter += index;
            }
            page.publish(|| counters);
        }
        assert!(crate::memory::Mapping::new(page.descriptor(), BYTES, true).is_err());
        assert!(rustix::io::pwrite(page.descriptor(), b"x", 64).is_err());
        assert!(rustix::fs::ftruncate(page.descriptor(), 0).is_err());
    }

    #[test]
    fn a_reader_never_sees_a_count_older_than_the_writing_it_was_told() {
        let mut page = CounterPage::new().unwrap();
        let view = CounterView::new(own(&page)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for update in 1..=20_000 {
                    page.publish(|| [[update; LINE_COUNTERS]; PAGE_LINES]);
                }
            });
            loop {
                let (updates, counters) = view.read();
                assert!(counters.iter().flatten().all(|count| *count >= updates));
                if updates == 20_000 {
                    break;
                }
            }
        });
    }

    /// Whoever comes while a writing collects is not content with it.
    #[test]
    fn a_writing_that_has_begun_is_not_waited_for() {
        let mut page = CounterPage::new().unwrap();
        let view = CounterView::new(own(&page)).unwrap();
        assert_eq!(view.begun(), 0);
        let mut begun = 0;
        page.publish(|| {
            begun = view.begun();
            PageCounters::default()
        });
        assert_eq!((begun, view.read().0, view.begun()), (1, 1, 1));
        page.publish(PageCounters::default);
        assert!(view.read().0 > begun);
    }

    #[test]
    fn other_memories_are_refused() {
        let setup = crate::ClientSetup::new(crate::Geometry::new(1, 16).unwrap()).unwrap();
        let requests = setup.requests().try_clone_to_owned().unwrap();
        assert!(CounterView::new(requests).is_err());
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        assert!(matches!(
            CounterView::new(event),
            Err(SetupError::NotMemfd(_))
        ));
    }
}
