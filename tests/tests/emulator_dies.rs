//! The emulator ends, is killed or hangs while a guest works: the VMM notices, nothing hangs, nothing acknowledged is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use outrigger_proxy::{Endpoint, Event, Intx, Proxy, ProxyOptions, Transport, VcpuPort, Width};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, command};
use outrigger_tests::front::{Attached, Device, options, readable, reads_all, vcpu_kinds};
use outrigger_tests::place::{Image, Place};
use outrigger_tests::process::wait_until;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::REGISTERS;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{Failure, Machine, OtherVcpus, Request, VcpuKind, Workload};
use rustix::process::{Pid, Signal, kill_process};

const BLOCKS: u32 = 2048;
const TRANSPORTS: [Transport; 2] = [Transport::Ring, Transport::Socket];

/// How far the guest gets before something happens to the emulator: random, and the same in every run.
fn moments(seed: u64, count: usize, end: u32) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(end)).collect()
}

/// More work than any of these tests lets the guest do: a write of its own bytes to each block in turn, so often.
fn endless() -> Workload {
    let requests = (0..60_000)
        .map(|index| {
            let block = index % BLOCKS;
            Request::write(0, block, 1, BUFFERS + block * 512)
        })
        .collect();
    Workload::new(requests, 8)
        .with_others(OtherVcpus::Poll)
        .with_window(64)
}

/// One event came, and says this; there is no other. Within the deadline, on a descriptor that can be waited for.
fn one_event(proxy: &mut Proxy, deadline: Duration, expected: impl Fn(&Event) -> bool) {
    assert!(readable(proxy.event_fd(), deadline), "nobody has noticed");
    let event = proxy.take_event().unwrap();
    assert!(expected(&event), "{event:?}");
    assert_eq!(proxy.take_event(), None);
    assert!(!readable(proxy.event_fd(), Duration::ZERO));
}

/// A device that is gone: all ones, writes dropped, and no waiting.
fn is_dead(ports: &mut [VcpuPort]) {
    for port in ports {
        assert!(port.is_dead());
        let before = port.counters();
        for _ in 0..100 {
            let mut word = [0; 4];
            assert!(port.mmio_read(REGISTERS, &mut word), "it still decodes");
            assert_eq!(word, [0xff; 4]);
            assert!(port.mmio_write(REGISTERS, &word));
            assert_eq!(port.config_read(0, Width::Dword), 0xffff_ffff);
        }
        let spent = port.counters().since(before);
        assert_eq!((spent.crossings, spent.posted_writes), (0, 0));
        assert!(spent.dead_accesses >= 200);
    }
}

/// Runs the endless workload and calls `happen` on another thread once the guest has come to its `moment`th request;
/// then, when `proxy` has noticed, interrupts the guest as a VMM does that has a device to report as gone. How
/// many requests had come to their end before.
fn run_until(machine: &mut Machine, intx: &Intx, moment: u32, happen: impl FnOnce() + Send) -> u32 {
    let (sender, receiver) = mpsc::channel();
    let over = &AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(move || {
            // When the sender goes, the run is over: too early, which the report will tell.
            if receiver.recv().is_err() {
                return;
            }
            happen();
            // The line is up, and stays up when the guest ends an interrupt: until the run is over.
            while !over.load(Ordering::Acquire) {
                intx.trigger().write(1).unwrap();
                if readable(intx.resample_fd(), Duration::from_millis(10)) {
                    intx.resample().read().unwrap();
                }
            }
        });
        let mut sender = Some(sender);
        let report = machine.run_observed(&endless(), &mut |_, done| {
            if done.end > moment
                && let Some(sender) = sender.take()
            {
                sender.send(()).unwrap();
            }
        });
        over.store(true, Ordering::Release);
        report
    });
    let report = report.unwrap();
    match report.failure {
        // All ones, wherever the driver looked last.
        Some(Failure::Chip(error)) => assert_eq!((error.sist0, error.sist1), (0xff, 0xff)),
        other => panic!("{other:?} after {} requests", report.completed),
    }
    assert!(report.elapsed < PATIENCE);
    report.completed
}

