//! The device as a guest's driver meets it, over every front: config space, registers, SCRIPTS, disks, interrupts.

use outrigger_proxy::Width;
use outrigger_proxy::vmm::guest::assembler::{Condition, Operator, Phase};
use outrigger_proxy::vmm::guest::registers::{
    DIEN, DSA, DSP, DSPS, DSTAT, ISTAT0, SCNTL0, SCRATCHA, SIST0, istat0,
};
use outrigger_tests::front::{Attached, Front};
use outrigger_tests::place::{Image, Place};
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{
    DATA, DSTAT_BF, DSTAT_IID, Data, IO, OUTSIDE, REGISTERS, SCRIPT, SCRIPTS_RAM, SIST0_MA, Stop,
};

/// CHECK CONDITION.
const CHECK: u8 = 2;
/// CTEST1: its FIFOs are empty.
const CTEST1: u8 = 0x19;

/// Runs the test over each front, with a disk of these bytes at target 0 and one that is read-only at target 1.
fn everywhere(disk: &[u8], mut test: impl FnMut(Front, &mut Attached, &Image)) {
    for front in Front::ALL {
        let place = Place::new();
        let image = place.image("disk.img", disk);
        let fixed = place.image("fixed.img", disk).read_only();
        let mut attached = Attached::new(front, &[image.clone(), fixed]);
        test(front, &mut attached, &image);
        for port in &attached.ports {
            assert!(!port.is_dead(), "{front}");
        }
    }
}

/// The same with BARs and interrupts set up.
fn set_up(disk: &[u8], mut test: impl FnMut(Front, &mut Attached, &Image)) {
    everywhere(disk, |front, device, image| {
        device.set_up();
        test(front, device, image);
    });
}

fn cdb10(operation: u8, block: u32, count: u16) -> [u8; 10] {
    let [a, b, c, d] = block.to_be_bytes();
    let [high, low] = count.to_be_bytes();
    [operation, 0, a, b, c, d, 0, high, low, 0]
}

/// Key, and additional code with its qualifier, of the sense of the last command.
fn sense(device: &mut Attached, target: u8) -> (u8, u16) {
    assert_eq!(
        device.command(target, &[3, 0, 0, 0, 18, 0], Data::In(18)),
        Ok(0)
    );
    let sense = device.data(18);
    (sense[2] & 0xf, u16::from_be_bytes([sense[12], sense[13]]))
}

#[test]
fn config_space_says_what_it_is() {
    everywhere(&[0; 512], |front, device, _| {
        for port in &mut device.ports {
            for (offset, width, value) in [
                (0x00, Width::Dword, 0x0012_1000),
                (0x08, Width::Dword, 0x0100_0000),
                (0x0e, Width::Byte, 0),
                (0x2c, Width::Dword, 0x1000_0000),
                (0x34, Width::Byte, 0),
                (0x3d, Width::Byte, 1),
                (0x04, Width::Word, 0),
                (0x100, Width::Dword, 0xffff_ffff),
            ] {
                assert_eq!(
                    port.config_read(offset, width),
                    value,
                    "{front} {offset:#x}"
                );
            }
            // Read-only, whatever is written.
            port.config_write(0x00, Width::Dword, 0x1234_5678);
            port.config_write(0x3d, Width::Byte, 4);
            assert_eq!(port.config_read(0x00, Width::Dword), 0x0012_1000);
            assert_eq!(port.config_read(0x3d, Width::Byte), 1);
            // The interrupt line is the firmware's note.
            port.config_write(0x3c, Width::Byte, 11);
            assert_eq!(port.config_read(0x3c, Width::Byte), 11);
        }
    });
}

