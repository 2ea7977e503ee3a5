//! The device as a guest's driver meets it, over every front: config space, registers, interrupts, two vCPUs.

use outrigger_proxy::Width;
use outrigger_tests::front::everywhere;
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{Data, IO, REGISTERS, cdb10, set_up_everywhere};
use outrigger_vmm::guest::assembler::Condition;
use outrigger_vmm::guest::registers::{
    DIEN, DSA, DSPS, DSTAT, ISTAT0, SCNTL0, SCRATCHA, SIST0, istat0,
};

/// CTEST1: its FIFOs are empty.
const CTEST1: u8 = 0x19;

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
    set_up_everywhere(&[0; 512], |front, device, _| {
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
    set_up_everywhere(&[0; 512], |front, device, _| {
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

/// SCNTL0, SCNTL1, SOCL, SBCL, SIST0, SODL and SBDL: a nexus without SCRIPTS. Reads of the data bus have effects, so no front
/// may answer or repeat them by itself.
#[test]
fn the_bus_is_worked_by_hand() {
    let (sbcl, sodl, sbdl) = (0x0b, 0x54, 0x58);
    let (scntl1, socl) = (0x01, 0x09);
    set_up_everywhere(&[0; 512], |front, device, _| {
        device.write(SCNTL0, &[0xf8]);
        assert_eq!(device.byte(SIST0), 0x40, "{front}: CMP");
        let identify = [0xc0];
        let inquiry = [0x12, 0, 0, 0, 8, 0];
        device.write(scntl1, &[0x40]);
        for (phase, bytes) in [(6, &identify[..]), (2, &inquiry[..])] {
            for &byte in bytes {
                assert_eq!(device.byte(sbcl) & 0x87, 0x80 | phase, "{front}");
                device.write(sodl, &[byte]);
                device.write(socl, &[0x40 | phase]);
                device.write(socl, &[phase]);
            }
        }
        device.write(scntl1, &[0]);
        let mut received = Vec::new();
        loop {
            let lines = device.byte(sbcl);
            if lines & 0x80 == 0 {
                break;
            }
            received.push((lines & 7, device.byte(sbdl)));
            assert_eq!(device.byte(sbdl), received.last().unwrap().1, "{front}");
            device.write(socl, &[0x40]);
            device.write(socl, &[0]);
        }
        assert_eq!(received.len(), 10, "{front}: {received:x?}");
        assert_eq!(received[..3], [(1, 0x00), (1, 0x00), (1, 0x05)], "{front}");
        assert_eq!(received[8..], [(3, 0x00), (7, 0x00)], "{front}");
        assert_eq!(device.byte(ISTAT0), 0, "{front}: bus free");
    });
}

#[test]
fn the_interrupt_is_a_level_that_is_resampled() {
    set_up_everywhere(&[0; 512], |front, device, _| {
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
    set_up_everywhere(&[0; 512], |front, device, _| {
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
    set_up_everywhere(&disk, |front, device, _| {
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
    set_up_everywhere(&[0; 512], |front, device, _| {
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
