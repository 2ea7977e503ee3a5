//! A client cuts its guest's RAM short while the device uses it: its session ends with a reason in
//! the log, the next client is served, and the other devices of the process do not notice.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, controller, export};
use outrigger_tests::front::{Attached, options, readable};
use outrigger_tests::place::Place;
use outrigger_tests::process::descriptors;
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{DATA, Data, SCRIPT, cdb10};
use outrigger_vmm::Ram;
use outrigger_vmm::guest::assembler::{Assembler, Condition, Phase};
use outrigger_vmm::guest::registers::DSP;
use rustix::fs::MemfdFlags;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// What the emulator says of it.
const REASON: &str = "guest RAM at 0x100000 is gone";
const NAME: &str = "lost-guest-ram";
/// Blocks of each disk.
const BLOCKS: usize = 2048;

/// RAM whose upper part, from [`DATA`] on, is in a file that is not sealed; and that file.
fn ram() -> (Ram, File) {
    let memory = |name: &str, bytes| {
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, bytes).unwrap();
        File::from(file)
    };
    let (low, high) = (memory("low", DATA.into()), memory(NAME, 8 << 20));
    let client = high.try_clone().unwrap();
    let range =
        |address, bytes, file| (GuestAddress(address), bytes, Some(FileOffset::new(file, 0)));
    let ranges = [
        range(0, DATA as usize, low),
        range(DATA.into(), 8 << 20, high),
    ];
    let memory = GuestMemoryMmap::from_ranges_with_files(ranges).unwrap();
    (Ram::over(memory), client)
}

/// An emulator with two controllers; the first has a disk of each kind, the second a plain one.
struct Setup {
    emulator: Emulator,
    disk: Vec<u8>,
    sockets: [PathBuf; 2],
    _place: Place,
}

impl Setup {
    /// How many targets the first controller has.
    const TARGETS: u8 = 5;

    fn new() -> Option<Self> {
        let place = Place::new();
        let disk = pattern(BLOCKS * 512);
        let raw = |name: &str| place.image(name, &disk).path.display().to_string();
        let (plain, threads, direct) = (raw("plain"), raw("threads"), raw("direct"));
        let qcow2 = place.path("disk.qcow2").display().to_string();
        let converted = Command::new("qemu-img")
            .args(["convert", "-q", "-f", "raw", "-O", "qcow2", &plain, &qcow2])
            .status();
        if !converted.is_ok_and(|status| status.success()) {
            outrigger_skip::skipped("qemu-img is not installed");
            return None;
        }
        // O_DIRECT where the file system has it: tmpfs before Linux 6.6 has not.
        let open = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
        let cache = match rustix::fs::open(&direct, open, rustix::fs::Mode::empty()) {
            Ok(_) => "on",
            Err(_) => "off",
        };
        let mut all = vec!["--device".to_owned(), "lsi53c895a,id=one".to_owned()];
        for (target, blockdev) in (0..Self::TARGETS).zip([
            format!("file,filename={plain}"),
            format!("file,filename={threads},aio=threads"),
            format!("file,filename={direct},cache.direct={cache}"),
            format!("qcow2,file.driver=file,file.filename={qcow2}"),
            format!("memory,size={}", BLOCKS * 512),
        ]) {
            all.extend([
                "--blockdev".to_owned(),
                format!("{blockdev},node-name=disk{target}"),
                "--device".to_owned(),
                format!("scsi-hd,bus=one.0,scsi-id={target},drive=disk{target}"),
            ]);
        }
        all.extend(controller("two", &[place.image("other", &disk)]));
        // So that a reason is said each time, however short after the one before.
        all.extend(["--log", "debug"].map(str::to_owned));
        let sockets = ["one", "two"].map(|name| place.path(name));
        for (name, socket) in ["one", "two"].iter().zip(&sockets) {
            all.extend(export(name, socket));
        }
        Some(Self {
            emulator: Emulator::try_start(&all, &sockets).unwrap(),
            disk,
            sockets,
            _place: place,
        })
    }

    /// Waits until the log has given the reason so often.
    fn has_said(&self, times: usize) {
        let start = Instant::now();
        while self.emulator.log().matches(REASON).count() < times {
            assert!(start.elapsed() < PATIENCE, "{}", self.emulator.log());
            std::thread::yield_now();
        }
    }

    /// A client of the first device, ready to work, and the file of its upper RAM.
    fn client(&self, transport: Transport) -> (Attached, File) {
        let (ram, file) = ram();
        let socket = Endpoint::Path(self.sockets[0].clone());
        let mut client = Attached::connect_with(socket, options(transport), ram);
        client.set_up();
        (client, file)
    }
}

