//! The process as its users meet it: what it says, what it answers bad options with, how it ends.

mod process {
    pub(crate) mod client;
    mod diagnostics;
    mod refusals;
    mod statistics;
}

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use outrigger_ring::{Access, Width};
use outrigger_vfio_user::{RegionData, Request};
use process::client::Client;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger-emulator");
/// Vendor and device, as config space has them.
const LSI_895A: u32 = 0x0012_1000;
const LSI_810: u32 = 0x0001_1000;
const LSI: &str = "lsi53c895a,id=lsi0";
const HD: &str = "scsi-hd,bus=lsi0.0,scsi-id=0,drive=disk0";

/// A directory with an image in it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        place.image("disk.img", 1 << 20);
        place
    }

    fn image(&self, name: &str, bytes: u64) {
        File::create(self.path(name))
            .unwrap()
            .set_len(bytes)
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn blockdev(&self, more: &str) -> String {
        format!(
            "file,node-name=disk0,filename={}{more}",
            self.path("disk.img").display()
        )
    }

    fn export(&self, name: &str) -> String {
        format!("vfio-user,device=lsi0,path={}", self.path(name).display())
    }

    /// The arguments of one controller with one disk.
    fn arguments(&self, blockdev: &str, export: &str) -> Vec<String> {
        [
            "--blockdev",
            blockdev,
            "--device",
            LSI,
            "--device",
            HD,
            "--export",
            export,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// A running emulator; killed if a test fails.
struct Emulator {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Emulator {
    fn start(arguments: &[String]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .args(["--log", "info"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line of its stdout; empty when it has ended.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it says this on stderr.
    fn says(&mut self, text: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut said = String::new();
        let mut byte = [0];
        while !said.contains(text) {
            stderr.read_exact(&mut byte).expect(&said);
            said.push(byte[0].into());
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its end: success, and nothing more on stdout.
    fn ends_well(mut self) {
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert!(status.success(), "{status}: {errors}");
        assert_eq!(self.line(), "");
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(arguments: &[String]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

#[test]
fn serves_one_client_after_another_and_ends_on_sigterm() {
    for (sandbox, signal) in [("on", Signal::TERM), ("off", Signal::INT)] {
        let place = Place::new();
        let path = place.path("lsi.sock");
        let mut arguments = place.arguments(&place.blockdev(""), &place.export("lsi.sock"));
        arguments.extend(["--sandbox".to_owned(), sandbox.to_owned()]);
        let mut emulator = Emulator::start(&arguments);
        assert_eq!(emulator.line(), format!("listening on {}", path.display()));
        for _ in 0..2 {
            let mut client = Client::connect(&path);
            assert_eq!(client.identity(), LSI_895A);
            client.map_guest_ram();
        }
        // A client that is being served does not hold up the end.
        let mut client = Client::connect(&path);
        assert_eq!(client.identity(), LSI_895A);
        emulator.signal(signal);
        emulator.ends_well();
        assert_eq!(
            client.socket.read(&mut [0]).unwrap(),
            0,
            "the client is told"
        );
    }
}

/// A client posts as fast as it can when the process is asked to end, and another one waits its turn: both read the end of
/// their connections, and neither that it was reset, which QEMU's client answers by aborting.
#[test]
fn a_client_under_load_reads_the_end() {
    for round in 0..5 {
        let place = Place::new();
        let path = place.path("lsi.sock");
        let mut emulator =
            Emulator::start(&place.arguments(&place.blockdev(""), &place.export("lsi.sock")));
        assert_eq!(emulator.line(), format!("listening on {}", path.display()));
        let client = Client::connect(&path);
        let mut waiting = UnixStream::connect(&path).unwrap();
        waiting.write_all(&[0; 40]).unwrap();
        let (posted, posting) = std::sync::mpsc::channel();
        let mut poster = client.socket.try_clone().unwrap();
        let flood = std::thread::spawn(move || {
            let write = RegionData {
                region: 1,
                offset: 0x34,
                data: &[1, 2, 3, 4],
            };
            let burst = Request::RegionWrite(write).emit(1, true).repeat(64);
            while poster.write_all(&burst).is_ok() {
                // Whoever listened has heard enough.
                let _ = posted.send(());
            }
        });
        for _ in 0..100 {
            posting.recv().unwrap();
        }
        emulator.signal(Signal::TERM);
        flood.join().unwrap();
        let mut socket = client.socket;
        assert_eq!(socket.read(&mut [0]).unwrap(), 0, "round {round}");
        assert_eq!(waiting.read(&mut [0]).unwrap(), 0, "round {round}");
        emulator.ends_well();
    }
}

/// A second VMM hears nothing until the first has gone, and who ends the process wants to know what that has done.
#[test]
fn a_client_that_waits_and_the_end_are_said() {
    let place = Place::new();
    let path = place.path("s");
    let mut emulator = Emulator::start(&place.arguments(&place.blockdev(""), &place.export("s")));
    assert_eq!(emulator.line(), format!("listening on {}", path.display()));
    let mut client = Client::connect(&path);
    let _second = UnixStream::connect(&path).unwrap();
    emulator.says("busy: a client waits");
    assert_eq!(client.identity(), LSI_895A);
    emulator.signal(Signal::INT);
    emulator.says(
        "ended by a signal; connected VMMs have lost lsi0; socket files stay, and the next start replaces them\n",
    );
    emulator.ends_well();
}

/// QEMU without shared RAM: the device finds nothing where the guest has put its script, or zeroes only.
#[test]
fn memory_that_is_not_shared_is_said() {
    for without_file in [true, false] {
        let place = Place::new();
        let path = place.path("s");
        let mut emulator =
            Emulator::start(&place.arguments(&place.blockdev(""), &place.export("s")));
        assert_eq!(emulator.line(), format!("listening on {}", path.display()));
        let mut client = Client::connect(&path);
        if without_file {
            client.keep_guest_ram();
        } else {
            client.map_guest_ram();
        }
        // COMMAND, then DSP.
        client.write(7, 4, &[6, 0]);
        client.write(1, 0x2c, &[0, 8, 0, 0]);
        emulator.says("the guest's memory at 0x800 is not shared");
        emulator.says("share=on");
        emulator.signal(Signal::TERM);
        emulator.ends_well();
    }
}

#[test]
fn options_with_one_dash_are_answered() {
    for option in ["-device", "-blockdev", "-export=x"] {
        let output = output(&[option.to_owned(), "lsi53c895a,id=lsi0".to_owned()]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        let name = option.trim_end_matches("=x");
        let expected = format!("unexpected argument '{name}'; use -{name}\n");
        assert!(
            error.ends_with(&expected) && error.lines().count() == 1,
            "{error}"
        );
    }
}

/// An emulator that cannot serve at all has not read the first message of its inherited client.
#[test]
fn a_client_of_a_failed_start_reads_the_end() {
    let place = Place::new();
    let absent = format!(
        "file,node-name=disk0,filename={}",
        place.path("absent").display()
    );
    let arguments = place.arguments(&absent, "vfio-user,device=lsi0,fd=7");
    let (mut client, theirs) = UnixStream::pair().unwrap();
    client.write_all(&[0; 40]).unwrap();
    let mut emulator = with_inherited(theirs.into(), &arguments);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(emulator.child.wait().unwrap().code(), Some(2));
}

#[test]
fn rings_work_in_the_sandbox_and_after_sleeps() {
    let place = Place::new();
    let path = place.path("lsi.sock");
    let mut emulator =
        Emulator::start(&place.arguments(&place.blockdev(""), &place.export("lsi.sock")));
    assert_eq!(emulator.line(), format!("listening on {}", path.display()));
    // SCRATCHA of the 53C895A: four bytes that only keep what is written.
    let scratch = Access {
        region: 1,
        offset: 0x34,
        width: Width::Dword,
    };
    for attachment in 1..=2 {
        let mut client = Client::connect(&path);
        let mut ring = client.attach_ring();
        assert_eq!(ring.read(scratch).unwrap(), 0, "reset between clients");
        for value in attachment..100 {
            ring.post(scratch, value).unwrap();
            assert_eq!(ring.read(scratch).unwrap(), value);
            if value % 10 == 0 {
                // Over the socket, to which the worker comes when it looks or sleeps.
                assert_eq!(client.identity(), LSI_895A);
                wait_until_asleep(&emulator.child);
            }
        }
    }
    emulator.signal(Signal::TERM);
    emulator.ends_well();
}

/// Waits until every thread of the process sleeps.
fn wait_until_asleep(child: &Child) {
    let asleep = |task: std::io::Result<fs::DirEntry>| {
        // A thread that is about to sleep has the state of one that does. This names its call only once it has left its CPU.
        let call = fs::read_to_string(task.unwrap().path().join("syscall")).unwrap();
        call.trim_end() != "running"
    };
    while !fs::read_dir(format!("/proc/{}/task", child.id()))
        .unwrap()
        .all(asleep)
    {
        std::thread::yield_now();
    }
}

#[test]
fn every_engine_and_both_forms_start_in_the_sandbox() {
    for more in [
        "",
        ",aio=threads",
        ",read-only=on",
        ",aio=threads,read-only=on",
    ] {
        let place = Place::new();
        let arguments = place.arguments(&place.blockdev(more), &place.export("s"));
        let mut emulator = Emulator::start(&arguments);
        assert_eq!(
            emulator.line(),
            format!("listening on {}", place.path("s").display())
        );
        assert_no_thread_dies_of(&emulator.child, Signal::TERM);
        emulator.signal(Signal::TERM);
        emulator.ends_well();
    }
}

/// A signal goes to any thread that does not block it, and kills the process there.
fn assert_no_thread_dies_of(child: &Child, signal: Signal) {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    for task in tasks {
        // One that ends meanwhile gets none.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else {
            continue;
        };
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = u64::from_str_radix(blocked.unwrap().trim(), 16).unwrap();
        assert_ne!(blocked >> (signal.as_raw() - 1) & 1, 0, "{status}");
    }
}

/// A client that comes while descriptors have run out is served when there are some again, although nobody announces it twice.
#[test]
fn a_client_that_could_not_be_accepted_waits() {
    let place = Place::new();
    let path = place.path("s");
    let mut emulator = Emulator::start(&place.arguments(&place.blockdev(""), &place.export("s")));
    assert_eq!(emulator.line(), format!("listening on {}", path.display()));
    let pid = Pid::from_child(&emulator.child);
    let open = |fd: &u64| fs::exists(format!("/proc/{pid}/fd/{fd}")).unwrap();
    let free = (0..).find(|fd| !open(fd)).unwrap();
    let limit = |descriptors| Rlimit {
        current: Some(descriptors),
        ..getrlimit(Resource::Nofile)
    };
    let before = prlimit(Some(pid), Resource::Nofile, limit(free)).unwrap();
    let socket = UnixStream::connect(&path).unwrap();
    emulator.says("cannot accept a client");
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    assert_eq!(Client::new(socket).identity(), LSI_895A);
    emulator.signal(Signal::TERM);
    emulator.ends_well();
}

#[test]
fn two_controllers_in_one_process() {
    let place = Place::new();
    let (first, second) = (place.path("first"), place.path("second"));
    let arguments = [
        "--blockdev",
        r#"{"driver":"memory","node-name":"a","size":1048576}"#,
        "--blockdev",
        "memory,node-name=b,size=64k",
        "--device",
        "lsi53c895a,id=one",
        "--device",
        "lsi53c810,id=two",
        "--device",
        "scsi-hd,bus=one.0,drive=a",
        "--device",
        "scsi-hd,bus=two.0,drive=b",
        "--export",
        &format!("vfio-user,device=one,path={}", first.display()),
        "--export",
        &format!("vfio-user,device=two,path={}", second.display()),
    ]
    .map(str::to_owned);
    let mut emulator = Emulator::start(&arguments);
    assert_eq!(emulator.line(), format!("listening on {}", first.display()));
    assert_eq!(
        emulator.line(),
        format!("listening on {}", second.display())
    );
    let mut clients = [&first, &second].map(|path| Client::connect(path));
    assert_eq!(
        clients.each_mut().map(Client::identity),
        [LSI_895A, LSI_810]
    );
    emulator.signal(Signal::TERM);
    emulator.ends_well();
}

/// Runs the emulator with `socket` as its descriptor 7.
fn with_inherited(socket: OwnedFd, arguments: &[String]) -> Emulator {
    // The shell moves the descriptor: it is the parent that leaves it open.
    let script = format!("exec {}<&0 0</dev/null; exec \"$0\" \"$@\"", 7);
    let mut child = Command::new("sh")
        .args(["-c", &script, PROGRAM])
        .args(arguments)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    Emulator { child, stdout }
}

#[test]
fn ends_with_its_inherited_client() {
    let place = Place::new();
    let arguments = place.arguments(&place.blockdev(""), "vfio-user,device=lsi0,fd=7");
    let (client, theirs) = UnixStream::pair().unwrap();
    let mut emulator = with_inherited(theirs.into(), &arguments);
    assert_eq!(emulator.line(), "listening on descriptor 7");
    let mut client = Client::new(client);
    assert_eq!(client.identity(), LSI_895A);
    drop(client);
    emulator.ends_well();
}

#[test]
fn an_inherited_listener_is_listened_on() {
    let place = Place::new();
    let arguments = place.arguments(&place.blockdev(""), "vfio-user,device=lsi0,fd=7");
    let listener = UnixListener::bind(place.path("ours")).unwrap();
    let mut emulator = with_inherited(listener.into(), &arguments);
    assert_eq!(emulator.line(), "listening on descriptor 7");
    for _ in 0..2 {
        assert_eq!(Client::connect(&place.path("ours")).identity(), LSI_895A);
    }
    emulator.signal(Signal::TERM);
    emulator.ends_well();
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = Place::new();
    let arguments = place.arguments(&place.blockdev(""), &place.export("lsi.sock"));
    // The second start finds what a killed process has left, the third what one that ended has left.
    for end in [Signal::KILL, Signal::TERM, Signal::TERM] {
        let mut emulator = Emulator::start(&arguments);
        assert_eq!(
            emulator.line(),
            format!("listening on {}", place.path("lsi.sock").display())
        );
        assert_eq!(
            Client::connect(&place.path("lsi.sock")).identity(),
            LSI_895A
        );
        emulator.signal(end);
        if end == Signal::TERM {
            emulator.ends_well();
        } else {
            emulator.child.wait().unwrap();
        }
    }
}