#[test]
fn bars_are_sized_moved_and_switched_off() {
    everywhere(&[0; 512], |front, device, _| {
        let ports = &mut device.ports;
        for (offset, size) in [
            (0x10, 0xffff_ff01),
            (0x14, 0xffff_fc00),
            (0x18, 0xffff_e000),
            (0x1c, 0),
            (0x20, 0),
            (0x24, 0),
            (0x30, 0),
        ] {
            ports[0].config_write(offset, Width::Dword, 0xffff_ffff);
            assert_eq!(ports[1].config_read(offset, Width::Dword), size, "{front}");
            ports[0].config_write(offset, Width::Dword, 0);
        }
        let (mut one, mut four) = ([0; 1], [0; 4]);
        ports[0].config_write(0x14, Width::Dword, 0xfe00_0000);
        assert!(!ports[0].mmio_read(0xfe00_0000, &mut one), "not decoding");
        ports[0].config_write(0x04, Width::Word, 2);
        assert!(ports[1].mmio_read(0xfe00_0000, &mut one));
        assert_eq!(one, [0xc0], "SCNTL0");
        // Four copies of the registers, and nothing behind them.
        assert!(ports[0].mmio_write(0xfe00_0334, &0x0123_4567_u32.to_le_bytes()));
        assert!(ports[1].mmio_read(0xfe00_0034, &mut four));
        assert_eq!(u32::from_le_bytes(four), 0x0123_4567);
        assert!(!ports[0].mmio_read(0xfe00_0400, &mut one));
        // The other vCPU moves it.
        ports[1].config_write(0x14, Width::Dword, 0xfd12_3400);
        assert!(!ports[0].mmio_read(0xfe00_0000, &mut one));
        assert!(ports[0].mmio_read(0xfd12_3434, &mut four));
        assert_eq!(u32::from_le_bytes(four), 0x0123_4567);
        // The same registers in port I/O space.
        ports[0].config_write(0x10, Width::Dword, 0xc001);
        assert!(!ports[0].pio_read(0xc034, &mut four));
        ports[0].config_write(0x04, Width::Word, 3);
        assert!(ports[0].pio_read(0xc034, &mut four));
        assert_eq!(u32::from_le_bytes(four), 0x0123_4567);
        assert!(ports[0].pio_write(0xc034, &[0xab]));
        assert!(ports[0].mmio_read(0xfd12_3434, &mut one));
        assert_eq!(one, [0xab]);
        ports[0].config_write(0x04, Width::Word, 0);
        assert!(!ports[0].mmio_read(0xfd12_3434, &mut one));
        assert!(!ports[1].pio_read(0xc034, &mut one));
    });
}

#[test]
fn registers_start_with_their_reset_values() {
    set_up(&[0; 512], |front, device, _| {
        // By offset; those that are not here start as zero, or are of the set-up.
        let known = [
            (SCNTL0, 0xc0),
            (DSTAT, 0x80),
            (CTEST1, 0xf0),
            // With both BARs of the registers placed.
            (0x1a, 0x31),
            (0x47, 0x0f),
            (0x4c, 0x03),
        ];
        for (register, value) in known {
            assert_eq!(device.byte(register), value, "{front} {register:#x}");
        }
        for register in [
            0x05, 0x06, 0x10, 0x14, 0x2c, 0x34, 0x42, 0x43, 0x48, 0x5c, 0x9c,
        ] {
            assert_eq!(device.byte(register), 0, "{front} {register:#x}");
        }
        // The same in each of the widths that a guest may use.
        assert_eq!(device.read::<2>(SCNTL0)[0], 0xc0);
        assert_eq!(device.read::<4>(SCNTL0)[0], 0xc0);
        let mut port = [0; 1];
        assert!(device.ports[0].pio_read(IO + u16::from(CTEST1), &mut port));
        assert_eq!(port, [0xf0]);
    });
}

#[test]
fn reading_and_writing_have_their_side_effects() {
    set_up(&[0; 512], |front, device, _| {
        // Reading CTEST2 takes SIGP back.
        device.write(ISTAT0, &[istat0::SIGP]);
        assert_eq!(device.byte(ISTAT0), istat0::SIGP, "{front}");
        assert_eq!(device.byte(0x1a) & 0x40, 0x40, "SIGP in CTEST2");
        assert_eq!(device.byte(ISTAT0), 0);
        assert_eq!(device.byte(0x1a) & 0x40, 0);

        // INTFLY's flag goes by writing it; reading does not change it.
        let stop = device.script(|s| {
            s.interrupt_on_the_fly(Condition::ALWAYS);
            s.interrupt(1, Condition::ALWAYS);
        });
        assert_eq!(stop.istat0, istat0::INTF | istat0::DIP, "{front}");
        assert_eq!(device.byte(ISTAT0), istat0::INTF);
        device.write(ISTAT0, &[istat0::INTF]);
        assert_eq!(device.byte(ISTAT0), 0);

        // Soft reset clears the registers; the driver ends it.
        device.write(SCRATCHA, &[1, 2, 3, 4]);
        device.write(ISTAT0, &[istat0::SRST]);
        assert_eq!(device.byte(ISTAT0) & istat0::SRST, istat0::SRST);
        device.write(ISTAT0, &[0]);
        assert_eq!((device.dword(DIEN - 1) >> 8) & 0xff, 0, "DIEN");
        assert_eq!(device.byte(SCNTL0), 0xc0);
    });
}

