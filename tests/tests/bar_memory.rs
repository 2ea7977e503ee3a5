//! SCRIPTS RAM as memory that the guest reaches without an exit: what the guest, the chip and the plain way see is one memory.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use outrigger_proxy::{BarMemory, Endpoint, MapMemory, MappedBy, Transport, Width};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::Emulator;
use outrigger_tests::front::{Attached, Front, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::{DATA, SCRIPTS_RAM, Stop};
use outrigger_vmm::guest::assembler::{Assembler, Condition};
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::guest::registers::{DSP, ISTAT0, SCRATCHA, istat0};
use outrigger_vmm::{Request, VcpuKind, Workload, kvm_unavailable};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

const DONE: u32 = 0x0dd;

/// Where the memory has been mapped; `None`: taken away.
type Log = Receiver<Option<u64>>;

#[derive(Debug)]
struct Mapper(Sender<Option<u64>>);

impl MapMemory for Mapper {
    fn map(&mut self, memory: &BarMemory, address: u64) -> io::Result<()> {
        assert_eq!((memory.region(), memory.offset()), (2, 0));
        self.0.send(Some(address)).map_err(io::Error::other)
    }

    fn unmap(&mut self, _: &BarMemory) -> io::Result<()> {
        // Nobody listens any more where a test has ended.
        let _ = self.0.send(None);
        Ok(())
    }
}

/// The memory as the guest has it: its loads and stores are those of this process.
struct Guest(GuestMemoryMmap);

impl Guest {
    fn new(memory: &BarMemory) -> Self {
        let file = FileOffset::from_arc(Arc::clone(memory.file()), 0);
        let size = usize::try_from(memory.size()).unwrap();
        let range = (GuestAddress(0), size, Some(file));
        Self(GuestMemoryMmap::from_ranges_with_files([range]).unwrap())
    }

    fn load<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_slice(&mut bytes, GuestAddress(offset)).unwrap();
        bytes
    }

    fn store(&self, offset: u64, bytes: &[u8]) {
        self.0.write_slice(bytes, GuestAddress(offset)).unwrap();
    }
}

/// The memory behind BAR 2.
fn scripts_ram(device: &mut Attached) -> Guest {
    let [memory] = <[_; 1]>::try_from(device.device.proxy().memories()).unwrap();
    assert_eq!((memory.region(), memory.size()), (2, 0x2000));
    Guest::new(&memory)
}

/// A device over rings, its SCRIPTS RAM, and where that is mapped from now on.
fn mapped() -> (Attached, Guest, Log, Place) {
    let place = Place::new();
    let image = place.image("disk.img", &pattern(64 << 10));
    let mut device = Attached::new(Front::Ring, &[image]);
    let guest = scripts_ram(&mut device);
    let (sender, log) = channel();
    let mapper = Mapper(sender);
    device
        .device
        .proxy()
        .map_memory(MappedBy::Mapper(Box::new(mapper)));
    (device, guest, log, place)
}

fn take(log: &Log) -> Vec<Option<u64>> {
    log.try_iter().collect()
}

/// Has the chip execute a script that the guest has stored in SCRIPTS RAM.
fn run(device: &mut Attached, guest: &Guest, script: impl FnOnce(&mut Assembler)) -> Stop {
    let start = u32::try_from(SCRIPTS_RAM).unwrap();
    let mut assembler = Assembler::new(start);
    script(&mut assembler);
    guest.store(0, assembler.finish().unwrap().bytes());
    device.write(DSP, &start.to_le_bytes());
    device.stop()
}