#[test]
fn a_killed_emulator_is_noticed_once() {
    for transport in TRANSPORTS {
        for kind in vcpu_kinds() {
            for moment in moments(1, 3, 1500) {
                let place = Place::new();
                let image = place.image("disk.img", &vec![0; 512 * BLOCKS as usize]);
                let options = ProxyOptions {
                    deadline: Duration::from_secs(5),
                    ..options(transport)
                };
                let attached = Attached::spawn(std::slice::from_ref(&image), options);
                let intx = attached.intx.try_clone().unwrap();
                let (mut machine, mut device) = attached.ready_machine(kind);
                let disk = pattern(512 * BLOCKS as usize);
                machine.ram().write(BUFFERS.into(), &disk).unwrap();
                let proxy = device.proxy();
                let completed = run_until(&mut machine, &intx, moment, || {
                    proxy.emulator().unwrap().kill().unwrap();
                    assert!(readable(proxy.event_fd(), options.deadline));
                });
                one_event(device.proxy(), options.deadline, |event| {
                    use std::os::unix::process::ExitStatusExt;
                    matches!(event, Event::Exited(Some(status)) if status.signal() == Some(9))
                });
                is_dead(&mut machine.into_device().ports);
                // What the guest has been told that it is written, is.
                let now = image.bytes();
                let acknowledged = 512 * completed.min(BLOCKS) as usize;
                // In the order in which they end, which at this depth is not quite the order of the blocks.
                let written = now.chunks(512).zip(disk.chunks(512));
                let kept = written.filter(|(now, then)| now == then).count();
                assert!(kept * 512 >= acknowledged, "{kept} blocks of {completed}");
            }
        }
    }
}

