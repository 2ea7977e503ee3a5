//! The reference VMM, its guest and its SCRIPTS against the emulator's LSI 53C895A, all in this process.
#![cfg(all(feature = "vmm", target_arch = "x86_64"))]

use std::time::Duration;

use outrigger_emulator::block::{Backend, Hold};
use outrigger_proxy::vmm::guest::layout::BUFFERS;
use outrigger_proxy::vmm::guest::scripts::code;
use outrigger_proxy::vmm::{
    Failure, Machine, MachineConfig, Ram, Request, SecondVcpu, VcpuKind, Workload,
};

#[path = "chip/device.rs"]
mod device;

use device::Device;

const RAM: u64 = 0x400_0000;
const GOOD: Option<u8> = Some(0);
const CHECK_CONDITION: Option<u8> = Some(2);

/// The kinds of vCPU that can run here.
fn kinds() -> Vec<VcpuKind> {
    if VcpuKind::best() == VcpuKind::Kvm {
        return vec![VcpuKind::Software, VcpuKind::Kvm];
    }
    println!("SKIPPED: no /dev/kvm");
    vec![VcpuKind::Software]
}

fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pattern = Vec::with_capacity(bytes);
    while pattern.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pattern.extend(state.to_le_bytes());
    }
    pattern
}

/// A machine with a disk of these bytes at target 0, its unit attention out of the way.
fn machine(kind: VcpuKind, disk: Vec<u8>, vcpus: usize) -> (Machine, Device) {
    machine_on(kind, Backend::memory(disk, false), vcpus)
}

fn machine_on(kind: VcpuKind, disk: Backend, vcpus: usize) -> (Machine, Device) {
    let ram = Ram::new(RAM).unwrap();
    let (device, attachment) = Device::new(&ram, vec![disk], vcpus);
    let config = MachineConfig {
        time_limit: Duration::from_secs(50),
        ..MachineConfig::new(kind)
    };
    let mut machine = Machine::new(config, ram, attachment);
    let first = Workload::new(
        vec![
            Request::test_unit_ready(0),
            Request::request_sense(0, BUFFERS),
        ],
        1,
    );
    let report = machine.run(&first).unwrap();
    assert_eq!(report.failure, None, "{report:?}");
    assert_eq!(report.statuses[1], GOOD);
    let again = machine
        .run(&Workload::new(vec![Request::test_unit_ready(0)], 1))
        .unwrap();
    assert!(again.is_good(), "{again:?}");
    (machine, device)
}

#[test]
fn the_disk_introduces_itself() {
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, pattern(1 << 20), 1);
        let requests = vec![
            Request::inquiry(0, BUFFERS, 36),
            Request::read_capacity(0, BUFFERS + 0x100),
        ];
        let report = machine.run(&Workload::new(requests, 2)).unwrap();
        assert!(report.is_good(), "{report:?}");
        let mut capacity = [0; 8];
        machine
            .ram()
            .read(u64::from(BUFFERS) + 0x100, &mut capacity)
            .unwrap();
        assert_eq!(capacity, [0, 0, 0x07, 0xff, 0, 0, 2, 0]);
    }
}

#[test]
fn a_sequential_read_arrives() {
    for kind in kinds() {
        for (depth, segment_shift) in [(1, 16), (4, 12), (16, 13)] {
            let disk = pattern(4 << 20);
            let (mut machine, _device) = machine(kind, disk.clone(), 1);
            // 64 KiB per request, into a ring of 8 buffers.
            let requests: Vec<_> = (0..64_u32)
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
                        ram.read(
                            u64::from(BUFFERS) + u64::from(index % 8) * 0x1_0000,
                            &mut buffer,
                        )
                        .unwrap();
                        arrived.extend(buffer);
                    }
                })
                .unwrap();
            assert!(report.is_good(), "{kind} {depth}: {report:?}");
            assert!(arrived == disk, "{kind} {depth}");
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, vec![0; 2 << 20], 1);
        let data = pattern(1 << 20);
        machine.ram().write(BUFFERS.into(), &data).unwrap();
        let writes = (0..32_u32)
            .map(|index| Request::write(0, 1024 + index * 64, 64, BUFFERS + index * 0x8000));
        let report = machine.run(&Workload::new(writes.collect(), 8)).unwrap();
        assert!(report.is_good(), "{report:?}");
        let report = machine
            .run(&Workload::new(vec![Request::synchronize_cache(0)], 1))
            .unwrap();
        assert!(report.is_good(), "{report:?}");
        let back = BUFFERS + 0x20_0000;
        let reads =
            (0..32_u32).map(|index| Request::read(0, 1024 + index * 64, 64, back + index * 0x8000));
        let report = machine.run(&Workload::new(reads.collect(), 8)).unwrap();
        assert!(report.is_good(), "{report:?}");
        let mut read = vec![0; data.len()];
        machine.ram().read(back.into(), &mut read).unwrap();
        assert!(read == data);
    }
}