#[test]
fn guest_chip_and_the_plain_way_see_one_memory() {
    let (mut device, guest, log, _place) = mapped();
    assert_eq!(take(&log), []);
    device.set_up();
    assert_eq!(take(&log), [Some(SCRIPTS_RAM)]);
    let base = u32::try_from(SCRIPTS_RAM).unwrap();
    device.put_data(b"from guest RAM..");
    for round in 0..1000_u32 {
        guest.store(0x1000, &round.to_le_bytes());
        let stop = run(&mut device, &guest, |s| {
            s.load(SCRATCHA, 4, base + 0x1000);
            s.store(SCRATCHA, 4, base + 0x1004);
            s.move_memory(16, DATA, base + 0x1ff0);
            s.move_memory(4, base + 0x1000, DATA + 0x100);
            s.interrupt(DONE + round, Condition::ALWAYS);
        });
        assert!(stop.is_int(DONE + round), "{stop:?}");
        assert_eq!(guest.load(0x1004), round.to_le_bytes());
        let mut copied = [0; 4];
        device.ram.read((DATA + 0x100).into(), &mut copied).unwrap();
        assert_eq!(copied, round.to_le_bytes());
    }
    assert_eq!(&guest.load::<16>(0x1ff0), b"from guest RAM..");
    // An exit for the same bytes, as where the VMM could not map them. A write is there when it returns.
    let mut word = [0; 4];
    assert!(device.ports[1].mmio_read(SCRIPTS_RAM + 0x1ff0, &mut word));
    assert_eq!(&word, b"from");
    for value in 0..100_u8 {
        assert!(device.ports[0].mmio_write(SCRIPTS_RAM + 0x1003, &[value]));
        assert_eq!(guest.load(0x1003), [value]);
    }
}

#[test]
fn it_follows_its_bar_and_a_reset_empties_it() {
    let (mut device, guest, log, _place) = mapped();
    device.set_up();
    guest.store(0, &[1, 2, 3]);
    assert_eq!(take(&log), [Some(SCRIPTS_RAM)]);
    let elsewhere = SCRIPTS_RAM + 0x10_0000;
    let port = &mut device.ports[0];
    port.config_write(0x18, Width::Dword, elsewhere);
    assert_eq!(take(&log), [None, Some(elsewhere)]);
    port.config_write(0x04, Width::Word, 5);
    assert_eq!(take(&log), [None]);
    port.config_write(0x18, Width::Dword, 0xffff_ffff);
    port.config_write(0x04, Width::Word, 7);
    assert_eq!(take(&log), [], "it is being sized");
    port.config_write(0x18, Width::Dword, SCRIPTS_RAM);
    assert_eq!(take(&log), [Some(SCRIPTS_RAM)]);
    // The chip has its window where the guest has, and what was stored is still there.
    let stop = run(&mut device, &guest, |s| {
        s.interrupt(DONE, Condition::ALWAYS);
    });
    assert!(stop.is_int(DONE), "{stop:?}");
    guest.store(0, &[1, 2, 3]);
    // The chip's own reset keeps it, as it keeps the BARs.
    device.write(ISTAT0, &[istat0::SRST]);
    device.write(ISTAT0, &[0]);
    assert_eq!(device.byte(ISTAT0), 0);
    assert_eq!(guest.load(0), [1, 2, 3]);
    device.reset();
    assert_eq!(take(&log), [None]);
    assert_eq!(guest.load(0), [0; 3]);
    device.set_up();
    assert_eq!(take(&log), [Some(SCRIPTS_RAM)]);
    device.device.proxy().map_memory(MappedBy::Nobody);
    assert_eq!(take(&log), [None]);
}

/// As its registers do, it reads all ones from then on.
#[test]
fn it_goes_with_the_emulator() {
    let (mut device, guest, log, _place) = mapped();
    device.set_up();
    guest.store(0, &[1, 2, 3]);
    assert_eq!(take(&log), [Some(SCRIPTS_RAM)]);
    device.device.proxy().emulator().unwrap().kill().unwrap();
    assert_eq!(log.recv_timeout(PATIENCE), Ok(None));
    let mut bytes = [0; 4];
    assert!(device.ports[1].mmio_read(SCRIPTS_RAM, &mut bytes));
    assert_eq!(bytes, [0xff; 4]);
    // The guest moves a BAR of the dead device, and another machine comes.
    device.ports[0].config_write(0x18, Width::Dword, SCRIPTS_RAM + 0x10_0000);
    let (sender, log) = channel();
    let proxy = device.device.proxy();
    proxy.map_memory(MappedBy::Mapper(Box::new(Mapper(sender))));
    assert!(proxy.memories().is_empty());
    assert_eq!(take(&log), []);
}

