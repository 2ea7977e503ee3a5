//! Images in formats: what `qemu-img` makes and what it says of what we made of it, bad images, locks.

mod bad;
mod foreign;
mod locks;
mod mutation;
mod vmdk;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::*;
use crate::tests::tools::spawn;
use crate::{Backend, Locking};

/// Without locks: a program that another test is starting has our descriptors for a moment, and keeps what they lock. See
/// `locks` for those.
const READ_WRITE: FormatOptions = FormatOptions {
    read_only: false,
    direct: false,
    discard: true,
    locking: Locking::Off,
};
const READ_ONLY: FormatOptions = FormatOptions {
    read_only: true,
    ..READ_WRITE
};

/// A directory for images, and `qemu-img` in it.
struct Folder(TempDir);

impl Folder {
    /// `None`, and it says so, where there is no `qemu-img`.
    fn new() -> Option<Self> {
        let mut version = Command::new("qemu-img");
        version.arg("--version").stdout(Stdio::null());
        let found = spawn(&mut version);
        if !found.is_ok_and(|mut child| child.wait().is_ok()) {
            outrigger_skip::skipped("qemu-img is not installed");
            return None;
        }
        Some(Self::without_tools())
    }

    fn without_tools() -> Self {
        let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        path.push("../../target/tmp");
        std::fs::create_dir_all(&path).unwrap();
        Self(tempfile::tempdir_in(path.canonicalize().unwrap()).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn try_run(&self, program: &str, arguments: &str) -> Output {
        let mut command = Command::new(program);
        command
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        spawn(&mut command).unwrap().wait_with_output().unwrap()
    }

    /// Runs `qemu-img` with these arguments; it must succeed.
    fn img(&self, arguments: &str) -> String {
        let output = self.try_run("qemu-img", arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "qemu-img {arguments}: {text}{errors}"
        );
        text
    }

    /// The image is sound, and its disk has these bytes.
    fn holds(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path("twin.raw"), bytes).unwrap();
        self.img(&format!("check -q -f qcow2 {name}"));
        self.img(&format!("compare -f qcow2 -F raw {name} twin.raw"));
    }

    fn qcow2(&self, name: &str, options: FormatOptions) -> Result<OpenedFormat, FormatError> {
        open(&self.path(name), options)
    }

    fn backend(&self, name: &str, options: FormatOptions) -> Backend {
        Backend::format(self.qcow2(name, options).unwrap()).unwrap()
    }
}

fn open(path: &Path, options: FormatOptions) -> Result<OpenedFormat, FormatError> {
    qcow2(
        ImageFile::open(path, options)?,
        Backing::AsNamed,
        None,
        options,
    )
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let seed = self.roll().to_le_bytes();
        (0..length)
            .map(|at| seed[at % 8] ^ (at >> 3).to_le_bytes()[0])
            .collect()
    }
}

fn request(cookie: u64, op: Op, offset: u64, length: u64, data: Data) -> Request {
    Request {
        cookie,
        op,
        offset,
        length,
        data,
    }
}

/// One request, done.
fn run(
    backend: &mut Backend,
    op: Op,
    offset: u64,
    length: u64,
    data: Data,
) -> Result<Data, BlockError> {
    let mut done = Vec::new();
    done.extend(backend.submit(request(7, op, offset, length, data)));
    backend.kick();
    backend.drain(false, &mut done);
    let Completion { data, result, .. } = done.pop().unwrap();
    assert!(done.is_empty());
    result.map(|()| data)
}

fn read(backend: &mut Backend, offset: u64, length: usize) -> Result<Vec<u8>, BlockError> {
    let data = Data::Owned(vec![0xee; length]);
    match run(backend, Op::Read, offset, length as u64, data)? {
        Data::Owned(bytes) => Ok(bytes),
        _ => panic!("other data"),
    }
}

fn write(backend: &mut Backend, offset: u64, bytes: Vec<u8>) -> Result<(), BlockError> {
    let op = Op::Write { fua: false };
    run(backend, op, offset, bytes.len() as u64, Data::Owned(bytes)).map(|_| ())
}

