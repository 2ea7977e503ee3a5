use std::sync::{Arc, Mutex};

use super::*;
use crate::device::{Bar, Identity};

/// What the probe device was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Read(u8, u64, Width),
    Write(u8, u64, Width, u64),
    Moved(u8, Option<u64>),
    Quiesce,
    Reset,
}

#[derive(Debug)]
struct Probe {
    told: Arc<Mutex<Vec<Told>>>,
    interrupt: Arc<Mutex<bool>>,
}

const BARS: [Bar; 2] = [
    Bar {
        index: 0,
        kind: BarKind::Io,
        size: 0x100,
    },
    Bar {
        index: 2,
        kind: BarKind::Memory,
        size: 0x2000,
    },
];

impl Probe {
    fn tell(&self, what: Told) {
        self.told.lock().unwrap().push(what);
    }
}

impl Device for Probe {
    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1000,
            device: 1,
            revision: 0,
            class: 0x01_00_00,
            subsystem_vendor: 0,
            subsystem: 0x1000,
            interrupt_pin: 1,
            latency_timer: 0xff,
            min_gnt: 0,
            max_lat: 0,
        }
    }

    fn bars(&self) -> &[Bar] {
        &BARS
    }

    fn read(&mut self, _: &mut Context<'_>, bar: u8, offset: u64, width: Width) -> u64 {
        self.tell(Told::Read(bar, offset, width));
        0x1122_3344_5566_7788
    }

    fn write(&mut self, _: &mut Context<'_>, bar: u8, offset: u64, width: Width, value: u64) {
        self.tell(Told::Write(bar, offset, width, value));
    }

    fn bar_moved(&mut self, bar: u8, base: Option<u64>) {
        self.tell(Told::Moved(bar, base));
    }

    fn run(&mut self, _: &mut Context<'_>, _: &mut dyn Mirror) -> Progress {
        Progress::Idle
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn interrupt(&self) -> bool {
        *self.interrupt.lock().unwrap()
    }

    fn reset(&mut self, _: &mut Context<'_>) {
        self.tell(Told::Reset);
    }

    fn quiesce(&mut self, _: &mut Context<'_>) {
        self.tell(Told::Quiesce);
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

struct Bench {
    function: Function,
    told: Arc<Mutex<Vec<Told>>>,
    interrupt: Arc<Mutex<bool>>,
}

impl Bench {
    fn new() -> Self {
        let (told, interrupt) = (Arc::default(), Arc::default());
        let device = Probe {
            told: Arc::clone(&told),
            interrupt: Arc::clone(&interrupt),
        };
        Self {
            function: Function::new(Box::new(device)),
            told,
            interrupt,
        }
    }

    fn config(&mut self, offset: u64, width: Width, value: u64) {
        self.function.write(
            Access {
                region: CONFIG_REGION,
                offset,
                width,
            },
            value,
        );
    }

    fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[test]
fn regions_are_the_bars_and_config_space() {
    let Bench { function, .. } = Bench::new();
    let sizes: Vec<_> = (0..=9)
        .map(|index| function.region(index))
        .map(|region| (region.size, region.io))
        .collect();
    let none = (0, false);
    assert_eq!(
        sizes,
        [
            (0x100, true),
            none,
            (0x2000, false),
            none,
            none,
            none,
            none,
            (0x100, false),
            none,
            none
        ]
    );
}

#[test]
fn bar_accesses_are_checked_and_served_whatever_command_says() {
    let mut bench = Bench::new();
    let access = |region, offset, width| Access {
        region,
        offset,
        width,
    };
    assert_eq!(bench.function.read(access(2, 0x1ffe, Width::Word)), 0x7788);
    bench
        .function
        .write(access(0, 0xfc, Width::Dword), 0xffff_ffff_1234_5678);
    assert_eq!(
        bench.told(),
        [
            Told::Read(2, 0x1ffe, Width::Word),
            Told::Write(0, 0xfc, Width::Dword, 0x1234_5678)
        ]
    );
    for outside in [
        access(2, 0x1fff, Width::Word),
        access(2, 0x2000, Width::Byte),
        access(0, u64::MAX, Width::Qword),
        access(1, 0, Width::Byte),
        access(6, 0, Width::Dword),
        access(8, 0, Width::Byte),
        access(255, 0, Width::Byte),
        access(CONFIG_REGION, 0xfd, Width::Dword),
    ] {
        assert_eq!(
            bench.function.read(outside),
            outside.width.mask(),
            "{outside:?}"
        );
        bench.function.write(outside, 0);
    }
    assert_eq!(bench.told(), []);
}

#[test]
fn the_device_hears_of_each_move_once() {
    let mut bench = Bench::new();
    bench.config(0x18, Width::Dword, 0xfeb0_0000);
    bench.config(0x10, Width::Dword, 0xc000);
    assert_eq!(bench.told(), [], "nothing decodes yet");
    bench.config(4, Width::Word, 3);
    assert_eq!(
        bench.told(),
        [
            Told::Moved(0, Some(0xc000)),
            Told::Moved(2, Some(0xfeb0_0000))
        ]
    );
    bench.config(4, Width::Word, 3);
    assert_eq!(bench.told(), []);
    bench.config(0x18, Width::Dword, 0xffff_ffff);
    bench.config(0x18, Width::Dword, 0xfea0_0000);
    assert_eq!(
        bench.told(),
        [Told::Moved(2, None), Told::Moved(2, Some(0xfea0_0000))]
    );
    bench.config(4, Width::Word, 1);
    assert_eq!(bench.told(), [Told::Moved(2, None)]);
    bench.function.reset();
    assert_eq!(bench.told(), [Told::Reset, Told::Moved(0, None)]);
}

#[test]
fn clearing_bus_master_waits_for_dma() {
    let mut bench = Bench::new();
    bench.config(4, Width::Word, 4);
    bench.config(0x3c, Width::Byte, 4);
    assert_eq!(bench.told(), []);
    bench.config(4, Width::Word, 0);
    bench.config(4, Width::Word, 0);
    assert_eq!(bench.told(), [Told::Quiesce]);
}

#[test]
fn unmapping_waits_for_dma() {
    let mut bench = Bench::new();
    bench.function.unmap(0, 0x1000).unwrap_err();
    bench.function.map_unreachable(0, 0x1000).unwrap();
    bench.function.unmap(0, 0x1000).unwrap();
    assert_eq!(bench.told(), [], "there is no memory that DMA could reach");
    let ram = crate::dma::fixture::mapping(0, 0x1000);
    bench.function.map(ram).unwrap();
    bench.function.unmap(0, 0x1000).unwrap();
    bench.function.unmap_all();
    assert_eq!(bench.told(), [Told::Quiesce, Told::Quiesce]);
}

#[test]
fn intx_disable_masks_the_line_but_not_the_status() {
    let mut bench = Bench::new();
    let status = Access {
        region: CONFIG_REGION,
        offset: 6,
        width: Width::Word,
    };
    assert!(!bench.function.interrupt());
    *bench.interrupt.lock().unwrap() = true;
    assert!(bench.function.interrupt());
    bench.config(4, Width::Word, 1 << 10);
    assert!(!bench.function.interrupt());
    assert_eq!(bench.function.read(status), 0x0208);
    bench.function.reset();
    assert!(
        bench.function.interrupt(),
        "the probe's reset leaves its line"
    );
}
