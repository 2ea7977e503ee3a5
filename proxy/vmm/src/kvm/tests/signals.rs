//! Many vCPUs whose accesses cross to another thread, and signals that interrupt them anywhere.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use outrigger_proxy::Width;

use super::assembly::Assembly;
use super::*;
use outrigger_fake_emulator::{FakeEmulator, Script};
use outrigger_proxy::{Endpoint, Proxy, ProxyOptions, Transport};

const CODE: u32 = 0x1000;
/// BAR 2: what vCPU n counts up is word n.
const BAR: u32 = 0xfe00_2000;
const VCPUS: u32 = 16;
const COUNT: u32 = 100;

/// Counts the vCPU's word up COUNT times by a read and a posted write, and reports the last value.
fn program() -> Vec<u8> {
    let mut code = Assembly::default();
    code.word(&[0x8d, 0x1c, 0x85], BAR) // lea ebx, [eax * 4 + BAR]
        .word(&[0xb9], COUNT); // mov ecx, COUNT
    let again = code.here();
    code.bytes(&[0x8b, 0x03]) // mov eax, [ebx]
        .bytes(&[0x40]) // inc eax
        .bytes(&[0x89, 0x03]) // mov [ebx], eax
        .bytes(&[0x49]) // dec ecx
        .back(0x75, again)
        .bytes(&[0x8b, 0x03]) // mov eax, [ebx]
        .report();
    code.0
}

/// Sixteen vCPUs on as many CPUs as there are, over rings: each crosses for its reads, and has its own writes in order. Meanwhile
/// signals hit them in the guest, between the two, and in the middle of a crossing.
#[test]
fn kicked_vcpus_lose_no_access() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    install_kick().unwrap();
    for transport in [Transport::Ring, Transport::Socket] {
        let (fake, socket) = FakeEmulator::start(Script {
            ring: Some(None),
            ..Script::default()
        });
        let options = ProxyOptions {
            vcpus: VCPUS,
            transport,
            ring_slots: 16,
            deadline: Duration::from_secs(60),
            ..ProxyOptions::default()
        };
        let (proxy, mut ports) = Proxy::connect(Endpoint::Socket(socket), options).unwrap();
        ports[0].config_write(0x18, Width::Dword, BAR.into());
        ports[0].config_write(0x04, Width::Word, 2);
        let ram = Ram::new(0x10_0000).unwrap();
        ram.write(CODE.into(), &program()).unwrap();
        let intx = Intx::new().unwrap();
        let vm = Arc::new(Vm::new(&ram, 5, &intx).unwrap());
        let threads: Vec<_> = ports
            .into_iter()
            .enumerate()
            .map(|(id, port)| {
                let mut vcpu = vm.vcpu(id, CODE, CODE).unwrap();
                let mut board = Board::new(port, Arc::<HostBridge>::default());
                thread::spawn(move || {
                    let end = vcpu.run(&mut board, &AtomicBool::new(false));
                    let exits = *board.exits();
                    let (port, ..) = board.into_parts();
                    (end, exits, port.is_dead())
                })
            })
            .collect();
        // Not for ever: more signals than instructions would be no progress.
        for _ in 0..5000 {
            threads.iter().for_each(kick);
            thread::yield_now();
        }
        for (id, thread) in threads.into_iter().enumerate() {
            let (end, exits, dead) = thread.join().unwrap();
            assert_eq!(end, End::Reported(COUNT), "vCPU {id}, {transport:?}");
            let accesses = (exits.memory_reads, exits.memory_writes);
            assert_eq!(accesses, (u64::from(COUNT) + 1, u64::from(COUNT)));
            assert!(!dead);
        }
        proxy.detach().unwrap();
        fake.seen();
    }
}