/// Random requests, several at a time where they do not overlap, with `model` as the disk that they should make.
fn exercise(backend: &mut Backend, model: &mut [u8], dice: &mut Dice, rounds: usize) {
    let sectors = model.len() as u64 / 512;
    for _ in 0..rounds {
        let mut in_flight: Vec<(u64, u64)> = Vec::new();
        let mut expected = std::collections::BTreeMap::new();
        let mut done = Vec::new();
        for cookie in 0..1 + dice.below(8) {
            let start = dice.below(sectors);
            let length = (1 + dice.below(400)).min(sectors - start) * 512;
            let offset = start * 512;
            if (in_flight.iter()).any(|(at, end)| offset < *end && *at < offset + length) {
                continue;
            }
            in_flight.push((offset, offset + length));
            let (from, size) = (
                usize::try_from(offset).unwrap(),
                usize::try_from(length).unwrap(),
            );
            let place = from..from + size;
            let (op, data) = match dice.below(10) {
                0..5 => {
                    let bytes = dice.bytes(size);
                    model[place].copy_from_slice(&bytes);
                    let fua = dice.below(8) == 0;
                    (Op::Write { fua }, Data::Owned(bytes))
                }
                5 => {
                    model[place].fill(0);
                    (Op::WriteZeroes { unmap: false }, Data::None)
                }
                6 => {
                    model[place].fill(0);
                    (Op::WriteZeroes { unmap: true }, Data::None)
                }
                _ => {
                    expected.insert(cookie, model[place].to_vec());
                    (Op::Read, Data::Owned(vec![0; size]))
                }
            };
            done.extend(backend.submit(request(cookie, op, offset, length, data)));
        }
        if dice.below(4) == 0 {
            done.extend(backend.submit(request(99, Op::Flush, 0, 0, Data::None)));
        }
        backend.kick();
        backend.drain(false, &mut done);
        for completion in done {
            completion.result.unwrap();
            if let (Some(bytes), Data::Owned(read)) =
                (expected.get(&completion.cookie), completion.data)
            {
                assert!(*bytes == read, "what was read is what was written");
            }
        }
    }
}

const MIB: usize = 1 << 20;

#[test]
fn what_is_written_is_what_qemu_img_finds() {
    let Some(folder) = Folder::new() else { return };
    for (seed, (options, direct)) in [
        ("cluster_size=64k", false),
        ("cluster_size=64k", true),
        ("cluster_size=512", false),
        ("cluster_size=2M,lazy_refcounts=on", false),
        ("compat=0.10", false),
        ("refcount_bits=1", false),
        ("preallocation=metadata", false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut dice = Dice(seed as u64 + 0x9e37_79b9);
        let mut model = vec![0; 8 * MIB];
        folder.img(&format!("create -q -f qcow2 -o {options} disk.qcow2 8M"));
        let access = FormatOptions {
            direct,
            ..READ_WRITE
        };
        // Twice, so that what was written the first time is found the second.
        for _ in 0..2 {
            let mut backend = folder.backend("disk.qcow2", access);
            assert_eq!(backend.geometry().bytes, 8 << 20);
            exercise(&mut backend, &mut model, &mut dice, 60);
            drop(backend);
            folder.holds("disk.qcow2", &model);
        }
    }
}

/// imago looks whether the rest of a cluster is zero before it makes all of it so.
#[test]
fn zeroes_and_a_write_in_one_cluster_at_a_time() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 -o cluster_size=2M disk.qcow2 4M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    for round in 0..3000_u32 {
        let unmap = Op::WriteZeroes { unmap: true };
        run(&mut backend, unmap, 0, 2 << 20, Data::None).unwrap();
        let written = [round.to_le_bytes()[0] | 1; 512];
        let pair = [
            request(0, Op::WriteZeroes { unmap: false }, 512, 512, Data::None),
            request(
                1,
                Op::Write { fua: false },
                0,
                512,
                Data::Owned(written.to_vec()),
            ),
        ];
        let mut done = Vec::new();
        for request in pair {
            assert!(backend.submit(request).is_none());
        }
        backend.kick();
        backend.drain(false, &mut done);
        assert_eq!(done.len(), 2);
        assert!(done.iter().all(|it| it.result.is_ok()));
        assert!(
            read(&mut backend, 0, 512).unwrap() == written,
            "round {round}"
        );
    }
}

