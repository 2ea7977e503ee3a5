//! What happens to an image from outside while a guest uses it: it is resized, removed, cut short, or out of space.

#[path = "outside/space.rs"]
mod space;

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::Instant;

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, export};
use outrigger_tests::front::{Attached, Device, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{Machine, Request, RequestError, Sense, VcpuKind, Workload};
use rustix::process::Signal;

const GOOD: Option<u8> = Some(0);
const CHECK_CONDITION: Option<u8> = Some(2);
/// Where the data are: not where sense data and other answers go.
const DATA: u32 = BUFFERS + 0x1_0000;

/// An emulator, and a guest on its disks. The guest goes first.
struct Rig {
    machine: Machine,
    _device: Device,
    emulator: Emulator,
    place: Place,
    images: Vec<PathBuf>,
}

impl Rig {
    /// With a raw disk of each of these sizes, whose devices have these options more.
    fn new(sizes: &[u64], more: &str) -> Self {
        let place = Place::new();
        let images = (0..).zip(sizes).map(|(target, size)| {
            let path = place.path(&format!("disk{target}.img"));
            File::create(&path).unwrap().set_len(*size).unwrap();
            path
        });
        let images = images.collect();
        Self::with_images(place, images, "raw", more)
    }

    /// With disks of these images, all in this format.
    fn with_images(place: Place, images: Vec<PathBuf>, format: &str, more: &str) -> Self {
        let socket = place.path("lsi.sock");
        let mut arguments = vec!["--device".to_owned(), "lsi53c895a,id=lsi0".to_owned()];
        for (target, path) in images.iter().enumerate() {
            arguments.extend([
                "--blockdev".to_owned(),
                format!(
                    "driver={format},node-name=d{target},file.driver=file,file.filename={}",
                    path.display()
                ),
                "--device".to_owned(),
                format!("scsi-hd,scsi-id={target},drive=d{target}{more}"),
            ]);
        }
        arguments.extend(export("lsi0", &socket));
        let emulator = Emulator::start(&arguments, &[&socket]);
        let (machine, device) = attach(socket);
        Self {
            machine,
            _device: device,
            emulator,
            place,
            images,
        }
    }

    fn file(&self, target: usize) -> File {
        let mut open = OpenOptions::new();
        open.read(true).write(true);
        open.open(&self.images[target]).unwrap()
    }
}

fn attach(socket: PathBuf) -> (Machine, Device) {
    Attached::connect(Endpoint::Path(socket), options(Transport::Ring))
        .ready_machine(VcpuKind::Software)
}

fn status(machine: &mut Machine, request: Request) -> Option<u8> {
    let report = machine.run(&Workload::new(vec![request], 1)).unwrap();
    assert_eq!(report.failure, None, "{report:?}");
    report.statuses[0]
}

/// What the sense data of a request that fails say, and the block that they name.
fn sense(machine: &mut Machine, request: Request) -> (Sense, Option<u32>) {
    let report = machine.run(&Workload::new(vec![request], 1)).unwrap();
    match (report.failure, &report.failed[..]) {
        (None, [failed]) => match failed.error {
            RequestError::Check(sense) => (sense, failed.information),
            error => panic!("{error}"),
        },
        other => panic!("{other:?}"),
    }
}

fn blocks(machine: &mut Machine, target: u8) -> u32 {
    assert_eq!(
        status(machine, Request::read_capacity(target, BUFFERS)),
        GOOD
    );
    let mut last = [0; 4];
    machine.ram().read(BUFFERS.into(), &mut last).unwrap();
    u32::from_be_bytes(last) + 1
}

fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !come() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_resized_image_is_noticed_when_the_emulator_is_told() {
    let mut rig = Rig::new(&[1 << 20, 1 << 20], "");
    // That it has been powered on.
    let first = status(&mut rig.machine, Request::test_unit_ready(1));
    assert_eq!(first, CHECK_CONDITION);
    for (size, last) in [(2 << 20, 4095), (512 << 10, 1023)] {
        rig.file(1).set_len(size).unwrap();
        assert_eq!(
            status(&mut rig.machine, Request::test_unit_ready(1)),
            GOOD,
            "nobody has said so"
        );
        rig.emulator.signal(Signal::HUP);
        let machine = &mut rig.machine;
        wait_until("the unit attention", || {
            let report = machine.run(&Workload::new(vec![Request::test_unit_ready(1)], 1));
            let failed = report.unwrap().failed;
            let changed = RequestError::Check(Sense::new(6, 0x2a, 9));
            assert!(failed.iter().all(|failed| failed.error == changed));
            !failed.is_empty()
        });
        assert_eq!(status(machine, Request::test_unit_ready(1)), GOOD, "once");
        assert_eq!(blocks(machine, 1), last + 1);
        assert_eq!(status(machine, Request::write(1, last, 1, DATA)), GOOD);
        let beyond = Request::read(1, last + 1, 1, DATA);
        assert_eq!(sense(machine, beyond).0, Sense::new(5, 0x21, 0));
        // The other one is as it was.
        assert_eq!(status(machine, Request::test_unit_ready(0)), GOOD);
        assert_eq!(blocks(machine, 0), 2048);
    }
    let log = rig.emulator.log();
    assert_eq!(log.matches("the image's size has changed").count(), 2);
}

#[test]
fn a_removed_image_is_used_on() {
    let mut rig = Rig::new(&[1 << 20], "");
    let mut file = rig.file(0);
    std::fs::remove_file(&rig.images[0]).unwrap();
    rig.emulator.signal(Signal::HUP);
    let data = pattern(4096);
    rig.machine.ram().write(DATA.into(), &data).unwrap();
    let machine = &mut rig.machine;
    assert_eq!(status(machine, Request::write(0, 8, 8, DATA)), GOOD);
    assert_eq!(status(machine, Request::synchronize_cache(0)), GOOD);
    assert_eq!(status(machine, Request::read(0, 8, 8, DATA + 4096)), GOOD);
    let mut read = vec![0; 4096];
    machine
        .ram()
        .read(u64::from(DATA) + 4096, &mut read)
        .unwrap();
    assert!(read == data);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    assert!(bytes[4096..8192] == data);
}

#[test]
fn an_image_that_was_cut_short_fails_where_it_ends() {
    let mut rig = Rig::new(&[1 << 20], "");
    rig.file(0).set_len(1024 * 512).unwrap();
    let machine = &mut rig.machine;
    assert_eq!(status(machine, Request::read(0, 1016, 8, DATA)), GOOD);
    // The first two blocks of the request are there.
    let across = Request::read(0, 1022, 8, DATA);
    let unreadable = (Sense::new(3, 0x11, 0), Some(1024));
    assert_eq!(sense(machine, across), unreadable);
    // Writing makes it longer again.
    assert_eq!(status(machine, Request::write(0, 2040, 8, DATA)), GOOD);
    assert_eq!(status(machine, across), GOOD);
}
