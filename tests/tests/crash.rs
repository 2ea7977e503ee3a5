//! The emulator, the VMM or both are killed while a guest writes: what the guest was told is durable is in the image.
//!
//! This program starts itself once more as the VMM, whose guest writes numbered chunks and says on its standard output how many
//! of its requests have been acknowledged, in order. A chunk that was acknowledged must be in the image, whole; any
//! other may be as it was or as it was to become, sector by sector.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::{Emulator, export};
use outrigger_tests::front::{Attached, options, vcpu_kinds};
use outrigger_tests::place::Place;
use outrigger_tests::random::Random;
use outrigger_vmm::guest::layout::{BUFFERS, REQUESTS, request};
use outrigger_vmm::{Request, Workload};
use rustix::process::Signal;

/// In the environment of the process that is the VMM: how it writes, over what, in which round, and where the emulator is.
const ROLE: &str = "OUTRIGGER_TEST_CRASH";
const NAME: &str = "what_was_acknowledged_as_durable_is_in_the_image";
/// Begins a line that says how many requests have been acknowledged.
const ACKNOWLEDGED: &str = "acknowledged ";

const SECTOR: usize = 512;
/// Sectors of a chunk.
const SECTORS: u16 = 8;
const CHUNK: usize = SECTORS as usize * SECTOR;
const CHUNKS: u32 = 1024;
/// A request is a write; with [`Mode::Synchronized`] each of these is a SYNCHRONIZE CACHE instead.
const SYNCHRONIZE_EVERY: u32 = 4;
/// Where the data are: not where the sense of the first command went.
const DATA: u32 = BUFFERS + 0x1_0000;

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By itself: FUA.
    Fua,
    /// By itself: the disk has no write cache.
    Uncached,
    /// By the SYNCHRONIZE CACHE that follows it.
    Synchronized,
}

const MODES: [Mode; 3] = [Mode::Fua, Mode::Uncached, Mode::Synchronized];

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Emulator,
    Vmm,
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Emulator, Victim::Vmm, Victim::Both];

