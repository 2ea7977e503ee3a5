//! The same device over every front: equal sequences of accesses and commands have equal results.

use std::fmt::Write as _;

use outrigger_proxy::Width;
use outrigger_tests::front::{Attached, Front};
use outrigger_tests::place::Place;
use outrigger_tests::process::wait_until;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::{
    DATA, DSTAT_IID, DSTAT_SIR, Data, IO, OUTSIDE, REGISTERS, SCRIPTS_RAM,
};
use outrigger_vmm::guest::assembler::{Condition, Phase};
use outrigger_vmm::guest::registers::{
    DIEN, DSTAT, ISTAT0, SCRATCHA, SIEN0, SIEN1, SIST0, SIST1, STIME0, istat0,
};

const DISK: usize = 256 << 10;
const BLOCKS: u32 = 512;

/// What `act` saw, line by line, over each front; it must be the same.
fn compare(seed: u64, act: impl Fn(&mut Attached, &mut Random, &mut String)) {
    let disk = pattern(DISK);
    let logs = Front::ALL.map(|front| {
        let place = Place::new();
        let image = place.image("disk.img", &disk);
        let mut device = Attached::new(front, std::slice::from_ref(&image));
        device.set_up();
        let mut log = String::new();
        act(&mut device, &mut Random::new(seed), &mut log);
        (log, image.bytes())
    });
    let [(expected, image), others @ ..] = &logs;
    for ((log, other_image), front) in others.iter().zip(&Front::ALL[1..]) {
        let both = expected.lines().zip(log.lines());
        for (line, (expected, got)) in both.enumerate() {
            assert_eq!(expected, got, "{front}, seed {seed}, line {line}");
        }
        assert_eq!(expected.len(), log.len(), "{front}, seed {seed}");
        assert!(
            image == other_image,
            "{front}, seed {seed}: the images differ"
        );
    }
}

/// Whether a write to `offset` of the registers would have effects that depend on when the device comes to run: SCRIPTS
/// that start, timers, and a bus reset.
fn takes_time(offset: u32, width: u8) -> bool {
    let touches = |from: u32, to: u32| offset <= to && offset + u32::from(width) > from;
    touches(0x01, 0x01) || touches(0x2c, 0x2f) || touches(0x3b, 0x3b) || touches(0x48, 0x49)
}

fn access(device: &mut Attached, random: &mut Random, log: &mut String) {
    let port = usize::try_from(random.below(2)).unwrap();
    let port = &mut device.ports[port];
    let width = [Width::Byte, Width::Word, Width::Dword, Width::Qword][random.below(4) as usize];
    let bytes = usize::from(width.bytes());
    let value = random.next();
    let data = &value.to_le_bytes()[..bytes];
    let mut read = [0; 8];
    let read = &mut read[..bytes];
    let offset = random.below(0x104);
    let register = offset % 0x100;
    match random.below(9) {
        0 | 1 => {
            let hit = port.mmio_read(REGISTERS + u64::from(offset), read);
            writeln!(log, "registers {offset:#x}: {hit} {read:02x?}").unwrap();
        }
        2 | 3 if !takes_time(register, width.bytes()) => {
            let at = u64::from(register + 0x100 * random.below(4));
            let hit = port.mmio_write(REGISTERS + at, data);
            writeln!(log, "registers {at:#x} = {data:02x?}: {hit}").unwrap();
        }
        4 => {
            let hit = port.pio_read(IO + u16::try_from(offset).unwrap(), read);
            writeln!(log, "port {offset:#x}: {hit} {read:02x?}").unwrap();
        }
        5 if !takes_time(register, width.bytes()) && width != Width::Qword => {
            let hit = port.pio_write(IO + u16::try_from(register).unwrap(), data);
            writeln!(log, "port {register:#x} = {data:02x?}: {hit}").unwrap();
        }
        6 => {
            // Near its end: what goes beyond is nobody's.
            let at = u64::from(0x1f80 + random.below(0x84));
            let wrote = port.mmio_write(SCRIPTS_RAM + at, data);
            let at = u64::from(0x1f80 + random.below(0x84));
            let hit = port.mmio_read(SCRIPTS_RAM + at, read);
            writeln!(log, "SCRIPTS RAM {at:#x}: {wrote} {hit} {read:02x?}").unwrap();
        }
        7 => {
            let at = u16::try_from(random.below(0x110)).unwrap();
            let value = port.config_read(at, width);
            writeln!(log, "config {at:#x}: {value:#x}").unwrap();
        }
        _ => {
            // The header's writable part; the BARs stay where the other accesses look for them.
            let at = [0x04, 0x06, 0x0c, 0x1c, 0x30, 0x3c, 0x40][random.below(7) as usize];
            let value = value | if at == 0x04 { 7 } else { 0 };
            port.config_write(at, Width::Word, value);
            writeln!(log, "config {at:#x} = {value:#x}").unwrap();
        }
    }
}