#[test]
fn scripts_compute_and_move() {
    set_up(&[0; 512], |front, device, _| {
        device.put_data(&pattern(0x3000));
        let stop = device.script(|s| {
            let (skip, routine) = (s.label(), s.label());
            s.modify(SCRATCHA, Operator::Move, 0x5a);
            s.to_sfbr(SCRATCHA, Operator::Xor, 0xff);
            s.interrupt(1, Condition::if_not_data(0xa5));
            s.from_sfbr(SCRATCHA + 1, Operator::Add, 1);
            s.call(routine, Condition::ALWAYS);
            s.jump(skip, Condition::ALWAYS);
            s.interrupt(2, Condition::ALWAYS);
            s.bind(routine);
            s.load(SCRATCHA + 2, 2, DATA + 2);
            s.ret(Condition::ALWAYS);
            s.bind(skip);
            s.store(SCRATCHA, 4, DATA + 0x4000);
            s.move_memory(0x3000, DATA, DATA + 0x5000);
            s.interrupt(3, Condition::ALWAYS);
        });
        assert!(stop.is_int(3), "{front}: {stop:x?}");
        let data = device.data(0x8000);
        assert_eq!(data[0x4000..0x4004], [0x5a, 0xa6, data[2], data[3]]);
        assert!(data[0x5000..] == data[..0x3000], "{front}");
    });
}

#[test]
fn scripts_run_from_scripts_ram() {
    set_up(&[0; 512], |front, device, _| {
        // INT 7, where the guest has put it through BAR 2.
        let program = [0x9808_0000_u32.to_le_bytes(), 7_u32.to_le_bytes()].concat();
        let port = &mut device.ports[0];
        assert!(port.mmio_write(SCRIPTS_RAM + 0x1ff8, &program));
        let mut back = [0; 8];
        assert!(device.ports[1].mmio_read(SCRIPTS_RAM + 0x1ff8, &mut back));
        assert_eq!(back, program[..]);
        let start = u32::try_from(SCRIPTS_RAM).unwrap() + 0x1ff8;
        device.write(DSP, &start.to_le_bytes());
        let stop = device.stop();
        assert!(stop.is_int(7), "{front}: {stop:x?}");
    });
}

#[test]
fn disks_are_read_written_and_flushed() {
    let disk = pattern(64 << 10);
    set_up(&disk, |front, device, image| {
        device.clear_attention(0);
        let read = device.command(0, &cdb10(0x28, 3, 32), Data::In(32 * 512));
        assert_eq!(read, Ok(0), "{front}");
        assert!(device.data(32 * 512) == disk[3 * 512..35 * 512], "{front}");
        let news = vec![0x77; 5 * 512];
        device.put_data(&news);
        let write = device.command(0, &cdb10(0x2a, 100, 5), Data::Out(5 * 512));
        assert_eq!(write, Ok(0), "{front}");
        let flush = device.command(0, &cdb10(0x35, 0, 0), Data::None);
        assert_eq!(flush, Ok(0), "{front}");
        let mut expected = disk.clone();
        expected[100 * 512..105 * 512].copy_from_slice(&news);
        assert!(image.bytes() == expected, "{front}");
        let read = device.command(0, &cdb10(0x28, 99, 7), Data::In(7 * 512));
        assert_eq!(read, Ok(0), "{front}");
        assert!(device.data(7 * 512) == expected[99 * 512..106 * 512]);
    });
}

#[test]
fn refusals_are_check_conditions() {
    let disk = pattern(64 << 10);
    set_up(&disk, |front, device, image| {
        // A unit attention comes first: power on.
        assert_eq!(device.command(0, &[0; 6], Data::None), Ok(CHECK));
        assert_eq!(sense(device, 0).0, 6, "{front}");
        device.clear_attention(1);
        let beyond = device.command(0, &cdb10(0x28, 128, 1), Data::In(512));
        assert_eq!(beyond, Ok(CHECK), "{front}");
        assert_eq!(sense(device, 0), (5, 0x2100), "beyond the end");
        assert_eq!(device.command(0, &[0xc7; 10], Data::None), Ok(CHECK));
        assert_eq!(sense(device, 0), (5, 0x2000), "no such command");
        let write = device.command(1, &cdb10(0x2a, 0, 1), Data::Out(512));
        assert_eq!(write, Ok(CHECK), "{front}");
        assert_eq!(sense(device, 1), (7, 0x2700), "read-only");
        assert!(image.bytes() == disk);
        // The sense is told once.
        assert_eq!(sense(device, 1).0, 0);
    });
}

