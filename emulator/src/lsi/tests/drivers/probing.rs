//! What drivers and boot ROMs do before their first command: identity, register and cache tests, the board's clock, a bus reset.

use std::time::Duration;

use super::super::asm::{int, mov, move_memory, select_atn};
use super::super::{DATA, DIP, REGISTERS, Rig, SCRIPT, SCRIPTS_RAM, SIP, TABLE};
use super::{BOTH, rig};
use crate::lsi::Model::{Lsi53c810, Lsi53c895a};
use crate::lsi::Phase::MessageOut;
use crate::lsi::at;
use outrigger_device::device::{Device as _, Width};

/// What a loop of register reads and short delays finds: GEN's time in units of `step`, at a pre-scaler of 3.
fn measured(rig: &mut Rig, field: u8, step: Duration) -> u32 {
    rig.w8(at::SIEN0, 0);
    rig.w8(at::SIEN1, 0);
    let _ = rig.read(at::SIST0, Width::Word);
    rig.w8(at::DIEN, 0);
    let _ = rig.read(at::SIST0, Width::Word);
    rig.w8(at::SCNTL3, 4);
    rig.w8(at::STIME1, 0);
    rig.w8(at::STIME1, field);
    let mut steps = 0;
    while rig.read(at::SIST0, Width::Word) & 0x0200 == 0 {
        assert!(steps < 100_000, "GEN never comes");
        rig.pass(step);
        steps += 1;
    }
    rig.w8(at::STIME1, 0);
    rig.w8(at::SCNTL3, 0);
    steps
}

/// The drivers of Linux and FreeBSD, the old one and the new: 4340 kHz · 2^GEN over the milliseconds that it took. Below
/// 45 MHz they take the board's clock for 40.
#[test]
fn the_clock_of_the_board_is_40_mhz() {
    for model in BOTH {
        let mut rig = rig(model);
        // 1 ms at a time for 1/4 of a second, and 1/4 ms at a time for a tenth of that.
        for (field, step, kilohertz) in [
            (11, Duration::from_millis(1), 4340 << 11),
            (8, Duration::from_micros(250), (4340 * 4) << 8),
        ] {
            // The first measurement is thrown away, and the slower of the next two counts.
            let _ = measured(&mut rig, field, step);
            let slower = measured(&mut rig, field, step).max(measured(&mut rig, field, step));
            let frequency = kilohertz / slower;
            assert!(
                (38_000..42_000).contains(&frequency),
                "{model:?}: {frequency} kHz"
            );
        }
    }
}

/// The quadrupler: power it, wait for its lock, halt the clock, select it, go on. GEN is four times as fast then.
#[test]
fn the_clock_is_quadrupled() {
    let mut rig = rig(Lsi53c895a);
    let slow = measured(&mut rig, 8, Duration::from_micros(250));
    rig.w8(at::STEST1, 0x08);
    assert_eq!(rig.r8(at::STEST4) & 0x20, 0x20);
    rig.w8(0x4f, 0x20);
    rig.w8(at::STEST1, 0x0c);
    rig.w8(0x4f, 0x00);
    let fast = measured(&mut rig, 8, Duration::from_micros(250));
    assert!(slow.abs_diff(4 * fast) <= 4, "{slow} and {fast}");
    assert_eq!(rig.r8(at::STEST1), 0x0c);
}

/// By PCI's numbers, by MACNTL and by CTEST3, whose upper half is the revision.
#[test]
fn the_chip_is_identified() {
    for (model, device, macntl) in [(Lsi53c895a, 0x12, 0xf0), (Lsi53c810, 0x01, 0x40)] {
        let mut rig = rig(model);
        let identity = rig.lsi.identity();
        assert_eq!((identity.vendor, identity.device), (0x1000, device));
        // Below 0x10, a 53C810 has no LOAD and STORE for its driver.
        assert_eq!(identity.revision, 0);
        assert_eq!(rig.r8(0x1b) >> 4, 0);
        assert_eq!(rig.r8(at::MACNTL) & 0xf0, macntl);
    }
}

/// "May registers be cached?" All ones written to DSTAT, SSTAT0 to 2 do not read back.
#[test]
fn status_registers_do_not_read_back() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.w32(at::DSTAT, 0xffff_ffff);
        assert_eq!(rig.r32(at::DSTAT) & 0xe2f0_fffd, 0x0200_0080, "{model:?}");
    }
}

