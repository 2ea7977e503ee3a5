//! The machine and both kinds of vCPU against a chip that completes requests by itself.

use std::time::Duration;

use super::*;
use crate::guest::layout::BUFFERS;
use crate::guest::registers::{CCNTL0, SCID};
use crate::guest::scripts::Scripts;
use crate::{ChipError, Failure, OtherVcpus, Request, VcpuKind};

mod failed;
mod fake;

use fake::{BROKEN_TARGET, EMPTY_TARGET, FakeChip, SILENT_TARGET};

const RAM: u64 = 0x200_0000;

/// The kinds of vCPU that can run here.
fn kinds() -> Vec<VcpuKind> {
    let Some(reason) = crate::kvm::kvm_unavailable() else {
        return vec![VcpuKind::Software, VcpuKind::Kvm];
    };
    outrigger_skip::skipped(reason);
    vec![VcpuKind::Software]
}

fn config(kind: VcpuKind, limit: Duration) -> MachineConfig {
    MachineConfig {
        time_limit: limit,
        ..MachineConfig::new(kind)
    }
}

const LONG: Duration = Duration::from_secs(60);

/// Runs `workload` on a new machine with a fake chip.
fn run(kind: VcpuKind, workload: &Workload) -> (Report, std::sync::Arc<FakeChip>) {
    let ram = Ram::new(RAM).unwrap();
    let chip = FakeChip::new(&ram);
    let (device, thread) = chip.attach(workload.vcpus());
    let mut machine = Machine::new(config(kind, LONG), ram, device);
    let report = machine.run(workload).unwrap();
    assert_eq!(machine.into_device().ports.len(), workload.vcpus());
    chip.finish(thread);
    (report, chip)
}

/// The fake answers with the operation code as status.
fn request(status: u8) -> Request {
    Request::without_data(0, &[status, 0, 0, 0, 0, 0])
}

#[test]
fn the_driver_sets_the_chip_up() {
    for kind in kinds() {
        let (report, chip) = run(kind, &Workload::new(vec![request(0)], 1));
        assert!(report.is_good(), "{report:?}");
        let log = chip.log();
        assert_eq!(
            log[..5],
            [
                "config 0x10 4 = 0xc000",
                "config 0x14 4 = 0xfe000000",
                "config 0x18 4 = 0xfe002000",
                "config 0x3c 1 = 0x5",
                "config 0x04 2 = 0x7",
            ]
        );
        assert_eq!(log[5..7], ["0: 0x14 = [40]", "0: 0x14 = [00]"]);
        assert_eq!((chip.register(SCID), chip.register(CCNTL0)), (0x47, 0x80));
        let scripts = Scripts::assemble(0xfe00_2000).unwrap();
        assert_eq!(chip.scripts()[..scripts.image.len()], scripts.image);
        let start = log
            .iter()
            .position(|line| line.starts_with("0: 0x2c"))
            .unwrap();
        assert_eq!(
            log[start],
            format!("0: 0x2c = {:02x?}", scripts.entry.to_le_bytes())
        );
        // The doorbell, and the interrupt cleared.
        assert_eq!(log[start + 1..], ["0: 0x14 = [20]", "0: 0x14 = [04]"]);
        let vcpu = &report.vcpus[0];
        assert_eq!(
            (vcpu.accesses.reads, vcpu.accesses.writes, vcpu.interrupts),
            (2, 2, 1)
        );
        assert_eq!(vcpu.read_latency.count(), 2);
        assert_eq!(
            (
                vcpu.setup_accesses.config_reads,
                vcpu.setup_accesses.config_writes
            ),
            (1, 5)
        );
        if kind == VcpuKind::Kvm {
            // One more: the report.
            assert_eq!(
                (
                    vcpu.exits.memory_reads,
                    vcpu.exits.memory_writes,
                    vcpu.exits.port_writes
                ),
                (2, 2, 1)
            );
        }
    }
}