#[test]
fn accesses_see_the_same_everywhere() {
    for seed in 1..=4 {
        compare(seed, |device, random, log| {
            for _ in 0..4000 {
                access(device, random, log);
            }
        });
    }
}

fn command(device: &mut Attached, random: &mut Random, log: &mut String) {
    // Mostly within the disk, mostly a target that is there.
    let block = random.below(BLOCKS + 8);
    let count = random.below(24);
    let target = if random.below(10) == 0 { 3 } else { 0 };
    let bytes = count * 512;
    let short = u16::try_from(count).unwrap().to_be_bytes();
    let [a, b, c, d] = block.to_be_bytes();
    let [high, low] = short;
    let (cdb, data) = match random.below(9) {
        0..=2 => (vec![0x28, 0, a, b, c, d, 0, high, low, 0], Data::In(bytes)),
        3 | 4 => {
            device.put_data(&random.bytes(bytes as usize));
            (vec![0x2a, 0, a, b, c, d, 0, high, low, 0], Data::Out(bytes))
        }
        5 => (vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::None),
        6 => (vec![0x03, 0, 0, 0, 18, 0], Data::In(18)),
        // A page that there may not be.
        7 => {
            let page = [0, 0x80, 0x83, 0xb0, 0xb2, 0x55][random.below(6) as usize];
            (vec![0x12, 1, page, 0, 255, 0], Data::In(4))
        }
        _ => (vec![0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::In(8)),
    };
    let end = device.command(target, &cdb, data);
    let arrived = match data {
        Data::In(count) => device.data(count as usize),
        Data::None | Data::Out(_) => Vec::new(),
    };
    let registers: [u8; 0x14] = device.read(0);
    writeln!(log, "{cdb:02x?}: {end:x?} {arrived:02x?} {registers:02x?}").unwrap();
    if end.is_err() {
        device.write(ISTAT0, &[istat0::SRST]);
        device.write(ISTAT0, &[0]);
        device.set_up();
    }
}

#[test]
fn commands_end_the_same_everywhere() {
    for seed in 1..=3 {
        compare(seed, |device, random, log| {
            for _ in 0..300 {
                command(device, random, log);
            }
        });
    }
}

/// ISTAT0's interrupt bits.
const REASONS: u8 = istat0::INTF | istat0::SIP | istat0::DIP;

/// Waits until SCRIPTS do not run any more: whatever they raise, they have raised.
fn until_halted(device: &mut Attached, vcpu: usize) {
    const SRUN: u8 = 0x02;
    while device.read_on::<1>(vcpu, ISTAT0 + 1)[0] & SRUN != 0 {
        std::hint::spin_loop();
    }
}

/// SCRIPTS that end by an error of this kind.
fn fail(device: &mut Attached, kind: u32) {
    device.start(|script| match kind {
        0 => script.interrupt(7, Condition::ALWAYS),
        1 => {
            script.word(0xffff_ffff);
            script.word(0);
        }
        // Nobody has this ID.
        2 => {
            let alternate = script.label();
            script.select(5, true, alternate);
            script.move_direct(1, DATA, Phase::MessageOut);
            script.bind(alternate);
            script.interrupt(8, Condition::ALWAYS);
        }
        // The target wants a message.
        3 => {
            let alternate = script.label();
            script.select(0, true, alternate);
            script.move_direct(1, DATA, Phase::Status);
            script.bind(alternate);
            script.interrupt(9, Condition::ALWAYS);
        }
        _ => {
            script.interrupt_on_the_fly(Condition::ALWAYS);
            script.load(SCRATCHA, 4, OUTSIDE);
        }
    });
}

/// One step of a driver that makes errors and looks for their reasons in every way there is, on either vCPU.
fn error_step(device: &mut Attached, random: &mut Random, log: &mut String) {
    let vcpu = usize::try_from(random.below(2)).unwrap();
    let image = 0x100 * u64::from(random.below(4));
    let byte = random.next().to_le_bytes()[0];
    let mut read = |device: &mut Attached, register: u8, width: usize, io: bool| {
        let mut data = [0; 4];
        let data = &mut data[..width];
        let port = &mut device.ports[vcpu];
        let hit = if io {
            port.pio_read(IO + u16::from(register), data)
        } else {
            port.mmio_read(REGISTERS + image + u64::from(register), data)
        };
        assert!(hit);
        writeln!(log, "{register:#x} on {vcpu}, {io}: {data:02x?}").unwrap();
    };
    let io = byte & 1 != 0;
    match random.below(20) {
        0..=2 => {
            fail(device, random.below(5));
            until_halted(device, vcpu);
        }
        3 => {
            let (register, bits) = [(DIEN, 0x7d), (SIEN0, 0x8f), (SIEN1, 0x17)][byte as usize % 3];
            let value = [0, bits, byte & bits][random.below(3) as usize];
            device.write_on(vcpu, register, &[value]);
        }
        // GEN, once nothing else is there that would hide it: masked it shows in SIST1 only.
        4 => {
            for _ in 0..3 {
                read(device, SIST0, 2, io);
                read(device, DSTAT, 1, io);
            }
            device.write_on(vcpu, STIME0 + 1, &[1]);
            if byte & 2 == 0 {
                device.write_on(vcpu, SIEN1, &[0x17]);
                while device.read_on::<1>(vcpu, ISTAT0)[0] & istat0::SIP == 0 {}
            } else {
                device.write_on(vcpu, SIEN1, &[0]);
                while device.read_on::<2>(vcpu, SIST0) == [0, 0] {}
            }
        }
        5 => device.write_on(vcpu, ISTAT0, &[byte & (istat0::INTF | istat0::SIGP)]),
        6 if byte & 7 == 0 => device.write_on(vcpu, ISTAT0, &[istat0::SRST]),
        6 => device.write_on(vcpu, ISTAT0, &[0x80]),
        7 => device.write_on(vcpu, ISTAT0 + 1, &[byte & 1]),
        8 | 9 => read(device, SIST0, 2, io),
        10 => read(device, SIST0, 1, io),
        11 => read(device, SIST1, 1, io),
        12 | 13 => read(device, DSTAT, 1, io),
        14 => read(device, SIEN0, 4, io),
        15 => read(device, DSTAT, 4, io),
        16 => {
            // Linux's handler, with its loop.
            let mut status = device.read_on::<1>(vcpu, ISTAT0)[0];
            for _ in 0..4 {
                if status & istat0::SIP != 0 {
                    read(device, SIST0, 2, false);
                }
                if status & istat0::DIP != 0 {
                    read(device, DSTAT, 1, false);
                }
                status = device.read_on::<1>(vcpu, ISTAT0)[0];
            }
            writeln!(log, "then {:#x}", status & REASONS).unwrap();
        }
        _ => read(device, ISTAT0, 1, io),
    }
}

#[test]
fn errors_look_the_same_everywhere() {
    for seed in 1..=4 {
        compare(seed, |device, random, log| {
            for _ in 0..1500 {
                error_step(device, random, log);
            }
        });
    }
}

/// What Linux does at an error's interrupt, on the ring: the register mirror and the read-to-clear groups answer all of it, while the
/// worker sleeps on. One that polls may collect what was taken just as the read behind it looks: that read makes a crossing.
#[test]
fn linuxs_error_loop_makes_no_crossing() {
    let place = Place::new();
    let image = place.image("disk.img", &pattern(DISK));
    let mut device = Attached::new(Front::Ring, std::slice::from_ref(&image));
    device.set_up();
    let emulator = device.device.proxy().emulator().unwrap().id();
    for round in 0..200 {
        let vcpu = round % 2;
        let kind = u32::try_from(round % 4).unwrap();
        fail(&mut device, kind);
        device.wait_for_interrupt();
        let asleep = round % 8 < 4;
        if asleep {
            wait_until(emulator, 'S');
        }
        let before = device.ports[vcpu].counters();
        let (mut sist, mut dstat) = (0, 0);
        let mut reads = 1;
        let mut status = device.read_on::<1>(vcpu, ISTAT0)[0];
        while status & (istat0::SIP | istat0::DIP) != 0 {
            if status & istat0::SIP != 0 {
                sist |= u16::from_le_bytes(device.read_on(vcpu, SIST0));
                reads += 1;
            }
            if status & istat0::DIP != 0 {
                dstat |= device.read_on::<1>(vcpu, DSTAT)[0] & 0x7f;
                reads += 1;
            }
            status = device.read_on::<1>(vcpu, ISTAT0)[0];
            reads += 1;
        }
        let spent = device.ports[vcpu].counters().since(before);
        let expected = [(0, DSTAT_SIR), (0, DSTAT_IID), (0x0400, 0), (0x0080, 0)];
        assert_eq!((sist, dstat), expected[round % 4], "round {round}");
        // Each read was answered once, here or there.
        assert_eq!(spent.mirror_reads + spent.crossings, reads);
        assert!(spent.crossings <= u64::from(!asleep), "round {round}");
        // The target lets go.
        device.write(ISTAT0, &[istat0::SRST]);
        device.write(ISTAT0, &[0]);
        for (register, value) in [(DIEN, 0x7d), (SIEN0, 0x8f), (SIEN1, 0x17)] {
            device.write(register, &[value]);
        }
        device.intx.end_of_interrupt().unwrap();
    }
}
