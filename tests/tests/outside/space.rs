//! There is no space for what a guest writes: its requests wait, and are done when there is.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use outrigger_tests::emulator::{Emulator, binary, export};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_vmm::{Request, Sense, Workload};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{DATA, GOOD, Rig, attach, sense, status, wait_until};

/// What the log says when it begins, and when it is over.
const HELD: &str = "requests are held back";
const OVER: &str = "requests succeed again";

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
        let workload = Workload::new(writes.collect(), 8);
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
            assert_eq!(sense(machine, beyond).0, Sense::new(7, 0x27, 7));
        }
    }
}

fn qemu_img(arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new("qemu-img");
    command.args(arguments).stdout(Stdio::null());
    command.status().ok()?.code()
}

#[test]
fn a_format_has_no_harm_from_a_lack_of_space() {
    let place = Place::new();
    let image = place.path("disk.qcow2");
    let name = image.to_str().unwrap().to_owned();
    let options = "cluster_size=4k";
    if qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, &name, "4M"]) != Some(0) {
        outrigger_skip::skipped("qemu-img is not installed");
        return;
    }
    let mut rig = Rig::with_images(place, vec![image], "qcow2", ",werror=enospc");
    let data = pattern(4 << 20);
    rig.machine.ram().write(DATA.into(), &data).unwrap();
    let writes = (0..512_u32).map(|index| {
        // Here and there, so that metadata are needed again and again.
        let at = index * 37 % 512;
        Request::write(0, at * 16, 16, DATA + at * 8192)
    });
    let workload = Workload::new(writes.collect(), 8);
    limit_files(&rig.emulator, Some(600_000));
    let (emulator, machine) = (&rig.emulator, &mut rig.machine);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until(HELD, || emulator.log().contains(HELD));
            // There is a little more room, and again not enough.
            for room in [900_000, 1_000_000, 2_500_000] {
                limit_files(emulator, Some(room));
                emulator.signal(Signal::HUP);
            }
            limit_files(emulator, None);
        });
        machine.run(&workload).unwrap()
    });
    assert!(report.is_good(), "{report:?}: {}", emulator.log());
    assert_eq!(status(machine, Request::synchronize_cache(0)), GOOD);
    let Rig {
        machine,
        _device,
        emulator,
        place,
        ..
    } = rig;
    drop((machine, _device));
    emulator.terminate();
    let twin = place.image("twin.raw", &data).path;
    // 3: clusters that nothing refers to, of writes that had got only that far.
    let checked = qemu_img(&["check", "-q", "-f", "qcow2", &name]);
    assert!(matches!(checked, Some(0 | 3)), "{checked:?}");
    let twin = twin.to_str().unwrap();
    let compare = ["compare", "-q", "-f", "qcow2", "-F", "raw", &name, twin];
    assert_eq!(qemu_img(&compare), Some(0));
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
