//! ISTAT0 over a ring is answered from the register mirror, and DSTAT and SIST by snapshots that the worker publishes. A guest must not be able to tell: not by what it reads, not
//! by an interrupt that gets lost.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use outrigger_proxy::VcpuPort;
use outrigger_tests::PATIENCE;
use outrigger_tests::front::{Attached, Front};
use outrigger_tests::place::Place;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::{DATA, DSTAT_SIR, IO, REGISTERS, SCRIPT};
use outrigger_vmm::guest::assembler::{Assembler, Condition};
use outrigger_vmm::guest::registers::{CTEST2, DIEN, DSP, DSTAT, ISTAT0, SCRATCHA, istat0};

const ABRT: u8 = 0x80;
const SEM: u8 = 0x10;

fn attached(front: Front) -> (Attached, Place) {
    let place = Place::new();
    let image = place.image("disk.img", &pattern(64 << 10));
    let mut device = Attached::new(front, &[image]);
    device.set_up();
    (device, place)
}

/// One access to ISTAT0, or to what changes it, by either vCPU; what it gave.
fn step(device: &mut Attached, random: &mut Random) -> Option<u8> {
    let vcpu = usize::try_from(random.below(2)).unwrap();
    let image = REGISTERS + u64::from(0x100 * random.below(4) + u32::from(ISTAT0));
    let byte = random.next().to_le_bytes()[0];
    match random.below(16) {
        0..=5 => {
            let mut data = [0];
            assert!(device.ports[vcpu].mmio_read(image, &mut data));
            Some(data[0])
        }
        6..=10 => {
            let value = byte & (istat0::SIGP | SEM | istat0::INTF | 0x0b);
            assert!(device.ports[vcpu].mmio_write(image, &[value]));
            None
        }
        11 => {
            let bits = if byte & 7 == 0 {
                ABRT | istat0::SRST
            } else {
                0
            };
            assert!(device.ports[vcpu].mmio_write(image, &[byte & (bits | istat0::SIGP)]));
            None
        }
        12 => {
            let mut data = [0];
            assert!(device.ports[vcpu].pio_read(IO + u16::from(ISTAT0), &mut data));
            Some(data[0])
        }
        13 => {
            assert!(device.ports[vcpu].pio_write(IO + u16::from(ISTAT0), &[byte & SEM]));
            None
        }
        // Reading it clears SIGP.
        14 => Some(device.read_on::<1>(vcpu, CTEST2)[0]),
        _ => {
            device.write_on(vcpu, DIEN, &[byte & 0x7d]);
            Some(device.read_on::<1>(vcpu, DSTAT)[0])
        }
    }
}

#[test]
fn two_vcpus_in_turn_see_the_same_over_every_front() {
    for seed in 1..=3 {
        let [expected, others @ ..] = Front::ALL.map(|front| {
            let (mut device, _place) = attached(front);
            let mut random = Random::new(seed);
            (0..20_000)
                .map(|_| step(&mut device, &mut random))
                .collect::<Vec<_>>()
        });
        for (log, front) in others.iter().zip(&Front::ALL[1..]) {
            let differs = expected.iter().zip(log).position(|(a, b)| a != b);
            let at = differs.unwrap_or(0);
            let pair = (expected.get(at), log.get(at));
            assert_eq!(differs, None, "{front}, seed {seed}: {pair:x?}");
        }
    }
}

/// SCRIPTS count in memory and interrupt on the fly after each step, as fast as they can, while the driver clears INTF,
/// reads it back and looks at the count. What it has not seen in the end, INTF still announces.
#[test]
fn no_interrupt_on_the_fly_is_lost() {
    const STEPS: u32 = 64;
    let table = DATA + 0x100;
    for front in Front::ALL {
        let (mut device, _place) = attached(front);
        for step in 1..=STEPS {
            device.ram.store(table + 4 * step, step).unwrap();
        }
        for round in 0..200 {
            device.ram.store(DATA, 0).unwrap();
            device.write(ISTAT0, &[istat0::INTF]);
            device.start(|script| {
                for step in 1..=STEPS {
                    script.load(SCRATCHA, 4, table + 4 * step);
                    script.store(SCRATCHA, 4, DATA);
                    script.interrupt_on_the_fly(Condition::ALWAYS);
                }
                script.interrupt(1, Condition::ALWAYS);
            });
            let mut seen = 0;
            let last = loop {
                let status = device.byte(ISTAT0);
                if status & istat0::INTF == 0 {
                    if status & istat0::DIP != 0 {
                        break status;
                    }
                    continue;
                }
                device.write(ISTAT0, &[istat0::INTF]);
                let cleared = device.byte(ISTAT0);
                seen = device.ram.load(DATA).unwrap();
                if cleared & (istat0::INTF | istat0::DIP) == istat0::DIP {
                    break cleared;
                }
            };
            assert_eq!(seen, STEPS, "{front}, round {round}, ISTAT0 {last:#x}");
            assert_eq!(device.byte(DSTAT) & 0x7f, 0x04, "{front}");
        }
        if front == Front::Ring {
            // The read after the clear, in each round: the other vCPU is silent. The first may have to wait for DSP's write.
            let reads = device.ports[0].counters().mirror_reads;
            assert!(reads >= 200, "{reads} reads from the mirror");
        }
    }
}

/// Two vCPUs look for the same interrupt, round after round, as fast as they can. One of them finds the reason, and only one.
#[test]
fn each_condition_is_taken_once() {
    const ROUNDS: u32 = 1000;
    for front in Front::ALL {
        let (mut device, _place) = attached(front);
        let mut script = Assembler::new(SCRIPT);
        script.interrupt(1, Condition::ALWAYS);
        let program = script.finish().unwrap();
        device.ram.write(SCRIPT.into(), program.bytes()).unwrap();
        let found = AtomicU32::new(0);
        // Counted, as one thread that panics leaves the other at the barrier.
        let failures = AtomicU32::new(0);
        let turn = Barrier::new(2);
        let began = Instant::now();
        thread::scope(|scope| {
            for (vcpu, port) in (0..).zip(&mut device.ports) {
                let (found, failures, turn) = (&found, &failures, &turn);
                scope.spawn(move || {
                    let check = |good: bool| {
                        failures.fetch_add(u32::from(!good), Ordering::Relaxed);
                    };
                    let read = |port: &mut VcpuPort, register: u8| {
                        let mut data = [0];
                        check(port.mmio_read(REGISTERS + u64::from(register), &mut data));
                        data[0]
                    };
                    for round in 1..=ROUNDS {
                        turn.wait();
                        if round % 2 == vcpu {
                            let dsp = REGISTERS + u64::from(DSP);
                            check(port.mmio_write(dsp, &SCRIPT.to_le_bytes()));
                        }
                        while found.load(Ordering::Acquire) < round && began.elapsed() < PATIENCE {
                            if read(port, ISTAT0) & istat0::DIP != 0
                                && read(port, DSTAT) & DSTAT_SIR != 0
                            {
                                check(read(port, ISTAT0) & istat0::DIP == 0);
                                found.fetch_add(1, Ordering::AcqRel);
                            }
                        }
                        turn.wait();
                        // Both find the same here, and neither waits for the other then.
                        assert_eq!(found.load(Ordering::Acquire), round, "{front}");
                    }
                });
            }
        });
        assert_eq!(failures.into_inner(), 0, "{front}");
        if front == Front::Ring {
            let reads: u64 = device
                .ports
                .iter()
                .map(|it| it.counters().mirror_reads)
                .sum();
            assert!(reads > u64::from(ROUNDS), "{reads}");
        }
    }
}
