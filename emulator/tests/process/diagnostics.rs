//! Output that goes nowhere: full disks, pipes whose reader has gone or sleeps, closed descriptors.
//! No process ends, hangs or fails of it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::process::client::Client;
use crate::{LSI_895A, PROGRAM, Place};

const STATISTICS: &str = env!("CARGO_BIN_EXE_outrigger");
/// Long: what has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Nothing,
    Full,
    NoReader,
    SleepingReader,
    Closed,
}

impl To {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Full,
        Self::NoReader,
        Self::SleepingReader,
        Self::Closed,
    ];

    /// The descriptor, and what must be kept as long as the process runs.
    fn open(self) -> (Stdio, Option<OwnedFd>) {
        match self {
            Self::Nothing | Self::Closed => (Stdio::null(), None),
            Self::Full => {
                let full = File::options().write(true).open("/dev/full").unwrap();
                (full.into(), None)
            }
            Self::NoReader => (pipe_with(PipeFlags::CLOEXEC).unwrap().1.into(), None),
            Self::SleepingReader => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                let flags = fcntl_getfl(&writer).unwrap();
                fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
                while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
                // Who writes next waits, unless it takes care.
                fcntl_setfl(&writer, flags).unwrap();
                (writer.into(), Some(reader))
            }
        }
    }
}

/// A process with its output there; killed if a test fails.
struct Running(
    Child,
    #[expect(dead_code, reason = "kept open")] [Option<OwnedFd>; 2],
);