#[test]
fn accesses_race_with_the_kill() {
    for transport in TRANSPORTS {
        for moment in moments(2, 8, 20_000) {
            let mut attached = Attached::spawn(&[], options(transport));
            attached.set_up();
            let done = AtomicU64::new(0);
            let Attached { ports, device, .. } = &mut attached;
            let proxy = device.proxy();
            std::thread::scope(|scope| {
                for port in ports.iter_mut() {
                    let done = &done;
                    scope.spawn(move || {
                        while !port.is_dead() {
                            let mut word = [0; 4];
                            assert!(port.mmio_write(REGISTERS + 0x34, &word));
                            assert!(port.mmio_read(REGISTERS + 0x34, &mut word));
                            assert!(word == [0; 4] || word == [0xff; 4], "{word:x?}");
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                while done.load(Ordering::Relaxed) < u64::from(moment) {
                    std::thread::yield_now();
                }
                proxy.emulator().unwrap().kill().unwrap();
            });
            one_event(proxy, PATIENCE, |event| {
                matches!(event, Event::Exited(Some(_)))
            });
            is_dead(ports);
        }
    }
}

#[test]
fn a_terminated_emulator_ends_well_under_load() {
    for transport in TRANSPORTS {
        let place = Place::new();
        let image = place.image("disk.img", &vec![0; 512 * BLOCKS as usize]);
        let attached = Attached::spawn(&[image], options(transport));
        let intx = attached.intx.try_clone().unwrap();
        let (mut machine, mut device) = attached.ready_machine(VcpuKind::Software);
        let proxy = device.proxy();
        run_until(&mut machine, &intx, 300, || {
            let id = i32::try_from(proxy.emulator().unwrap().id()).unwrap();
            kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
            assert!(readable(proxy.event_fd(), PATIENCE));
        });
        one_event(
            device.proxy(),
            PATIENCE,
            |event| matches!(event, Event::Exited(Some(status)) if status.success()),
        );
    }
}

#[test]
fn a_stopped_emulator_is_dead_after_the_deadline() {
    for transport in TRANSPORTS {
        let options = ProxyOptions {
            deadline: Duration::from_secs(1),
            ..options(transport)
        };
        let place = Place::new();
        let (emulator, path) = Emulator::listening(&place, &[]);
        let mut attached = Attached::connect(Endpoint::Path(path.clone()), options);
        attached.set_up();
        assert_eq!(attached.byte(0), 0xc0);
        emulator.signal(Signal::STOP);
        // Each thread stops for itself.
        wait_until(emulator.id(), 'T');
        // Both vCPUs wait, and each only once.
        let start = Instant::now();
        std::thread::scope(|scope| {
            for port in &mut attached.ports {
                scope.spawn(|| {
                    let mut word = [0; 4];
                    for _ in 0..10 {
                        // More than a ring or a socket holds: posting must not wait for ever either.
                        for _ in 0..10_000 {
                            assert!(port.mmio_write(REGISTERS + 0x34, &word));
                        }
                        assert!(port.mmio_read(REGISTERS, &mut word));
                        assert_eq!(word, [0xff; 4]);
                    }
                });
            }
        });
        let waited = start.elapsed();
        assert!(waited < PATIENCE / 2, "{waited:?}");
        one_event(attached.device.proxy(), PATIENCE, |event| {
            *event == Event::TimedOut
        });
        is_dead(&mut attached.ports);

        // Who comes now is not served, and told so.
        let start = Instant::now();
        let refused = Proxy::connect(Endpoint::Path(path.clone()), options);
        assert!(refused.is_err());
        assert!(start.elapsed() < PATIENCE / 2);
        drop(attached);

        // When it goes on, it serves the next.
        emulator.signal(Signal::CONT);
        let mut attached = Attached::connect(Endpoint::Path(path), self::options(transport));
        attached.set_up();
        assert_eq!(attached.byte(0), 0xc0);
        drop(attached);
        emulator.terminate();
    }
}

#[test]
fn one_of_two_emulators_dies_alone() {
    let place = Place::new();
    let disks: Vec<(Vec<u8>, Image)> = (1..=2)
        .map(|seed| {
            let disk = Random::new(seed).bytes(1 << 20);
            let image = place.image(&format!("{seed}.img"), &disk);
            (disk, image)
        })
        .collect();
    let [first, second] = [0, 1].map(|at| {
        let image = std::slice::from_ref(&disks[at].1);
        Attached::spawn(image, options(TRANSPORTS[at])).ready_machine(VcpuKind::Software)
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (disk, over) = (&disks[1].0, &over);
        scope.spawn(move || {
            let (mut machine, _device) = second;
            // It works before, while and after the other one dies.
            let mut after = 0;
            while after < 2 {
                after += i32::from(over.load(Ordering::Acquire));
                reads_all(&mut machine, disk);
            }
        });
        let (mut machine, mut device) = first;
        let report = machine
            .run(&Workload::new(vec![Request::read(0, 0, 8, BUFFERS)], 1))
            .unwrap();
        assert!(report.is_good(), "{report:?}");
        let mut read = vec![0; 4096];
        machine.ram().read(BUFFERS.into(), &mut read).unwrap();
        assert!(read == disks[0].0[..4096]);
        device.proxy().emulator().unwrap().kill().unwrap();
        one_event(device.proxy(), PATIENCE, |event| {
            matches!(event, Event::Exited(Some(_)))
        });
        over.store(true, Ordering::Release);
        is_dead(&mut machine.into_device().ports);
    });
}

#[test]
fn a_restarted_emulator_is_attached_anew() {
    let place = Place::new();
    let image = place.image("disk.img", &vec![0; 1 << 20]);
    for round in 1..=3_u8 {
        let attached = Attached::spawn(std::slice::from_ref(&image), options(Transport::Ring));
        let (mut machine, mut device) = attached.ready_machine(VcpuKind::Software);
        // What the last one was told to write is there.
        let read = Workload::new(vec![Request::read(0, 8, 8, BUFFERS)], 1);
        assert!(machine.run(&read).unwrap().is_good());
        let mut bytes = [0; 4096];
        machine.ram().read(BUFFERS.into(), &mut bytes).unwrap();
        assert_eq!(bytes, [round - 1; 4096]);
        machine.ram().write(BUFFERS.into(), &[round; 4096]).unwrap();
        let write = Workload::new(vec![Request::write(0, 8, 8, BUFFERS)], 1);
        assert!(machine.run(&write).unwrap().is_good());
        device.proxy().emulator().unwrap().kill().unwrap();
        let Device::Remote(proxy) = device else {
            unreachable!("a process of its own")
        };
        // An end that the VMM has seen coming, or not.
        drop(proxy);
    }
}

#[test]
fn an_emulator_that_cannot_start_is_an_error() {
    let place = Place::new();
    let missing = Image {
        path: place.path("none.img"),
        read_only: false,
    };
    let error = Proxy::spawn(command(&[missing]), options(Transport::Ring)).unwrap_err();
    assert!(!error.to_string().is_empty());
}
