//! A directory that everybody may use, with the emulator and an image in it, and what is asked of the emulator there.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::confine::works;
use outrigger_tests::emulator::{binary, controller, export};
use outrigger_tests::front::{Attached, options};
use outrigger_tests::place::{Image, Place};
use outrigger_tests::process::{descriptors, status};
use outrigger_tests::random::pattern;
use outrigger_tests::registers::{Data, cdb10};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// The user and group of nobody.
const NOBODY: u32 = 65534;

/// A directory that everybody may use, with an image and a copy of the emulator that everybody may start.
pub(crate) struct Host {
    pub(crate) place: Place,
    program: PathBuf,
    image: Image,
    disk: Vec<u8>,
}

/// A running emulator.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    log: fs::File,
}

/// What protects less than it might, by what the log says.
pub(crate) type Reduced = BTreeSet<&'static str>;

pub(crate) const THREADS: &str = "no io_uring here, block I/O uses threads";
pub(crate) const NAMESPACES: &str = "the sandbox does without own namespaces";
pub(crate) const ROOT: &str = "the sandbox does without an empty root directory";
pub(crate) const LANDLOCK: &str = "the sandbox does without Landlock";
pub(crate) const BARE: &str = "neither an empty root directory nor Landlock";
const MESSAGES: [&str; 5] = [THREADS, NAMESPACES, ROOT, LANDLOCK, BARE];

impl Host {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let disk = pattern(64 << 10);
        let image = place.image("disk.img", &disk);
        let program = place.path("outrigger-emulator");
        // By another process: what this one has open for writing, a child of another test's might have too.
        assert!(works(
            "cp",
            &[binary().to_str().unwrap(), program.to_str().unwrap()]
        ));
        let modes = [(place.path(""), 0o777), (image.path.clone(), 0o666)];
        for (path, mode) in modes {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        Self {
            place,
            program,
            image,
            disk,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.path("lsi.sock")
    }

    /// The emulator, started by a shell after `first`; as nobody if `user` is that.
    pub(crate) fn command(&self, first: &str, as_nobody: bool) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{first}\nexec \"$0\" \"$@\"")])
            .arg(&self.program);
        command.args(controller("lsi0", std::slice::from_ref(&self.image)));
        command
            .args(export("lsi0", &self.socket()))
            .args(["--log", "info"]);
        if as_nobody && geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
            .current_dir("/")
            .env("DIR", self.place.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Starts it; `Err` with what it said if it ends.
    pub(crate) fn start(&self, mut command: Command) -> Result<Running, (Option<i32>, String)> {
        let log = tempfile::tempfile().unwrap();
        let mut child = command.stderr(log.try_clone().unwrap()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running { child, stdout, log };
        let mut line = String::new();
        running.stdout.read_line(&mut line).unwrap();
        if line == format!("listening on {}\n", self.socket().display()) {
            return Ok(running);
        }
        let code = running.child.wait().unwrap().code();
        Err((code, running.log()))
    }

    /// A guest reads and writes its disk, over the rings and over the socket, and the process is under its filter.
    pub(crate) fn serves(&self, running: &mut Running) -> Reduced {
        for transport in [Transport::Ring, Transport::Socket] {
            let mut device = Attached::connect(Endpoint::Path(self.socket()), options(transport));
            device.set_up();
            device.clear_attention(0);
            assert_eq!(
                device.command(0, &cdb10(0x28, 8, 64), Data::In(64 * 512)),
                Ok(0)
            );
            assert!(device.data(64 * 512) == self.disk[8 * 512..72 * 512]);
            device.put_data(&[0x5a; 512]);
            assert_eq!(
                device.command(0, &cdb10(0x2a, 127, 1), Data::Out(512)),
                Ok(0)
            );
            assert_eq!(device.command(0, &cdb10(0x35, 0, 0), Data::None), Ok(0));
        }
        assert!(self.image.bytes()[127 * 512..] == [0x5a; 512]);
        let id = running.child.id();
        assert_eq!(status(id, "NoNewPrivs"), "1");
        assert_eq!(status(id, "Seccomp"), "2");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(id, set), "0000000000000000", "{set}");
        }
        for (number, target) in descriptors(id) {
            assert!(
                number < 3 || !target.starts_with("/dev/"),
                "{number} is {target}"
            );
        }
        kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
        let code = running.child.wait().unwrap();
        let log = running.log();
        assert!(code.success(), "{code}: {log}");
        // Nothing else is worth a warning.
        for line in log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        {
            assert!(line.contains(BARE), "{line}");
        }
        MESSAGES.into_iter().filter(|it| log.contains(it)).collect()
    }
}

impl Running {
    pub(crate) fn log(&mut self) -> String {
        let mut text = String::new();
        self.log.rewind().unwrap();
        self.log.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
