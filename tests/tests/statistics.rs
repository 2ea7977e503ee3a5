//! What an emulator counts while a guest works is what the guest did.

use outrigger_device::statistics::Page;
use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::{Emulator, controller, export};
use outrigger_tests::front::{Attached, Device, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{Request, VcpuKind, Workload};

const REQUESTS: u32 = 400;

#[test]
fn a_guests_requests_are_counted_exactly() {
    for transport in [Transport::Ring, Transport::Socket] {
        let place = Place::new();
        let image = place.image("disk.img", &pattern(64 << 10));
        let (path, stats) = (place.path("lsi.sock"), place.path("lsi.stats"));
        let mut arguments = controller("lsi0", &[image]);
        arguments.extend(export("lsi0", &path));
        if let Some(export) = arguments.last_mut() {
            export.push_str(&format!(",stats={}", stats.display()));
        }
        let emulator = Emulator::start(&arguments, &[&path]);
        let attached = Attached::connect(Endpoint::Path(path), options(transport));
        let (mut machine, device) = attached.ready_machine(VcpuKind::Software);

        let before = Page::open(&stats).unwrap().read();
        let earlier = machine.counters();
        let read = |index| Request::read(0, index % 120, 8, BUFFERS + index % 16 * 4096);
        let requests = (0..REQUESTS).map(read).collect();
        let report = machine.run(&Workload::new(requests, 8)).unwrap();
        assert!(report.is_good(), "{report:?}");
        // Between two writings the worker takes what was posted last.
        Page::open(&stats).unwrap();
        let after = Page::open(&stats).unwrap().read();

        let added = |name| after.get(name) - before.get(name);
        assert_eq!(added("requests"), u64::from(REQUESTS));
        assert_eq!(added("bytes"), u64::from(REQUESTS) * 4096);
        assert!((1..=u64::from(REQUESTS)).contains(&added("interrupts")));
        assert!(added("interrupts_unmasked") <= added("interrupts") + 1);
        let crossings = machine.counters().crossings - earlier.crossings;
        assert_eq!(added("crossings"), crossings, "{transport:?}");
        assert_eq!(added("crossings_answered"), crossings);
        assert_eq!(added("posted_writes"), added("posted_writes_applied"));
        assert!(
            added("posted_writes") >= u64::from(REQUESTS),
            "{transport:?}"
        );
        assert_eq!(after.get("clients"), 1);

        drop(machine);
        let Device::Remote(proxy) = device else {
            unreachable!("a process of its own")
        };
        proxy.detach().unwrap();
        emulator.terminate();
    }
}