/// A bus reset: RST, and nothing else on the bus while it is asserted; then the chip's own reset takes the interrupt away.
#[test]
fn the_bus_is_quiet_while_it_is_reset() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.w8(at::ISTAT0, 0x40);
        rig.w8(at::ISTAT0, 0x00);
        rig.w8(at::SIEN0, 0x02);
        rig.w8(0x4f, 0x80);
        rig.w8(at::DCNTL, 0x00);
        rig.w8(at::SCNTL1, 0x08);
        assert_eq!(rig.r8(at::SSTAT0), 0x02);
        assert_eq!(rig.r8(at::SSTAT2) & 0x01, 0);
        assert_eq!(rig.read(at::SBDL, Width::Word), 0);
        assert_eq!(rig.r8(at::SBCL), 0);
        rig.w8(at::SCNTL1, 0x00);
        assert!(rig.lsi.interrupt());
        assert_eq!(rig.interrupts(), (SIP, 0, 0x02));
        assert!(!rig.lsi.interrupt());
    }
}

/// SCRIPTS into SCRIPTS RAM, by the host and by a memory move, and read back the same ways.
#[test]
fn scripts_are_uploaded_by_the_host_and_by_a_memory_move() {
    let mut rig = rig(Lsi53c895a);
    let words: Vec<u32> = (0..64).map(|n| 0x8000_0000 | n).chain(int(0x42)).collect();
    // NOPs as far as the INT: a jump on false, whatever it compares with.
    let words: Vec<u32> = words
        .chunks(2)
        .flat_map(|pair| {
            if pair == int(0x42) {
                int(0x42)
            } else {
                [0x8000_0000, pair[1]]
            }
        })
        .collect();
    rig.poke32(DATA, &words);
    let size = 4 * u32::try_from(words.len()).expect("short");
    rig.script(&[
        move_memory(size, DATA),
        [SCRIPTS_RAM + 0x1000, move_memory(size, 0)[0]],
        [SCRIPTS_RAM + 0x1000, DATA + 0x1000],
        int(1),
    ]);
    rig.assert_int(1);
    assert_eq!(
        rig.peek(DATA + 0x1000, size as usize),
        rig.peek(DATA, size as usize)
    );
    for (n, word) in (0..).zip(&words) {
        rig.write(2, 4 * n, Width::Dword, u64::from(*word));
    }
    for start in [SCRIPTS_RAM, SCRIPTS_RAM + 0x1000] {
        rig.w32(at::DSP, start);
        rig.run();
        rig.assert_int(0x42);
        assert_eq!(rig.r32(at::DSP), start + size);
    }
}

/// A soft reset in the middle of a running script: aborted first, as ISTAT tells, then reset.
#[test]
fn a_running_script_is_aborted_before_the_reset() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.poke32(SCRIPT, &super::super::asm::jump(SCRIPT));
        rig.w32(at::DSP, SCRIPT);
        let _ = rig.run_once();
        rig.w8(at::ISTAT0, 0x80);
        let _ = rig.run_once();
        assert_eq!(rig.r8(at::ISTAT0) & 0x03, DIP);
        assert_eq!(rig.r8(at::DSTAT) & 0x10, 0x10);
        rig.w8(at::ISTAT0, 0x00);
        rig.w8(at::ISTAT0, 0x40);
        rig.w8(at::ISTAT0, 0x00);
        rig.run();
        assert_eq!(rig.interrupts(), (0, 0, 0));
        rig.script(&[int(3)]);
        rig.assert_int(3);
    }
}

/// A boot ROM's search: each ID is selected and polled for; GEN, masked, is its alarm clock.
#[test]
fn ids_are_searched_by_polling() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.poke(TABLE, &[0x80]);
        let mut found = Vec::new();
        for id in 0..7 {
            rig.w8(at::SCNTL3, 3);
            rig.w8(at::STIME1, 0);
            rig.w8(at::STIME1, 11);
            rig.script(&[select_atn(id, 0), mov(MessageOut, 1, TABLE), int(1)]);
            let mut polls = 0;
            while rig.r8(at::ISTAT0) & (SIP | DIP) == 0 {
                assert_eq!(rig.r8(at::SIST1) & 0x02, 0, "the alarm clock");
                assert!(polls < 100);
                polls += 1;
                rig.pass(Duration::from_millis(1));
            }
            match rig.interrupts() {
                (DIP, 0x04, 0) => found.push(id),
                (SIP, 0, 0x0400) => {}
                other => panic!("{other:x?}"),
            }
            rig.reset_bus();
        }
        assert_eq!(found, [0], "{model:?}");
    }
}

/// The registers through the I/O BAR, a byte at a time, as real-mode code has them.
#[test]
fn everything_is_there_through_the_io_bar() {
    for model in BOTH {
        let mut rig = rig(model);
        rig.poke32(DATA, &[0x0bad_cafe]);
        rig.poke32(
            SCRIPT,
            [move_memory(4, DATA), [REGISTERS + 0x34, int(5)[0]], [5, 0]].as_flattened(),
        );
        for (offset, byte) in (0x2c..).zip(SCRIPT.to_le_bytes()) {
            rig.write(0, offset, Width::Byte, byte.into());
        }
        rig.run();
        rig.assert_int(5);
        assert_eq!(rig.r32(at::SCRATCHA), 0x0bad_cafe);
    }
}