/// A guest that overwrites SCRIPTS while they are fetched gets what it deserves, and a chip that can be reset.
#[test]
fn scripts_that_change_under_the_fetch_harm_nobody() {
    let (mut device, guest, _log, _place) = mapped();
    device.set_up();
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let start = u32::try_from(SCRIPTS_RAM).unwrap();
            for round in 0..2000_u32 {
                device.write(DSP, &(start + 8 * (round % 32)).to_le_bytes());
                let _ = device.byte(ISTAT0);
                device.write(ISTAT0, &[istat0::SRST]);
                device.write(ISTAT0, &[0]);
            }
        });
        let mut random = Random::new(7);
        while !driver.is_finished() {
            let at = 4 * u64::from(random.below(0x40));
            let mut word = random.next().to_le_bytes();
            if at % 8 == 0 {
                // Mostly instructions, and counts that are not endless.
                word[3] =
                    [0x00, 0x41, 0x78, 0x80, 0x98, 0xc0, 0xe1, 0xff][usize::from(word[4] % 8)];
                word[2] &= 0x0f;
            } else {
                // Addresses within SCRIPTS RAM and the registers, or in guest RAM.
                word[3] = if word[4] & 1 == 0 { 0xfe } else { 0 };
                word[2] = 0;
                word[1] &= 0x3f;
            }
            guest.store(at, &word[..4]);
        }
    });
    device.reset();
    device.set_up();
    let _ = device.intx.take_trigger();
    device.intx.end_of_interrupt().unwrap();
    let stop = run(&mut device, &guest, |s| {
        s.interrupt(DONE, Condition::ALWAYS);
    });
    assert!(stop.is_int(DONE), "{stop:?}");
    assert!(!device.ports[0].is_dead());
}

#[test]
fn the_next_client_gets_another_memory() {
    let place = Place::new();
    let image = place.image("disk.img", &pattern(64 << 10));
    let (emulator, path) = Emulator::listening(&place, &[image]);
    let mut kept: Option<Guest> = None;
    for round in 0..3_u8 {
        let endpoint = Endpoint::Path(path.clone());
        let mut device = Attached::connect(endpoint, options(Transport::Ring));
        device.set_up();
        if let Some(kept) = &kept {
            kept.store(0x10, &[0xee]);
        }
        let mut byte = [0xff];
        assert!(device.ports[0].mmio_read(SCRIPTS_RAM + 0x10, &mut byte));
        assert_eq!(byte, [0]);
        let guest = scripts_ram(&mut device);
        assert!(device.ports[0].mmio_write(SCRIPTS_RAM + 0x11, &[round + 1]));
        assert!(device.ports[0].mmio_read(SCRIPTS_RAM + 0x11, &mut byte));
        assert_eq!(guest.load(0x11), [round + 1]);
        if let Some(kept) = kept.replace(guest) {
            // What it has left of the first client's is not what the second has.
            assert_eq!(kept.load(0x10), [0xee, 0]);
        }
    }
    // Over the socket there is nothing to map.
    let endpoint = Endpoint::Path(path);
    let mut device = Attached::connect(endpoint, options(Transport::Socket));
    assert!(device.device.proxy().memories().is_empty());
    drop(device);
    emulator.terminate();
}

#[test]
fn a_guest_downloads_its_scripts_without_an_exit() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let place = Place::new();
    let image = place.image("disk.img", &pattern(1 << 20));
    let exits = [Front::InProcess, Front::Ring].map(|front| {
        let (mut machine, _device) =
            Attached::new(front, std::slice::from_ref(&image)).ready_machine(VcpuKind::Kvm);
        let requests = (0..8).map(|index| Request::read(0, index * 8, 8, BUFFERS));
        // Two runs: each machine gets the memory.
        let [_, writes] = [0, 1].map(|_| {
            let workload = Workload::new(requests.clone().collect(), 2);
            let report = machine.run(&workload).unwrap();
            assert!(report.is_good(), "{front}: {report:?}");
            report.vcpus[0].setup_exits.memory_writes
        });
        writes
    });
    let [plain, mapped] = exits;
    // The SCRIPTS have more words than the chip has registers to set up.
    assert!(mapped < 64 && plain > 150 + mapped, "{plain} {mapped}");
}