impl Running {
    fn start(program: &str, arguments: &[String], stdout: To, stderr: To) -> Self {
        let close = |to: To, number| match to {
            To::Closed => format!("{number}>&-"),
            _ => String::new(),
        };
        // The shell closes what is to be closed.
        let script = format!(
            "exec \"$0\" \"$@\" {} {}",
            close(stdout, 1),
            close(stderr, 2)
        );
        let (out, keep_out) = stdout.open();
        let (err, keep_err) = stderr.open();
        let child = Command::new("sh")
            .args(["-c", &script, program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        Self(child, [keep_out, keep_err])
    }

    fn end(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something listens there.
fn connect(path: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return socket,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// Sends what is no message, and waits until the emulator has hung up.
fn malformed(path: &Path) {
    let mut socket = connect(path);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&[0xff; 16]).unwrap();
    // An end or an error, as the kernel likes; but no wait.
    if let Err(error) = socket.read(&mut [0]) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn clients_are_served_wherever_output_goes() {
    for to in To::ALL {
        for (stdout, stderr) in [(To::Nothing, to), (to, To::Nothing), (to, to)] {
            let place = Place::new();
            let path = place.path("s");
            let mut arguments = place.arguments(&place.blockdev(""), &place.export("s"));
            arguments.extend(["--log", "trace"].map(str::to_owned));
            let running = Running::start(PROGRAM, &arguments, stdout, stderr);
            for _ in 0..3 {
                malformed(&path);
            }
            assert_eq!(Client::new(connect(&path)).identity(), LSI_895A);
            kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
            let status = running.end();
            assert!(status.success(), "{stdout:?} {stderr:?}: {status}");
        }
    }
}

#[test]
fn answers_keep_their_exit_codes() {
    let run = |arguments: &[&str], stdout, stderr| {
        let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        Running::start(PROGRAM, &arguments, stdout, stderr)
            .end()
            .code()
    };
    for to in To::ALL {
        for bad in [
            &["--colour"][..],
            &[],
            &["--blockdev", "file,filename=/none"],
        ] {
            assert_eq!(run(bad, to, to), Some(2), "{bad:?} {to:?}");
        }
    }
    for ask in ["-h", "--help", "--version"] {
        assert_eq!(run(&[ask], To::Nothing, To::Full), Some(0), "{ask}");
        assert_eq!(run(&[ask], To::NoReader, To::Full), Some(0), "{ask}");
        assert_eq!(run(&[ask], To::Closed, To::Closed), Some(0), "{ask}");
        // Nobody has been told.
        assert_eq!(run(&[ask], To::Full, To::Full), Some(1), "{ask}");
    }
}

#[test]
fn statistics_that_nobody_gets_are_an_error_or_a_quiet_end() {
    let place = Place::new();
    let stats = place.path("stats");
    let export = format!("{},stats={}", place.export("s"), stats.display());
    let arguments = place.arguments(&place.blockdev(""), &export);
    let emulator = Running::start(PROGRAM, &arguments, To::Nothing, To::Nothing);
    drop(connect(&stats));
    let run = |more: &[&str], stdout, stderr| {
        let mut arguments = vec!["stats".to_owned(), stats.display().to_string()];
        arguments.extend(more.iter().map(|it| (*it).to_owned()));
        Running::start(STATISTICS, &arguments, stdout, stderr)
            .end()
            .code()
    };
    for more in [
        &["--once"][..],
        &["--once", "--json"],
        &["--interval", "0.01"],
        &["--interval", "0.01", "--json"],
    ] {
        for stderr in To::ALL {
            // A tool that says why it failed may wait for who reads that.
            if stderr != To::SleepingReader {
                assert_eq!(run(more, To::Full, stderr), Some(1), "{more:?} {stderr:?}");
            }
            assert_eq!(
                run(more, To::NoReader, stderr),
                Some(0),
                "{more:?} {stderr:?}"
            );
        }
    }
    for stderr in [To::Full, To::NoReader, To::Closed] {
        let missing = ["stats".to_owned(), place.path("none").display().to_string()];
        let status = Running::start(STATISTICS, &missing, To::Nothing, stderr).end();
        assert_eq!(status.code(), Some(2));
    }
    kill_process(Pid::from_child(&emulator.0), Signal::TERM).unwrap();
    assert!(emulator.end().success());
}

/// A log that has reached its largest size, also before anything else is done.
#[test]
fn a_log_that_may_not_grow_ends_nothing() {
    let place = Place::new();
    let path = place.path("s");
    let mut arguments = place.arguments(&place.blockdev(""), &place.export("s"));
    arguments.extend(["--log", "trace"].map(str::to_owned));
    let mut log = File::create(place.path("log")).unwrap();
    log.write_all(&[b'x'; 4096]).unwrap();
    // Blocks of 512 or 1024 bytes: as long as the log is, or shorter.
    let script = "ulimit -S -f 4; exec \"$0\" \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script, PROGRAM])
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running(child, [None, None]);
    for _ in 0..3 {
        malformed(&path);
    }
    assert_eq!(Client::new(connect(&path)).identity(), LSI_895A);
    // There is room again: the log says what it has missed.
    let id = Pid::from_child(&running.0);
    let unlimited = Rlimit {
        current: None,
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    prlimit(Some(id), Resource::Fsize, unlimited).unwrap();
    malformed(&path);
    kill_process(id, Signal::TERM).unwrap();
    assert!(running.end().success());
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains(" lines of the log lost: "), "{log}");
}

/// Whoever sends it, a fault's signal ends the process with one line.
#[test]
fn a_faults_signal_is_the_end_in_one_line() {
    for (signal, name) in [
        (Signal::SEGV, "SIGSEGV"),
        (Signal::BUS, "SIGBUS"),
        (Signal::ILL, "SIGILL"),
        (Signal::FPE, "SIGFPE"),
    ] {
        let place = Place::new();
        let arguments = place.arguments(&place.blockdev(""), &place.export("s"));
        let mut child = Command::new(PROGRAM)
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut client = Client::new(connect(&place.path("s")));
        assert_eq!(client.identity(), LSI_895A);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(signal.as_raw()),
            "{status}"
        );
        let line = format!("outrigger-emulator: {name}, sent by process ");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with(&line), "{said}");
        assert_eq!(said.matches(name).count(), 1, "{said}");
    }
}