#[test]
fn scripts_that_fail_stop_with_the_chips_own_reasons() {
    set_up(&pattern(64 << 10), |front, device, _| {
        device.clear_attention(0);
        // Nobody at target 5.
        let stop = device.command(5, &[0; 6], Data::None).unwrap_err();
        assert_eq!(
            (stop.istat0, stop.dstat, stop.sist0, stop.sist1),
            (istat0::SIP, 0, 0, 4),
            "{front}: selection time-out"
        );
        // An instruction that there is not.
        let stop = device.script(|s| s.store(SCRATCHA, 5, DATA));
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_IID),
            "{front}"
        );
        // DMA outside of guest RAM, by a memory move and by a fetch.
        let stop = device.script(|s| {
            s.move_memory(4, OUTSIDE, DATA);
            s.interrupt(0, Condition::ALWAYS);
        });
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_BF),
            "{front}"
        );
        device.write(DSP, &OUTSIDE.to_le_bytes());
        let stop = device.stop();
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_BF),
            "{front}"
        );
        // Another phase than the script's.
        let stop = device.script(|s| {
            let fail = s.bound_label();
            s.select(0, true, fail);
            s.move_direct(1, SCRIPT, Phase::Status);
            s.interrupt(0, Condition::ALWAYS);
        });
        assert_eq!(
            (stop.istat0, stop.sist0),
            (istat0::SIP, SIST0_MA),
            "{front}"
        );
        device.write(ISTAT0, &[istat0::SRST]);
        device.write(ISTAT0, &[0]);
        device.set_up();
        // And a disk's data: it goes on afterwards.
        let stop = device.script(|s| {
            let fail = s.label();
            s.select(0, true, fail);
            s.move_direct(1, SCRIPT - 0x100, Phase::MessageOut);
            s.move_direct(10, SCRIPT - 0x80, Phase::Command);
            s.move_direct(512, OUTSIDE, Phase::DataIn);
            s.interrupt(0, Condition::ALWAYS);
            s.bind(fail);
            s.interrupt(1, Condition::ALWAYS);
        });
        assert_ne!(stop, Stop::default(), "{front}");
        device.write(ISTAT0, &[istat0::SRST]);
        device.write(ISTAT0, &[0]);
        device.set_up();
        while device.command(0, &[0; 6], Data::None) != Ok(0) {
            assert_eq!(sense(device, 0).0, 6, "a unit attention");
        }
        // Bus mastering off: nothing can be fetched.
        device.ports[0].config_write(0x04, Width::Word, 3);
        device.write(DSP, &SCRIPT.to_le_bytes());
        let stop = device.stop();
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_BF),
            "{front}"
        );
    });
}

#[test]
fn a_dma_outside_of_ram_reaches_nothing() {
    set_up(&pattern(64 << 10), |front, device, image| {
        device.clear_attention(0);
        let before = image.bytes();
        device.ram.write(u64::from(DATA), &[0x80]).unwrap();
        device
            .ram
            .write(u64::from(DATA) + 0x10, &cdb10(0x2a, 0, 4))
            .unwrap();
        // Half of the data are in RAM, half are not.
        let end = u32::try_from(device.ram.bytes()).unwrap();
        let stop = device.script(|s| {
            let fail = s.label();
            s.select(0, true, fail);
            s.move_direct(1, DATA, Phase::MessageOut);
            s.move_direct(10, DATA + 0x10, Phase::Command);
            s.jump(fail, Condition::when_not(Phase::DataOut));
            s.move_direct(2048, end - 1024, Phase::DataOut);
            s.interrupt(0, Condition::ALWAYS);
            s.bind(fail);
            s.interrupt(1, Condition::ALWAYS);
        });
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_BF),
            "{front}"
        );
        assert!(image.bytes() == before, "{front}");
    });
}