#[test]
fn a_chain_with_compressed_clusters_and_a_snapshot() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(5);
    let mut model = dice.bytes(4 * MIB);
    std::fs::write(folder.path("base.raw"), &model).unwrap();
    folder.img("convert -q -c -f raw -O qcow2 base.raw base.qcow2");
    folder.img("create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2");
    folder.img("create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2 5M");
    model.resize(5 * MIB, 0);

    let mut middle = folder.backend("middle.qcow2", READ_WRITE);
    let mut lower = model.clone();
    exercise(&mut middle, &mut lower[..4 * MIB], &mut dice, 4);
    drop(middle);
    let mut model = lower;

    let mut top = folder.backend("top.qcow2", READ_WRITE);
    assert!(
        read(&mut top, 0, model.len()).unwrap() == model,
        "read through the chain"
    );
    exercise(&mut top, &mut model, &mut dice, 40);
    drop(top);

    folder.img("snapshot -q -c before top.qcow2");
    let before = model.clone();
    let mut top = folder.backend("top.qcow2", READ_WRITE);
    exercise(&mut top, &mut model, &mut dice, 40);
    drop(top);
    folder.holds("top.qcow2", &model);
    folder.img("snapshot -q -a before top.qcow2");
    folder.holds("top.qcow2", &before);
}

#[test]
fn compressed_clusters_are_written_over() {
    let Some(folder) = Folder::new() else { return };
    let mut dice = Dice(11);
    let mut model = dice.bytes(2 * MIB);
    std::fs::write(folder.path("base.raw"), &model).unwrap();
    folder.img("convert -q -c -f raw -O qcow2 base.raw disk.qcow2");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    exercise(&mut backend, &mut model, &mut dice, 60);
    drop(backend);
    folder.holds("disk.qcow2", &model);
}

#[test]
fn a_discard_punches_a_hole_in_the_file() {
    use std::os::unix::fs::MetadataExt;
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 disk.qcow2 16M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    write(&mut backend, 0, vec![7; 8 * MIB]).unwrap();
    run(&mut backend, Op::Flush, 0, 0, Data::None).unwrap();
    let blocks = || {
        std::fs::metadata(folder.path("disk.qcow2"))
            .unwrap()
            .blocks()
    };
    let full = blocks();
    run(&mut backend, Op::Discard, 1 << 20, 6 << 20, Data::None).unwrap();
    run(&mut backend, Op::Flush, 0, 0, Data::None).unwrap();
    let freed = (full - blocks()) * 512;
    assert!(freed >= 5 << 20, "{freed} bytes were freed");
    let bytes = read(&mut backend, 0, 8 * MIB).unwrap();
    let mut expected = vec![7; 16 * MIB];
    expected[MIB..7 * MIB].fill(0);
    expected[8 * MIB..].fill(0);
    assert!(bytes == expected[..8 * MIB]);
    drop(backend);
    folder.holds("disk.qcow2", &expected);
}

#[test]
fn guest_ram_is_read_and_written_piece_by_piece() {
    use outrigger_device::dma::{Direction, Gate, fixture};
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 disk.qcow2 4M");
    let mut backend = folder.backend("disk.qcow2", READ_WRITE);
    let gate: Gate = fixture::gate(&[(0x1000, 1 << 20)]);
    let bytes: Vec<u8> = (0..512 * 1500_u32)
        .map(|at| (at / 512 + at).to_le_bytes()[0])
        .collect();
    assert!(gate.write(0x1000, &bytes).is_ok());
    // More pieces than one call can name, none next to another.
    let pieces = |direction| {
        let mut segments = Vec::new();
        for index in (0..1500_u64).rev() {
            gate.segments(0x1000 + index * 512, 512, direction, &mut segments)
                .unwrap();
        }
        Data::Guest(segments)
    };
    let length = bytes.len() as u64;
    let op = Op::Write { fua: true };
    run(&mut backend, op, 512, length, pieces(Direction::FromGuest)).unwrap();
    let reversed: Vec<u8> = bytes.chunks(512).rev().flatten().copied().collect();
    assert!(read(&mut backend, 512, bytes.len()).unwrap() == reversed);
    gate.write(0x1000, &vec![0; bytes.len()]).unwrap();
    run(
        &mut backend,
        Op::Read,
        512,
        length,
        pieces(Direction::ToGuest),
    )
    .unwrap();
    let mut back = vec![0; bytes.len()];
    gate.read(0x1000, &mut back).unwrap();
    assert!(back == bytes);
}
