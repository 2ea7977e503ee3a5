//! SCRIPTS that a guest starts, and the disks that they reach, over every front.

use outrigger_proxy::Width;
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{
    DATA, DSTAT_BF, DSTAT_IID, Data, OUTSIDE, SCRIPT, SCRIPTS_RAM, SIST0_MA, cdb10,
    set_up_everywhere,
};
use outrigger_vmm::guest::assembler::{Condition, Operator, Phase};
use outrigger_vmm::guest::registers::{DSP, ISTAT0, SCRATCHA, istat0};

/// CHECK CONDITION.
const CHECK: u8 = 2;

#[test]
fn scripts_compute_and_move() {
    set_up_everywhere(&[0; 512], |front, device, _| {
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
    set_up_everywhere(&[0; 512], |front, device, _| {
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
    set_up_everywhere(&disk, |front, device, image| {
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
    set_up_everywhere(&disk, |front, device, image| {
        // A unit attention comes first: power on.
        assert_eq!(device.command(0, &[0; 6], Data::None), Ok(CHECK));
        assert_eq!(device.sense(0).0, 6, "{front}");
        device.clear_attention(1);
        let beyond = device.command(0, &cdb10(0x28, 128, 1), Data::In(512));
        assert_eq!(beyond, Ok(CHECK), "{front}");
        assert_eq!(device.sense(0), (5, 0x2100), "beyond the end");
        assert_eq!(device.command(0, &[0xc7; 10], Data::None), Ok(CHECK));
        assert_eq!(device.sense(0), (5, 0x2000), "no such command");
        let write = device.command(1, &cdb10(0x2a, 0, 1), Data::Out(512));
        assert_eq!(write, Ok(CHECK), "{front}");
        assert_eq!(device.sense(1), (7, 0x2700), "read-only");
        assert!(image.bytes() == disk);
        // The sense is told once.
        assert_eq!(device.sense(1).0, 0);
    });
}

#[test]
fn scripts_that_fail_stop_with_the_chips_own_reasons() {
    set_up_everywhere(&pattern(64 << 10), |front, device, _| {
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
        device.put_data(&[0x80]);
        let read = cdb10(0x28, 0, 1);
        device.ram.write(u64::from(DATA) + 0x10, &read).unwrap();
        let stop = device.script(|s| {
            let fail = s.label();
            s.select(0, true, fail);
            s.move_direct(1, DATA, Phase::MessageOut);
            s.move_direct(10, DATA + 0x10, Phase::Command);
            s.jump(fail, Condition::when_not(Phase::DataIn));
            s.move_direct(512, OUTSIDE, Phase::DataIn);
            s.interrupt(0, Condition::ALWAYS);
            s.bind(fail);
            s.interrupt(1, Condition::ALWAYS);
        });
        assert_eq!(
            (stop.istat0, stop.dstat),
            (istat0::DIP, DSTAT_BF),
            "{front}"
        );
        device.write(ISTAT0, &[istat0::SRST]);
        device.write(ISTAT0, &[0]);
        device.set_up();
        while device.command(0, &[0; 6], Data::None) != Ok(0) {
            assert_eq!(device.sense(0).0, 6, "a unit attention");
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
    set_up_everywhere(&pattern(64 << 10), |front, device, image| {
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
