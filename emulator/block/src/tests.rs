//! One suite of behaviour for every backend, against a byte vector.

mod behaviour;
mod decorators;
mod image;
mod in_flight;
mod lost;
mod property;
pub(crate) mod tools;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::*;
use outrigger_device::dma::{Direction, Gate, fixture};

/// Guest RAM in the tests: two regions that touch, so that ranges cross from one mapping to the next.
const RAM: [(u64, u64); 2] = [(0x10_0000, 0x8_0000), (0x18_0000, 0x8_0000)];
const RAM_START: u64 = RAM[0].0;
const RAM_SIZE: u64 = RAM[0].1 + RAM[1].1;

/// Where a test's image lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The build directory: a disk's file system.
    Disk,
    /// tmpfs.
    Memory,
}

pub(crate) fn image_file(place: Place, bytes: &[u8]) -> File {
    let folder = match place {
        Place::Disk => {
            let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            path.push("../../target/tmp");
            std::fs::create_dir_all(&path).unwrap();
            path
        }
        Place::Memory => PathBuf::from("/dev/shm"),
    };
    let mut file = tempfile::tempfile_in(folder).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn file_bytes(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every kind of backend that this machine has, by name, holding `bytes`; the others are named as skipped.
fn backends(bytes: &[u8]) -> Vec<(String, Backend)> {
    let mut all = vec![("memory".into(), Backend::memory(bytes.to_vec(), false))];
    for place in [Place::Disk, Place::Memory] {
        for engine in [Engine::IoUring, Engine::Threads] {
            for direct in [false, true] {
                let name = format!("{place:?} {engine:?} direct={direct}");
                let options = FileOptions {
                    read_only: false,
                    direct,
                    engine,
                };
                match Backend::file(image_file(place, bytes), options) {
                    Ok(backend) => all.push((name, backend)),
                    Err(error @ (OpenError::IoUring(_) | OpenError::Direct(_))) => {
                        outrigger_skip::skipped(format_args!("{name}: {error}"));
                    }
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    all
}

/// Pieces of guest RAM: `(offset in RAM, length)` each.
fn guest(gate: &Gate, direction: Direction, pieces: &[(u64, u32)]) -> Data {
    let mut segments = Vec::new();
    for &(at, length) in pieces {
        gate.segments(RAM_START + at, length, direction, &mut segments)
            .unwrap();
    }
    Data::Guest(segments)
}

fn request(op: Op, offset: u64, length: u64, data: Data) -> Request {
    Request {
        cookie: offset ^ 0x5a,
        op,
        offset,
        length,
        data,
    }
}

/// Submits, kicks and waits without sleeping; the one completion.
fn run(backend: &mut Backend, request: Request) -> Completion {
    let cookie = request.cookie;
    let mut done = Vec::new();
    done.extend(backend.submit(request));
    backend.kick();
    backend.drain(false, &mut done);
    assert_eq!(done.len(), 1, "one completion for one request");
    let completion = done.pop().unwrap();
    assert_eq!(completion.cookie, cookie);
    completion
}

/// Waits on the wake descriptor, as the event loop does, until `count` completions are there.
fn wait_for(backend: &mut Backend, count: usize, done: &mut Vec<Completion>) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        backend.reap(done);
        if done.len() >= count {
            return;
        }
        let fd = backend.wake_fd().expect("an engine has a wake descriptor");
        // The kernel interrupts the wait to finish io_uring's work on this thread.
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A disk's worth of bytes that differ by place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 9)).to_le_bytes()[0])
        .collect()
}

/// A device and all that is in it go to the worker's thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Backend>();
    is_send::<Gate>();
};