/// What a round writes to a sector: 64 times the same number, which no other round or sector has.
fn sector(round: usize, number: usize) -> [u8; SECTOR] {
    let word = (((round + 1) << 32) + number) as u64;
    let mut bytes = [0; SECTOR];
    for eight in bytes.chunks_exact_mut(8) {
        eight.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The chunk that a request writes; `None` for a SYNCHRONIZE CACHE.
fn written_by(mode: Mode, index: u32) -> Option<u32> {
    match mode {
        Mode::Fua | Mode::Uncached => Some(index),
        Mode::Synchronized if index % SYNCHRONIZE_EVERY == SYNCHRONIZE_EVERY - 1 => None,
        Mode::Synchronized => Some(index),
    }
    // Neighbours are far apart in the image.
    .map(|index| index * 389 % CHUNKS)
}

fn write_or_flush(mode: Mode, index: u32) -> Request {
    let Some(chunk) = written_by(mode, index) else {
        return Request::synchronize_cache(0);
    };
    let lba = chunk * u32::from(SECTORS);
    let mut request = Request::write(0, lba, SECTORS, DATA + lba * 512);
    if mode == Mode::Fua {
        request.cdb[1] = 0x08;
    }
    request
}

/// The VMM's process: writes until it is killed.
fn vmm(role: &str) {
    let words: Vec<_> = role.splitn(4, ' ').collect();
    let [mode, transport, round, socket] = words[..] else {
        panic!("{role}")
    };
    let mode = MODES
        .into_iter()
        .find(|it| format!("{it:?}") == mode)
        .unwrap();
    let transport = match transport {
        "ring" => Transport::Ring,
        _ => Transport::Socket,
    };
    let round: usize = round.parse().unwrap();
    let endpoint = Endpoint::Path(PathBuf::from(socket));
    let kinds = vcpu_kinds();
    let attached = Attached::connect(endpoint, options(transport));
    let (mut machine, _device) = attached.ready_machine(kinds[round % kinds.len()]);
    let data: Vec<u8> = (0..CHUNKS as usize * usize::from(SECTORS))
        .flat_map(|number| sector(round, number))
        .collect();
    machine.ram().write(DATA.into(), &data).unwrap();
    // A flush makes durable what was acknowledged before it: alone in flight, that is everything.
    let depth = if mode == Mode::Synchronized { 1 } else { 8 };
    let requests = (0..CHUNKS)
        .map(|index| write_or_flush(mode, index))
        .collect();
    let workload = Workload::new(requests, depth).with_window(16);
    // Its end is that it is killed, or that the emulator is.
    let _ = machine.run_observed(&workload, &mut |ram, done| {
        for index in done.clone() {
            let mut result = [0; 4];
            let at = REQUESTS + index * request::BYTES + request::RESULT;
            ram.read(at.into(), &mut result).unwrap();
            assert_eq!(u32::from_le_bytes(result), request::DONE, "GOOD");
        }
        println!("{ACKNOWLEDGED}{}", done.end);
    });
}

fn start_vmm(mode: Mode, transport: &str, round: usize, socket: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(
            ROLE,
            format!("{mode:?} {transport} {round} {}", socket.display()),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The image's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Raw,
    Qcow2,
}

fn qemu_img(arguments: &[&str]) -> Option<i32> {
    let status = Command::new("qemu-img")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok()?.code()
}

/// An image and what must be in it.
struct Disk {
    format: Format,
    path: PathBuf,
    place: Place,
    contents: Vec<u8>,
}

impl Disk {
    /// An empty one; `None` if there is nothing here to make it with.
    fn new(format: Format) -> Option<Self> {
        let place = Place::new();
        let path = place.path("disk.img");
        let contents = vec![0; CHUNKS as usize * CHUNK];
        let size = contents.len().to_string();
        let name = path.to_str().unwrap();
        match format {
            Format::Raw => std::fs::write(&path, &contents).unwrap(),
            Format::Qcow2 => {
                let options = ["-o", "cluster_size=4k"];
                let create = ["create", "-q", "-f", "qcow2", options[0], options[1]];
                if qemu_img(&[&create[..], &[name, &size]].concat()) != Some(0) {
                    return None;
                }
            }
        }
        Some(Self {
            format,
            path,
            place,
            contents,
        })
    }

    fn options(&self, mode: Mode, socket: &Path) -> Vec<String> {
        let file = format!("file.driver=file,file.filename={}", self.path.display());
        let driver = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        let cache = if mode == Mode::Uncached { "off" } else { "on" };
        let mut options = [
            "--blockdev".to_owned(),
            format!("driver={driver},node-name=disk0,{file}"),
            "--device".to_owned(),
            "lsi53c895a,id=lsi0".to_owned(),
            "--device".to_owned(),
            format!("scsi-hd,drive=disk0,write-cache={cache}"),
        ]
        .to_vec();
        options.extend(export("lsi0", socket));
        options
    }

    /// What is in it now, as its format's own tools see it.
    fn read(&self) -> Vec<u8> {
        match self.format {
            Format::Raw => std::fs::read(&self.path).unwrap(),
            Format::Qcow2 => {
                let name = self.path.to_str().unwrap();
                // 3: clusters that nothing refers to, which is all that a crash may leave.
                let checked = qemu_img(&["check", "-q", "-f", "qcow2", name]);
                assert!(matches!(checked, Some(0 | 3)), "{checked:?}");
                let raw = self.place.path("raw.img");
                let to = raw.to_str().unwrap();
                let converted = qemu_img(&["convert", "-f", "qcow2", "-O", "raw", name, to]);
                assert_eq!(converted, Some(0));
                std::fs::read(raw).unwrap()
            }
        }
    }

    /// Looks whether everything is as it must be after a round in which so many requests were acknowledged.
    fn check(&mut self, at: &str, mode: Mode, round: usize, acknowledged: u32) {
        let now = self.read();
        assert_eq!(now.len(), self.contents.len());
        let mut durable = vec![false; CHUNKS as usize];
        let synchronized = acknowledged - acknowledged % SYNCHRONIZE_EVERY;
        let until = match (mode, self.format) {
            // What the image's file has been given survives the process; what a format still holds in memory does not.
            (Mode::Synchronized, Format::Qcow2) => synchronized,
            _ => acknowledged,
        };
        for chunk in (0..until).filter_map(|index| written_by(mode, index)) {
            durable[chunk as usize] = true;
        }
        let sectors = now.chunks(SECTOR).zip(self.contents.chunks(SECTOR));
        for (number, (now, before)) in sectors.enumerate() {
            let new = now == sector(round, number);
            if durable[number / usize::from(SECTORS)] {
                assert!(new, "{at}: sector {number} was acknowledged, and is lost");
            } else {
                assert!(new || now == before, "{at}: sector {number} is neither");
            }
        }
        self.contents = now;
    }
}

#[test]
fn what_was_acknowledged_as_durable_is_in_the_image() {
    if let Ok(role) = std::env::var(ROLE) {
        return vmm(&role);
    }
    let mut random = Random::new(11);
    for format in [Format::Raw, Format::Qcow2] {
        let Some(mut disk) = Disk::new(format) else {
            outrigger_skip::skipped("qemu-img is not installed");
            continue;
        };
        let kinds = MODES.iter().flat_map(|mode| {
            let victims = VICTIMS.iter().map(|victim| (*mode, *victim));
            victims.flat_map(|(mode, victim)| [(mode, victim, "ring"), (mode, victim, "socket")])
        });
        for (round, (mode, victim, transport)) in kinds.enumerate() {
            let at = format!("{format:?} {mode:?} {transport}, {victim:?} killed");
            let moment = random.below(120);
            let socket = disk.place.path("lsi.sock");
            let mut emulator = Emulator::start(&disk.options(mode, &socket), &[&socket]);
            let mut vmm = start_vmm(mode, transport, round, &socket);
            let mut lines = BufReader::new(vmm.stdout.take().unwrap()).lines();
            let mut acknowledged = 0;
            let mut next = || {
                let line = lines.by_ref().map_while(Result::ok);
                let mut counts =
                    line.filter_map(|line| line.rsplit_once(ACKNOWLEDGED)?.1.parse::<u32>().ok());
                counts.next()
            };
            while acknowledged <= moment {
                acknowledged = next().unwrap_or_else(|| panic!("{at}: {}", emulator.log()));
            }
            if victim != Victim::Vmm {
                emulator.signal(Signal::KILL);
                emulator.wait();
            }
            vmm.kill().unwrap();
            vmm.wait().unwrap();
            // What it said before its end counts too.
            while let Some(count) = next() {
                acknowledged = count;
            }
            if victim == Victim::Vmm {
                // It has let go of this client when it lets go of its socket, and of the image when it ends.
                emulator.terminate();
            }
            disk.check(&at, mode, round, acknowledged);
        }
    }
}
