//! Many attachments leave nothing behind, in either process. One test, as it counts what is this whole process's.

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::Emulator;
use outrigger_tests::front::{Attached, Device, options, vcpu_kinds};
use outrigger_tests::place::Place;
use outrigger_tests::process::{descriptors, mappings, status, threads};
use outrigger_tests::random::pattern;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{Request, VcpuKind, Workload};

const ROUNDS: usize = 60;
/// Rounds in which allocators and lazily made things settle.
const WARM_UP: usize = 6;

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    /// Mappings of files and memfds; those of the allocators come and go.
    shared: usize,
    threads: usize,
}

fn holdings(id: u32) -> Holdings {
    let shared = |name: &String| name.starts_with('/') || name.contains("io_uring");
    Holdings {
        descriptors: descriptors(id).len(),
        shared: mappings(id).into_iter().filter(shared).count(),
        threads: threads(id),
    }
}

fn memory(id: u32) -> u64 {
    let kilobytes = status(id, "RssAnon");
    kilobytes.trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn attachments_leave_nothing_behind() {
    let place = Place::new();
    let image = place.image("disk.img", &pattern(1 << 20));
    let (emulator, path) = Emulator::listening(&place, &[image]);
    let own = std::process::id();
    let mut first = None;
    let mut memory_at_first = (0, 0);
    for round in 0..ROUNDS + WARM_UP {
        let transport = [Transport::Ring, Transport::Socket][round % 2];
        let kinds = vcpu_kinds();
        let kind = if round % 4 < 2 {
            VcpuKind::Software
        } else {
            kinds[kinds.len() - 1]
        };
        let attached = Attached::connect(Endpoint::Path(path.clone()), options(transport));
        let (mut machine, device) = attached.ready_machine(kind);
        let requests = (0..16).map(|index| Request::read(0, index * 8, 8, BUFFERS + index * 4096));
        let report = machine.run(&Workload::new(requests.collect(), 4)).unwrap();
        assert!(report.is_good(), "{report:?}");
        drop(machine);
        let Device::Remote(proxy) = device else {
            unreachable!("a process of its own")
        };
        // With a detach, with a mere hang-up.
        if round % 3 == 0 {
            drop(proxy);
        } else {
            proxy.detach().unwrap();
        }

        // A client that does nothing more than to be answered: then the one before is all gone.
        let attached = Attached::connect(Endpoint::Path(path.clone()), options(Transport::Socket));
        let now = (holdings(emulator.id()), holdings(own));
        drop(attached);
        if round == WARM_UP {
            memory_at_first = (memory(emulator.id()), memory(own));
            first = Some(now);
        } else if let Some(first) = &first {
            assert_eq!(*first, now, "round {round}");
        }
    }
    // Allocators round up; what each attachment left behind would be more than this.
    let now = (memory(emulator.id()), memory(own));
    let slack = 16 * ROUNDS as u64;
    assert!(
        now.0 <= memory_at_first.0 + slack,
        "emulator: {memory_at_first:?}, {now:?} kB"
    );
    assert!(
        now.1 <= memory_at_first.1 + slack,
        "VMM: {memory_at_first:?}, {now:?} kB"
    );
    emulator.terminate();
}
