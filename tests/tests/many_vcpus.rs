//! As many vCPUs as a big guest has, on however few CPUs the host has.

use std::thread;

use outrigger_proxy::{ProxyOptions, Transport};
use outrigger_tests::front::{Attached, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::{REGISTERS, SCRIPTS_RAM};
use outrigger_vmm::guest::registers::{ISTAT0, istat0};

/// Each vCPU has a part of SCRIPTS RAM to itself and finds there what it has written; all look at ISTAT0, which one of them
/// signals.
#[test]
fn every_vcpu_finds_its_own_writes() {
    const VCPUS: u32 = 16;
    for transport in [Transport::Ring, Transport::Socket] {
        let place = Place::new();
        let image = place.image("disk.img", &pattern(64 << 10));
        let options = ProxyOptions {
            vcpus: VCPUS,
            ring_slots: 16,
            ..options(transport)
        };
        let mut device = Attached::spawn(&[image], options);
        device.set_up();
        let register = REGISTERS + u64::from(ISTAT0);
        let threads: Vec<_> = (0..u64::from(VCPUS))
            .zip(std::mem::take(&mut device.ports))
            .map(|(vcpu, mut port)| {
                thread::spawn(move || {
                    let mut random = Random::new(vcpu);
                    let mut model = [0; 0x100];
                    let base = SCRIPTS_RAM + 0x200 * vcpu;
                    for _ in 0..500 {
                        let at = random.below(0xfc);
                        let bytes = random.next().to_le_bytes();
                        let at = (at as usize, base + u64::from(at));
                        if bytes[0] & 3 == 0 {
                            let mut read = [0; 4];
                            assert!(port.mmio_read(at.1, &mut read));
                            assert_eq!(read, model[at.0..at.0 + 4], "vCPU {vcpu}");
                        } else {
                            assert!(port.mmio_write(at.1, &bytes[4..]));
                            model[at.0..at.0 + 4].copy_from_slice(&bytes[4..]);
                        }
                        if vcpu == 0 {
                            // Nobody else writes it, and no SCRIPTS take it.
                            let signal = bytes[1] & istat0::SIGP;
                            assert!(port.mmio_write(register, &[signal]));
                            let mut read = [0xff];
                            assert!(port.mmio_read(register, &mut read));
                            assert_eq!(read[0], signal);
                        } else {
                            let mut read = [0xff];
                            assert!(port.mmio_read(register, &mut read));
                            assert!([0, istat0::SIGP].contains(&read[0]), "{read:x?}");
                        }
                    }
                    port
                })
            })
            .collect();
        for thread in threads {
            assert!(!thread.join().unwrap().is_dead());
        }
    }
}