/// Reads a target's disk, behind what the tests write: all is well.
#[track_caller]
fn reads(client: &mut Attached, target: u8, disk: &[u8]) {
    // The one in memory starts with zeroes.
    let zeroes = vec![0; disk.len()];
    let disk = if target == Setup::TARGETS - 1 {
        &zeroes
    } else {
        disk
    };
    let read = client.command(target, &cdb10(0x28, 1000, 16), Data::In(16 * 512));
    assert_eq!(read, Ok(0));
    assert!(client.data(16 * 512) == disk[1000 * 512..1016 * 512]);
}

/// What the device does with RAM that is not there.
#[derive(Clone, Copy, Debug)]
enum Use {
    Fetch,
    LoadAndStore,
    MemoryMove,
    Read(u8),
    Write(u8),
    Inquiry,
}

impl Use {
    fn all() -> impl Iterator<Item = Self> {
        let disks =
            (0..Setup::TARGETS).flat_map(|target| [Self::Read(target), Self::Write(target)]);
        [
            Self::Fetch,
            Self::LoadAndStore,
            Self::MemoryMove,
            Self::Inquiry,
        ]
        .into_iter()
        .chain(disks)
    }

    fn start(self, client: &mut Attached) {
        match self {
            Self::Fetch => client.write(DSP, &DATA.to_le_bytes()),
            Self::LoadAndStore => client.start(|s| {
                s.load(0x34, 4, DATA + 0x1000);
                s.store(0x34, 4, DATA + 0x2000);
                s.interrupt(1, Condition::ALWAYS);
            }),
            Self::MemoryMove => client.start(|s| {
                s.move_memory(0x10_0000, DATA, DATA + 0x20_0000);
                s.move_memory(0x1000, SCRIPT, DATA + 0x30_0000);
                s.interrupt(1, Condition::ALWAYS);
            }),
            Self::Read(target) => command(client, target, &cdb10(0x28, 0, 256), Phase::DataIn),
            Self::Write(target) => command(client, target, &cdb10(0x2a, 0, 256), Phase::DataOut),
            Self::Inquiry => command(client, 0, &[0x12, 0, 0, 0, 36, 0], Phase::DataIn),
        }
    }
}

/// Starts a command that moves up to 128 KiB at [`DATA`], and waits for nothing.
fn command(client: &mut Attached, target: u8, cdb: &[u8], phase: Phase) {
    let table = 0x2_0000;
    client.ram.write(table.into(), &[0x80]).unwrap();
    client.ram.write(u64::from(table) + 0x10, cdb).unwrap();
    let length = u32::try_from(cdb.len()).unwrap();
    let count = if cdb[0] == 0x12 { 36 } else { 256 * 512 };
    client.start(|s: &mut Assembler| {
        let fail = s.label();
        s.select(target, true, fail);
        s.move_direct(1, table, Phase::MessageOut);
        s.move_direct(length, table + 0x10, Phase::Command);
        s.move_direct(count, DATA, phase);
        s.move_direct(1, table + 0x20, Phase::Status);
        s.interrupt(1, Condition::ALWAYS);
        s.bind(fail);
        s.interrupt(0, Condition::ALWAYS);
    });
}

#[test]
fn a_client_that_cuts_its_ram_short_loses_its_own_session_only() {
    let Some(setup) = Setup::new() else { return };
    let other = Endpoint::Path(setup.sockets[1].clone());
    let mut other = Attached::connect(other, options(Transport::Ring));
    other.set_up();
    other.clear_attention(0);
    let uses = [Transport::Ring, Transport::Socket]
        .into_iter()
        .flat_map(|transport| Use::all().map(move |what| (transport, what)));
    for (times, (transport, what)) in (1..).zip(uses) {
        let (mut client, file) = setup.client(transport);
        if let Use::Read(target) | Use::Write(target) = what {
            client.clear_attention(target);
            reads(&mut client, target, &setup.disk);
        }
        let held = descriptors(setup.emulator.id());
        assert!(held.values().all(|it| !it.contains(NAME)), "{held:?}");
        // Where it takes more than a page, the first one stays.
        let whole = matches!(what, Use::Fetch | Use::Inquiry);
        file.set_len(if whole { 0 } else { 4096 }).unwrap();
        what.start(&mut client);
        let ended = readable(client.device.proxy().event_fd(), PATIENCE);
        assert!(ended, "{what:?} over {transport:?} goes on");
        setup.has_said(times);
        reads(&mut other, 0, &setup.disk);
    }
    let (mut client, _file) = setup.client(Transport::Ring);
    for target in 0..Setup::TARGETS {
        client.clear_attention(target);
        reads(&mut client, target, &setup.disk);
    }
    drop(client);
    setup.emulator.terminate();
}