#[test]
fn errors_are_the_targets_own() {
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, vec![0; 1 << 20], 1);
        let requests = vec![
            Request::read(0, 0, 1, BUFFERS),
            // Beyond the end: no data come, though there is room for them.
            Request::read(0, 5000, 1, BUFFERS),
            // Nobody there: the chip's timer decides.
            Request::test_unit_ready(3),
            Request::read(0, 1, 1, BUFFERS),
        ];
        let report = machine.run(&Workload::new(requests, 2)).unwrap();
        assert_eq!(report.failure, None);
        assert_eq!(report.statuses, [GOOD, CHECK_CONDITION, None, GOOD]);
        assert_eq!((report.completed, report.errors), (4, 2));
    }
}

#[test]
fn two_vcpus_share_the_chip() {
    for kind in kinds() {
        for second in [SecondVcpu::Submits, SecondVcpu::Polls] {
            let disk = pattern(1 << 20);
            let (mut machine, _device) = machine(kind, disk.clone(), 2);
            let requests: Vec<_> = (0..256_u32)
                .map(|index| Request::read(0, index * 8, 8, BUFFERS + index * 0x1000))
                .collect();
            let report = machine
                .run(&Workload::new(requests, 16).with_second(second))
                .unwrap();
            assert!(report.is_good(), "{kind} {second:?}: {report:?}");
            let mut read = vec![0; disk.len()];
            machine.ram().read(BUFFERS.into(), &mut read).unwrap();
            assert!(read == disk);
        }
    }
}

#[test]
fn the_steady_state_is_the_drivers_usual() {
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, pattern(1 << 20), 1);
        let requests = (0..100_u32)
            .map(|index| Request::read(0, index * 8, 8, BUFFERS))
            .collect();
        let report = machine.run(&Workload::new(requests, 1)).unwrap();
        assert!(report.is_good(), "{report:?}");
        let vcpu = &report.vcpus[0];
        // Per request at depth 1: the doorbell, the interrupt read, cleared and read again.
        assert_eq!(
            (vcpu.accesses.writes, vcpu.accesses.reads),
            (200, 200),
            "{report:?}"
        );
        assert_eq!(vcpu.interrupts, 100);
    }
}

#[test]
fn disconnected_tasks_come_back() {
    for kind in kinds() {
        for second in [SecondVcpu::None, SecondVcpu::Submits] {
            let disk = pattern(1 << 20);
            let memory = Backend::memory(disk.clone(), false);
            let (slow, _) = Backend::delay(memory, Hold::For(Duration::from_micros(200))).unwrap();
            let (mut machine, _device) = machine_on(kind, slow, 2);
            // In segments of a page, 64 tasks at a time.
            let requests: Vec<_> = (0..128_u32)
                .map(|index| Request::read(0, index * 16, 16, BUFFERS + index * 0x2000))
                .collect();
            let workload = Workload {
                segment_shift: 12,
                ..Workload::new(requests, 64).with_second(second)
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
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, vec![0; 1 << 20], 1);
        machine.ram().write(BUFFERS.into(), &[0xee; 0x200]).unwrap();
        // 8 bytes come, in segments of 4; then of 16, so that the move itself is cut short.
        let long = |address| {
            let capacity = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Request::data_in(0, &capacity, address, 64)
        };
        for (segment_shift, at) in [(2, BUFFERS), (4, BUFFERS + 0x100)] {
            let workload = Workload {
                segment_shift,
                ..Workload::new(vec![long(at), long(at + 0x80)], 1)
            };
            let report = machine.run(&workload).unwrap();
            assert!(report.is_good(), "{kind}: {report:?}");
            let mut data = [0; 0x10];
            for at in [at, at + 0x80] {
                machine.ram().read(at.into(), &mut data).unwrap();
                assert_eq!(
                    data[..9],
                    [0, 0, 0x07, 0xff, 0, 0, 2, 0, 0xee],
                    "{segment_shift}"
                );
            }
        }
    }
}

#[test]
fn a_target_with_more_data_stops_the_scripts() {
    for kind in kinds() {
        let (mut machine, _device) = machine(kind, vec![0; 1 << 20], 1);
        let report = machine
            .run(&Workload::new(
                vec![Request::data_in(
                    0,
                    &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0],
                    BUFFERS,
                    256,
                )],
                1,
            ))
            .unwrap();
        let Some(Failure::Chip(error)) = report.failure else {
            panic!("{:?}", report.failure)
        };
        assert_eq!(error.dsps, code::OVERRUN);
        // Reset by the next run, the chip works again.
        let report = machine
            .run(&Workload::new(vec![Request::test_unit_ready(0)], 1))
            .unwrap();
        assert_eq!(report.failure, None);
    }
}