#[test]
fn the_interrupt_is_a_level_that_is_resampled() {
    set_up(&[0; 512], |front, device, _| {
        device.start(|s| s.interrupt(9, Condition::ALWAYS));
        device.wait_for_interrupt();
        // Not served: at the end of the interrupt the line is still up.
        for _ in 0..3 {
            device.intx.end_of_interrupt().unwrap();
            device.wait_for_interrupt();
        }
        assert_eq!(
            device.ports[1].config_read(0x06, Width::Byte) & 8,
            8,
            "{front}: STATUS"
        );
        assert_eq!(device.byte(DSTAT), 0x84);
        assert_eq!(device.dword(DSPS), 9);
        assert_eq!(
            device.ports[1].config_read(0x06, Width::Byte) & 8,
            0,
            "{front}: STATUS"
        );
        device.intx.end_of_interrupt().unwrap();
        // The line is down now: the next thing that comes is the next interrupt, whose line is cut off by COMMAND.
        device.ports[0].config_write(0x04, Width::Word, 0x407);
        device.start(|s| s.interrupt(10, Condition::ALWAYS));
        while device.byte(ISTAT0) & istat0::DIP == 0 {
            std::thread::yield_now();
        }
        // A crossing later nothing has come of it; with the line let through, it has.
        assert!(!device.intx.take_trigger(), "{front}");
        device.ports[0].config_write(0x04, Width::Word, 7);
        let stop = device.stop();
        assert!(stop.is_int(10), "{front}: {stop:x?}");
    });
}

#[test]
fn a_masked_reason_does_not_interrupt() {
    set_up(&[0; 512], |front, device, _| {
        device.write(DIEN, &[0]);
        device.start(|s| s.interrupt(5, Condition::ALWAYS));
        while device.byte(ISTAT0) & istat0::DIP == 0 {
            std::thread::yield_now();
        }
        assert!(!device.intx.take_trigger(), "{front}");
        device.write(DIEN, &[0x7d]);
        let stop = device.stop();
        assert!(stop.is_int(5), "{front}: {stop:x?}");
    });
}

#[test]
fn a_reset_is_like_power_on() {
    let disk = pattern(64 << 10);
    set_up(&disk, |front, device, _| {
        device.clear_attention(0);
        device.write(DSA, &[1, 2, 3, 4]);
        // An interrupt is pending, and SCRIPTS wait.
        device.start(|s| {
            let again = s.label();
            s.interrupt_on_the_fly(Condition::ALWAYS);
            s.bind(again);
            s.wait_reselect(again);
        });
        device.wait_for_interrupt();
        device.reset();
        device.set_up();
        assert_eq!(device.dword(DSA), 0, "{front}");
        assert_eq!(device.byte(ISTAT0), 0, "{front}");
        assert_eq!(device.byte(SIST0), 0, "{front}");
        device.intx.end_of_interrupt().unwrap();
        // The disk tells of it, and keeps what is on it; RAM and interrupt are still attached.
        device.clear_attention(0);
        let read = device.command(0, &cdb10(0x28, 0, 8), Data::In(4096));
        assert_eq!(read, Ok(0), "{front}");
        assert!(device.data(4096) == disk[..4096], "{front}");
    });
}

#[test]
fn accesses_of_two_vcpus_reach_one_device() {
    set_up(&[0; 512], |front, device, _| {
        let ports = &mut device.ports;
        std::thread::scope(|scope| {
            // Each vCPU has scratch registers of its own, and both share the chip's front.
            for (port, register) in ports.iter_mut().zip([0x60_u64, 0x70]) {
                scope.spawn(move || {
                    let at = REGISTERS + register;
                    for value in 0..1000_u32 {
                        for copy in 0..4_u32 {
                            let word = (value ^ copy.wrapping_mul(0x0101_0101)).to_le_bytes();
                            assert!(port.mmio_write(at + u64::from(copy) * 4, &word));
                        }
                        let copy = value % 4;
                        let mut word = [0; 4];
                        assert!(port.mmio_read(at + u64::from(copy) * 4, &mut word));
                        let expected = value ^ copy.wrapping_mul(0x0101_0101);
                        assert_eq!(u32::from_le_bytes(word), expected, "{front}");
                    }
                });
            }
        });
        // A read does not overtake the other vCPU's posted write.
        for value in 0..500_u32 {
            device.write_on(0, SCRATCHA, &value.to_le_bytes());
            let seen = device.read_on::<4>(1, SCRATCHA);
            assert_eq!(u32::from_le_bytes(seen), value, "{front}");
        }
    });
}
