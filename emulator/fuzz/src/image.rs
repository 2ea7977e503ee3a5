//! Using what an image or a server makes a disk of.

use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use outrigger_block::{Backend, Data, FormatOptions, Locking, Op, Request};
use outrigger_fuzz::Input;

/// As the emulator opens images; without locks, which are the file's and not the image's.
pub(crate) const OPTIONS: FormatOptions = FormatOptions {
    read_only: false,
    direct: false,
    discard: true,
    locking: Locking::Off,
};

/// A directory that is kept from input to input.
///
/// # Panics
/// If there can be none.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // In memory where there is such a place: a file is written for each input.
        let memory = Path::new("/dev/shm");
        let folder = tempfile::Builder::new()
            .prefix("outrigger-fuzz-")
            .tempdir_in(if memory.is_dir() {
                memory.to_owned()
            } else {
                std::env::temp_dir()
            });
        folder.expect("a directory").keep()
    })
}

/// The library for image formats panics on some images. The emulator catches that, and so it is no failure here: only other
/// panics are reported, and end the program.
pub(crate) fn allow_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(|it| it.file()).unwrap_or_default();
            if place.contains("/imago-") {
                return;
            }
            report(panic);
        }));
    });
}

/// Reads, writes and frees what the input says, and a little of everything besides.
///
/// # Panics
/// If a request does not come back exactly once, or one beyond the end succeeds.
pub(crate) fn use_it(mut backend: Backend, input: &mut Input<'_>) {
    let geometry = backend.geometry();
    assert!(geometry.bytes > 0 && geometry.bytes.is_multiple_of(512));
    let blocks = geometry.bytes / 512;
    for _ in 0..=input.u8() & 7 {
        let choice = input.u8();
        let block = match choice >> 6 {
            0 => u64::from(input.u8()),
            1 => blocks.saturating_sub(u64::from(input.u8())),
            2 => u64::from(input.u16()) * 8,
            _ => input.near(blocks),
        };
        let length = 512 * (1 + u64::from(choice >> 3 & 7) * 5);
        let offset = block.saturating_mul(512);
        let size = usize::try_from(length).expect("a few");
        let (op, data) = match choice & 7 {
            0..=2 => (Op::Read, Data::Owned(vec![0; size])),
            3 | 4 => (
                Op::Write {
                    fua: choice & 1 == 0,
                },
                Data::Owned(vec![choice; size]),
            ),
            5 => (Op::Discard, Data::None),
            6 => (
                Op::WriteZeroes {
                    unmap: choice & 8 != 0,
                },
                Data::None,
            ),
            _ => (Op::Flush, Data::None),
        };
        let (offset, length) = if op == Op::Flush {
            (0, 0)
        } else {
            (offset, length)
        };
        let request = Request {
            cookie: 7,
            op,
            offset,
            length,
            data,
        };
        let mut done = Vec::new();
        done.extend(backend.submit(request));
        backend.kick();
        backend.drain(false, &mut done);
        assert_eq!(done.len(), 1, "each request ends once");
        let done = done.pop().expect("one");
        assert_eq!(done.cookie, 7);
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= geometry.bytes);
        if !inside {
            assert!(done.result.is_err(), "{op:?} at {offset}");
        }
    }
}