#[test]
fn statuses_come_back_in_place() {
    for kind in kinds() {
        let statuses: Vec<u8> = (0..300_u32)
            .map(|index| if index % 7 == 3 { 0x02 } else { 0 })
            .collect();
        let requests = statuses.iter().map(|&status| request(status)).collect();
        let (report, _) = run(kind, &Workload::new(requests, 7));
        assert_eq!(report.failure, None);
        assert_eq!(report.completed, 300);
        assert_eq!(report.errors, 43);
        assert_eq!(
            report.statuses,
            statuses.into_iter().map(Some).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_interrupt_that_the_last_run_left_does_not_stop_the_next() {
    for kind in kinds() {
        let ram = Ram::new(RAM).unwrap();
        let chip = FakeChip::new(&ram);
        let (device, thread) = chip.attach(1);
        let mut machine = Machine::new(config(kind, LONG), ram, device);
        chip.forget_an_interrupt();
        for _ in 0..2 {
            let report = machine.run(&Workload::new(vec![request(0)], 1)).unwrap();
            assert!(report.is_good(), "{kind}: {report:?}");
            chip.rewind();
            chip.forget_an_interrupt();
        }
        chip.finish(thread);
    }
}

#[test]
fn an_interrupt_that_comes_as_the_run_begins_does_not_stop_it() {
    for kind in kinds() {
        let ram = Ram::new(RAM).unwrap();
        let chip = FakeChip::new(&ram);
        let (device, thread) = chip.attach(1);
        let mut machine = Machine::new(config(kind, LONG), ram, device);
        chip.interrupt_as_a_run_begins();
        let report = machine.run(&Workload::new(vec![request(0)], 1)).unwrap();
        assert!(report.is_good(), "{kind}: {report:?}");
        chip.finish(thread);
    }
}

#[test]
fn the_second_vcpu_submits_and_the_first_completes() {
    for kind in kinds() {
        let workload = Workload::new(vec![request(0); 200], 5).with_others(OtherVcpus::Submit(1));
        let (report, chip) = run(kind, &workload);
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.completed, 200);
        let kicks = |vcpu| {
            chip.log()
                .iter()
                .filter(|line| **line == format!("{vcpu}: 0x14 = [20]"))
                .count()
        };
        assert_eq!((kicks(0), kicks(1)), (0, 200));
        assert!(report.vcpus[0].interrupts > 0);
        assert_eq!(report.vcpus[1].accesses.writes, 200);
    }
}

#[test]
fn several_vcpus_submit_in_turn() {
    for kind in kinds() {
        let workload = Workload::new(vec![request(0); 100], 5).with_others(OtherVcpus::Submit(2));
        let (report, chip) = run(kind, &workload);
        assert!(report.is_good(), "{report:?}");
        assert_eq!((report.completed, report.vcpus.len()), (100, 3));
        let kicks = chip.log();
        let kicks = kicks.iter().filter(|line| line.ends_with("0x14 = [20]"));
        assert_eq!(kicks.count(), 100);
    }
}

#[test]
fn the_second_vcpu_polls() {
    for kind in kinds() {
        let workload = Workload::new(vec![request(0); 50], 1).with_others(OtherVcpus::Poll);
        let (report, _) = run(kind, &workload);
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.vcpus[1].accesses.reads, u64::from(report.polls));
    }
}

#[test]
fn nobody_at_the_address() {
    for kind in kinds() {
        let empty = Request::test_unit_ready(EMPTY_TARGET);
        let (report, _) = run(
            kind,
            &Workload::new(vec![request(0), empty, request(2), empty, request(0)], 2),
        );
        assert_eq!(report.failure, None);
        assert_eq!(report.statuses, [Some(0), None, Some(2), None, Some(0)]);
        assert_eq!(report.errors, 3);
    }
}

#[test]
fn a_chip_that_stops_is_reported() {
    for kind in kinds() {
        for second in [OtherVcpus::None, OtherVcpus::Submit(1), OtherVcpus::Poll] {
            let requests = vec![request(0), Request::test_unit_ready(BROKEN_TARGET)];
            let (report, _) = run(kind, &Workload::new(requests, 1).with_others(second));
            let Some(Failure::Chip(ChipError {
                istat0,
                dstat,
                sist0: 0,
                sist1: 0,
                ..
            })) = report.failure
            else {
                panic!("{kind} {second:?}: {:?}", report.failure)
            };
            assert_eq!((istat0 & 1, dstat), (1, 0x81));
            assert_eq!(report.completed, 1);
        }
    }
}

#[test]
fn another_device_is_not_driven() {
    for kind in kinds() {
        let ram = Ram::new(RAM).unwrap();
        let chip = FakeChip::new(&ram);
        let (device, thread) = chip.attach(1);
        let config = MachineConfig {
            device_id: 0x1234_5678,
            ..config(kind, LONG)
        };
        let report = Machine::new(config, ram, device)
            .run(&Workload::new(vec![request(0)], 1))
            .unwrap();
        assert_eq!(report.failure, Some(Failure::NoDevice));
        assert!(chip.log().is_empty());
        chip.finish(thread);
    }
}

#[test]
fn a_run_that_does_not_end_is_stopped() {
    for kind in kinds() {
        for second in [OtherVcpus::None, OtherVcpus::Submit(1), OtherVcpus::Poll] {
            let ram = Ram::new(RAM).unwrap();
            let chip = FakeChip::new(&ram);
            let (device, thread) = chip.attach(2);
            let workload =
                Workload::new(vec![Request::test_unit_ready(SILENT_TARGET)], 1).with_others(second);
            let mut machine = Machine::new(config(kind, Duration::from_millis(100)), ram, device);
            let report = machine.run(&workload).unwrap();
            assert_eq!(report.failure, Some(Failure::TimedOut));
            assert_eq!(report.statuses, [None]);
            // The machine can be used again.
            machine.config.time_limit = LONG;
            chip.finish(thread);
            assert_eq!(machine.into_device().ports.len(), 2);
        }
    }
}

#[test]
fn a_run_can_be_stopped() {
    for kind in kinds() {
        let ram = Ram::new(RAM).unwrap();
        let chip = FakeChip::new(&ram);
        let (device, thread) = chip.attach(1);
        let mut machine = Machine::new(config(kind, LONG), ram, device);
        let stop = machine.stop_handle();
        let requests = vec![request(0), Request::test_unit_ready(SILENT_TARGET)];
        let report = machine
            .run_observed(&Workload::new(requests, 1), &mut |_, _| stop.stop())
            .unwrap();
        assert_eq!(report.failure, Some(Failure::Stopped));
        assert_eq!(report.completed, 1);
        chip.finish(thread);
    }
}

#[test]
fn a_spinning_guest_is_stopped() {
    if !kinds().contains(&VcpuKind::Kvm) {
        return;
    }
    let ram = Ram::new(RAM).unwrap();
    let chip = FakeChip::new(&ram);
    let (device, thread) = chip.attach(2);
    let workload = Workload::new(vec![request(0)], 1).with_others(OtherVcpus::Poll);
    let mut machine = Machine::new(
        config(VcpuKind::Kvm, Duration::from_millis(100)),
        ram,
        device,
    );
    let report = machine
        .run_program(&GuestProgram::spin(), &workload, &mut |_, _| ())
        .unwrap();
    assert_eq!(report.failure, Some(Failure::TimedOut));
    assert_eq!(report.vcpus.len(), 2);
    chip.finish(thread);
}

#[test]
fn a_window_holds_the_guest_back() {
    for kind in kinds() {
        let ram = Ram::new(RAM).unwrap();
        let chip = FakeChip::new(&ram);
        let (device, thread) = chip.attach(1);
        let mut machine = Machine::new(config(kind, LONG), ram, device);
        let workload = Workload::new(vec![request(0); 60], 4).with_window(10);
        let mut seen = Vec::new();
        let report = machine
            .run_observed(&workload, &mut |ram, done| {
                let submitted = ram
                    .load(crate::guest::layout::CONTROL + crate::guest::layout::control::SUBMITTED);
                assert!(submitted.unwrap() <= done.start + 10);
                seen.extend(done);
            })
            .unwrap();
        assert!(report.is_good(), "{report:?}");
        assert_eq!(seen, (0..60).collect::<Vec<_>>());
        chip.finish(thread);
    }
}

#[test]
fn impossible_workloads_are_refused() {
    let ram = Ram::new(RAM).unwrap();
    let chip = FakeChip::new(&ram);
    let (device, thread) = chip.attach(1);
    let mut machine = Machine::new(config(VcpuKind::Software, LONG), ram, device);
    let at_end = u32::try_from(RAM).unwrap() - 512;
    for workload in [
        Workload::new(Vec::new(), 1),
        Workload::new(vec![request(0)], 0),
        Workload::new(vec![request(0)], 65),
        Workload::new(vec![request(0)], 1).with_others(OtherVcpus::Poll),
        Workload::new(vec![Request::read(0, 0, 2, at_end)], 1),
        Workload::new(vec![Request::read(0, 0, 2, BUFFERS - 512)], 1),
        Workload {
            segment_shift: 9,
            ..Workload::new(vec![Request::read(0, 0, 17, BUFFERS)], 1)
        },
        Workload {
            segment_shift: 1,
            ..Workload::new(vec![request(0)], 1)
        },
    ] {
        assert!(
            matches!(machine.run(&workload), Err(VmmError::Workload(_))),
            "{workload:?}"
        );
    }
    chip.finish(thread);
}
