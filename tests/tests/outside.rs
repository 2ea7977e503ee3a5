//! What happens to an image from outside while a guest uses it: it is resized, removed, cut short, or out of space.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use outrigger_proxy::vmm::guest::layout::BUFFERS;
use outrigger_proxy::vmm::{Machine, Request, VcpuKind, Workload};
use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, binary, export};
use outrigger_tests::front::{Attached, Device, options};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

const GOOD: Option<u8> = Some(0);
const CHECK_CONDITION: Option<u8> = Some(2);
/// Where the data are: not where sense data and other answers go.
const DATA: u32 = BUFFERS + 0x1_0000;
/// What the log says when it begins, and when it is over.
const HELD: &str = "requests are held back";
const OVER: &str = "requests succeed again";

/// An emulator, and a guest on its disks. The guest goes first.
struct Rig {
    machine: Machine,
    _device: Device,
    emulator: Emulator,
    _place: Place,
    images: Vec<PathBuf>,
}

impl Rig {
    /// With a raw disk of each of these sizes, whose devices have these options more.
    fn new(sizes: &[u64], more: &str) -> Self {
        let place = Place::new();
        let socket = place.path("lsi.sock");
        let mut arguments = vec!["--device".to_owned(), "lsi53c895a,id=lsi0".to_owned()];
        let mut images = Vec::new();
        for (target, size) in sizes.iter().enumerate() {
            let path = place.path(&format!("disk{target}.img"));
            File::create(&path).unwrap().set_len(*size).unwrap();
            arguments.extend([
                "--blockdev".to_owned(),
                format!(
                    "driver=file,node-name=d{target},filename={}",
                    path.display()
                ),
                "--device".to_owned(),
                format!("scsi-hd,scsi-id={target},drive=d{target}{more}"),
            ]);
            images.push(path);
        }
        arguments.extend(export("lsi0", &socket));
        let emulator = Emulator::start(&arguments, &[&socket]);
        let (machine, device) = attach(socket);
        Self {
            machine,
            _device: device,
            emulator,
            _place: place,
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

/// The first 14 bytes of the sense data.
fn sense(machine: &mut Machine, target: u8) -> [u8; 14] {
    assert_eq!(
        status(machine, Request::request_sense(target, BUFFERS)),
        GOOD
    );
    let mut sense = [0; 14];
    machine.ram().read(BUFFERS.into(), &mut sense).unwrap();
    sense
}

fn key_and_code(sense: [u8; 14]) -> (u8, u8, u8) {
    (sense[2] & 0xf, sense[12], sense[13])
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
            status(machine, Request::test_unit_ready(1)) == CHECK_CONDITION
        });
        assert_eq!(key_and_code(sense(machine, 1)), (6, 0x2a, 9));
        assert_eq!(status(machine, Request::test_unit_ready(1)), GOOD, "once");
        assert_eq!(blocks(machine, 1), last + 1);
        assert_eq!(status(machine, Request::write(1, last, 1, DATA)), GOOD);
        let beyond = Request::read(1, last + 1, 1, DATA);
        assert_eq!(status(machine, beyond), CHECK_CONDITION);
        assert_eq!(key_and_code(sense(machine, 1)), (5, 0x21, 0));
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
    assert_eq!(status(machine, across), CHECK_CONDITION);
    let expected = [0xf0, 0, 3, 0, 0, 4, 0, 10, 0, 0, 0, 0, 0x11, 0];
    assert_eq!(sense(machine, 0), expected);
    // Writing makes it longer again.
    assert_eq!(status(machine, Request::write(0, 2040, 8, DATA)), GOOD);
    assert_eq!(status(machine, across), GOOD);
}

/// Limits how large a file the process may make, or no longer does.
fn limit_files(emulator: &Emulator, bytes: Option<u64>) {
    let pid = Pid::from_raw(emulator.id().try_into().unwrap());
    let limit = Rlimit {
        current: bytes,
        // What only a privileged process could raise again stays.
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn writes_wait_for_space_if_they_may() {
    for (more, waits) in [
        ("", true),
        (",werror=stop", true),
        (",werror=report", false),
    ] {
        let mut rig = Rig::new(&[1 << 20], more);
        let data = pattern(1 << 20);
        rig.machine.ram().write(DATA.into(), &data).unwrap();
        let writes = (0..256).map(|index| Request::write(0, index * 8, 8, DATA + index * 4096));
        // This guest does not fetch sense data: of several tasks with CHECK CONDITION the second would wait for that.
        let workload = Workload::new(writes.collect(), if waits { 8 } else { 1 });
        // Half of them fit.
        limit_files(&rig.emulator, Some(512 << 10));
        let (emulator, machine) = (&rig.emulator, &mut rig.machine);
        let report = std::thread::scope(|scope| {
            scope.spawn(|| {
                if waits {
                    wait_until(HELD, || emulator.log().contains(HELD));
                    limit_files(emulator, None);
                    // It would come to try by itself, within a second.
                    emulator.signal(Signal::HUP);
                }
            });
            machine.run(&workload).unwrap()
        });
        let log = emulator.log();
        assert_eq!(report.failure, None, "{log}");
        if waits {
            assert!(report.is_good(), "{report:?}: {log}");
            let counts = [HELD, OVER].map(|line| log.matches(line).count());
            assert_eq!(counts, [1, 1], "{log}");
            assert!(std::fs::read(&rig.images[0]).unwrap() == data, "{more}");
        } else {
            assert_eq!((report.completed, report.errors), (256, 128));
            assert!(!log.contains(HELD));
            let beyond = Request::write(0, 2040, 8, DATA);
            assert_eq!(status(machine, beyond), CHECK_CONDITION);
            assert_eq!(key_and_code(sense(machine, 0)), (7, 0x27, 7));
        }
    }
}

/// In a file system of its own with 4 MiB, of which 1 is free: an emulator, and a shell that makes room when it is told to,
/// then copies the image, and then ends both.
const FULL: &str = r#"
program=$1 place=$2
shift 2
mount -t tmpfs -o size=4M tmpfs "$place/full"
cd "$place/full"
truncate -s 2M disk.img
head -c 3M /dev/zero >filler
"$program" "$@" &
read -r make_room
rm filler
read -r copy
cp disk.img "$place/copy.img"
echo copied
read -r end
kill $!
wait
"#;

/// Ended with the test.
struct Shell(Child);

impl Shell {
    fn go_on(&mut self) {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The end of its input has it go on to its own end, and the emulator's.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn full(place: &Place, log: &Path, arguments: &[String]) -> Option<Shell> {
    let namespaces = ["--map-root-user", "--mount"];
    let can = Command::new("unshare")
        .args(namespaces)
        .arg("true")
        .output();
    if !can.is_ok_and(|it| it.status.success()) {
        outrigger_skip::skipped("no mount namespace can be had");
        return None;
    }
    std::fs::create_dir(place.path("full")).unwrap();
    let child = Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-ec", FULL, "sh"])
        .args([binary(), place.path("")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(log).unwrap())
        .spawn();
    Some(Shell(child.unwrap()))
}

#[test]
fn a_full_file_system_is_waited_for() {
    let place = Place::new();
    let (socket, log) = (place.path("lsi.sock"), place.path("log"));
    let mut arguments = [
        "--blockdev",
        "driver=file,node-name=disk0,filename=disk.img",
        "--device",
        "lsi53c895a,id=lsi0",
        "--device",
        "scsi-hd,drive=disk0",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(export("lsi0", &socket));
    let Some(mut shell) = full(&place, &log, &arguments) else {
        return;
    };
    let mut lines = BufReader::new(shell.0.stdout.take().unwrap()).lines();
    let said = || std::fs::read_to_string(&log).unwrap();
    let line = lines.next().unwrap_or_else(|| panic!("{}", said()));
    assert!(line.unwrap().starts_with("listening on "), "{}", said());

    let (mut machine, device) = attach(socket);
    let data = pattern(2 << 20);
    machine.ram().write(DATA.into(), &data).unwrap();
    let writes = (0..64).map(|index| Request::write(0, index * 64, 64, DATA + index * 0x8000));
    let workload = Workload::new(writes.collect(), 4);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until(HELD, || said().contains(HELD));
            shell.go_on();
        });
        machine.run(&workload).unwrap()
    });
    assert!(report.is_good(), "{report:?}: {}", said());
    shell.go_on();
    assert_eq!(lines.next().unwrap().unwrap(), "copied");
    assert!(std::fs::read(place.path("copy.img")).unwrap() == data);
    drop((machine, device));
}
