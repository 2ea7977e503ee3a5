//! The reference VMM, its guest and its SCRIPTS against the device, over every front and on both kinds of vCPU.

use std::time::Duration;

use outrigger_block::{Backend, Hold};
use outrigger_tests::front::{Attached, Device, Front, vcpu_kinds};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::guest::scripts::code;
use outrigger_vmm::{Failure, Machine, OtherVcpus, Request, Workload};

const GOOD: Option<u8> = Some(0);
const CHECK_CONDITION: Option<u8> = Some(2);

/// Runs the test on a machine with a disk of these bytes at target 0, its unit attention out of the way: over each
/// front, with each kind of vCPU.
fn everywhere(disk: &[u8], mut test: impl FnMut(&str, &mut Machine)) {
    for front in Front::ALL {
        for kind in vcpu_kinds() {
            let place = Place::new();
            let image = place.image("disk.img", disk);
            let (mut machine, device) = Attached::new(front, &[image]).ready_machine(kind);
            test(&format!("{front}, {kind}"), &mut machine);
            drop(machine);
            if let Device::Remote(proxy) = device {
                proxy.detach().unwrap();
            }
        }
    }
}

#[test]
fn the_disk_introduces_itself() {
    everywhere(&pattern(1 << 20), |at, machine| {
        let requests = vec![
            Request::inquiry(0, BUFFERS, 36),
            Request::read_capacity(0, BUFFERS + 0x100),
        ];
        let report = machine.run(&Workload::new(requests, 2)).unwrap();
        assert!(report.is_good(), "{at}: {report:?}");
        let mut capacity = [0; 8];
        let ram = machine.ram();
        ram.read(u64::from(BUFFERS) + 0x100, &mut capacity).unwrap();
        assert_eq!(capacity, [0, 0, 0x07, 0xff, 0, 0, 2, 0], "{at}");
    });
}

#[test]
fn a_sequential_read_arrives() {
    let disk = pattern(2 << 20);
    everywhere(&disk, |at, machine| {
        for (depth, segment_shift) in [(1, 16), (4, 12), (16, 13)] {
            // 64 KiB per request, into a ring of 8 buffers.
            let requests: Vec<_> = (0..32_u32)
                .map(|index| Request::read(0, index * 128, 128, BUFFERS + (index % 8) * 0x1_0000))
                .collect();
            let workload = Workload {
                segment_shift,
                ..Workload::new(requests, depth).with_window(8)
            };
            let mut arrived = Vec::new();
            let report = machine
                .run_observed(&workload, &mut |ram, done| {
                    for index in done {
                        let mut buffer = vec![0; 0x1_0000];
                        let from = u64::from(BUFFERS) + u64::from(index % 8) * 0x1_0000;
                        ram.read(from, &mut buffer).unwrap();
                        arrived.extend(buffer);
                    }
                })
                .unwrap();
            assert!(report.is_good(), "{at}, {depth}: {report:?}");
            assert!(arrived == disk, "{at}, {depth}");
        }
    });
}

#[test]
fn what_is_written_is_read_back() {
    everywhere(&[0; 2 << 20], |at, machine| {
        let data = pattern(1 << 20);
        machine.ram().write(BUFFERS.into(), &data).unwrap();
        let writes = (0..32_u32)
            .map(|index| Request::write(0, 1024 + index * 64, 64, BUFFERS + index * 0x8000));
        let report = machine.run(&Workload::new(writes.collect(), 8)).unwrap();
        assert!(report.is_good(), "{at}: {report:?}");
        let flush = Workload::new(vec![Request::synchronize_cache(0)], 1);
        let report = machine.run(&flush).unwrap();
        assert!(report.is_good(), "{at}: {report:?}");
        let back = BUFFERS + 0x20_0000;
        let reads =
            (0..32_u32).map(|index| Request::read(0, 1024 + index * 64, 64, back + index * 0x8000));
        let report = machine.run(&Workload::new(reads.collect(), 8)).unwrap();
        assert!(report.is_good(), "{at}: {report:?}");
        let mut read = vec![0; data.len()];
        machine.ram().read(back.into(), &mut read).unwrap();
        assert!(read == data, "{at}");
    });
}

#[test]
fn errors_are_the_targets_own() {
    everywhere(&[0; 1 << 20], |at, machine| {
        let requests = vec![
            Request::read(0, 0, 1, BUFFERS),
            // Beyond the end: no data come, though there is room for them.
            Request::read(0, 5000, 1, BUFFERS),
            // Nobody there: the chip's timer decides.
            Request::test_unit_ready(3),
            Request::read(0, 1, 1, BUFFERS),
        ];
        let report = machine.run(&Workload::new(requests, 2)).unwrap();
        assert_eq!(report.failure, None, "{at}");
        assert_eq!(report.statuses, [GOOD, CHECK_CONDITION, None, GOOD], "{at}");
        assert_eq!((report.completed, report.errors), (4, 2), "{at}");
        assert_eq!(
            report.outcome().unwrap_err().to_string(),
            "2 of 4 requests failed: 1 with ILLEGAL REQUEST 21/00, 1 with no target",
            "{at}"
        );
    });
}

#[test]
fn two_vcpus_share_the_chip() {
    let disk = pattern(1 << 20);
    everywhere(&disk, |at, machine| {
        for second in [OtherVcpus::Submit(1), OtherVcpus::Poll] {
            let requests: Vec<_> = (0..256_u32)
                .map(|index| Request::read(0, index * 8, 8, BUFFERS + index * 0x1000))
                .collect();
            let workload = Workload::new(requests, 16).with_others(second);
            let report = machine.run(&workload).unwrap();
            assert!(report.is_good(), "{at}, {second:?}: {report:?}");
            let mut read = vec![0; disk.len()];
            machine.ram().read(BUFFERS.into(), &mut read).unwrap();
            assert!(read == disk, "{at}, {second:?}");
        }
    });
}

#[test]
fn the_steady_state_is_the_drivers_usual() {
    everywhere(&pattern(1 << 20), |at, machine| {
        let requests = (0..100_u32)
            .map(|index| Request::read(0, index * 8, 8, BUFFERS))
            .collect();
        let report = machine.run(&Workload::new(requests, 1)).unwrap();
        assert!(report.is_good(), "{at}: {report:?}");
        let vcpu = &report.vcpus[0];
        // Per request at depth 1: the doorbell, the interrupt read, cleared and read again.
        let accesses = (vcpu.accesses.writes, vcpu.accesses.reads);
        assert_eq!(accesses, (200, 200), "{at}: {report:?}");
        assert_eq!(vcpu.interrupts, 100, "{at}");
    });
}

#[test]
fn disconnected_tasks_come_back() {
    for kind in vcpu_kinds() {
        for second in [OtherVcpus::None, OtherVcpus::Submit(1)] {
            let disk = pattern(1 << 20);
            // Only in this process: the emulator's options have no slow disks.
            let memory = Backend::memory(disk.clone(), false);
            let (slow, _) = Backend::delay(memory, Hold::For(Duration::from_micros(200))).unwrap();
            let (mut machine, _device) = Attached::local_on(vec![slow]).ready_machine(kind);
            // In segments of a page, 64 tasks at a time.
            let requests: Vec<_> = (0..128_u32)
                .map(|index| Request::read(0, index * 16, 16, BUFFERS + index * 0x2000))
                .collect();
            let workload = Workload {
                segment_shift: 12,
                ..Workload::new(requests, 64).with_others(second)
            };
            let report = machine.run(&workload).unwrap();
            assert!(report.is_good(), "{kind} {second:?}: {report:?}");
            let mut read = vec![0; disk.len()];
            machine.ram().read(BUFFERS.into(), &mut read).unwrap();
            assert!(read == disk);
        }
    }
}

#[test]
fn a_target_with_less_data_ends_the_phase() {
    everywhere(&[0; 1 << 20], |at, machine| {
        machine.ram().write(BUFFERS.into(), &[0xee; 0x200]).unwrap();
        // 8 bytes come, in segments of 4; then of 16, so that the move itself is cut short.
        let long = |address| {
            let capacity = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Request::data_in(0, &capacity, address, 64)
        };
        for (segment_shift, to) in [(2, BUFFERS), (4, BUFFERS + 0x100)] {
            let workload = Workload {
                segment_shift,
                ..Workload::new(vec![long(to), long(to + 0x80)], 1)
            };
            let report = machine.run(&workload).unwrap();
            assert!(report.is_good(), "{at}: {report:?}");
            let mut data = [0; 0x10];
            for to in [to, to + 0x80] {
                machine.ram().read(to.into(), &mut data).unwrap();
                let expected = [0, 0, 0x07, 0xff, 0, 0, 2, 0, 0xee];
                assert_eq!(data[..9], expected, "{at}, {segment_shift}");
            }
        }
    });
}

#[test]
fn a_target_with_more_data_stops_the_scripts() {
    everywhere(&[0; 1 << 20], |at, machine| {
        let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let short = Workload::new(vec![Request::data_in(0, &read, BUFFERS, 256)], 1);
        let report = machine.run(&short).unwrap();
        let Some(Failure::Chip(error)) = report.failure else {
            panic!("{at}: {:?}", report.failure)
        };
        assert_eq!(error.dsps, code::OVERRUN, "{at}");
        // Reset by the next run, the chip works again.
        let again = Workload::new(vec![Request::test_unit_ready(0)], 1);
        let report = machine.run(&again).unwrap();
        assert_eq!(report.failure, None, "{at}");
    });
}
