//! The real emulator in a process of its own, its sandbox on.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use outrigger_proxy::EmulatorCommand;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::place::{Image, Place};

/// The emulator that was built with this program.
///
/// # Panics
/// If it was not.
#[must_use]
pub fn binary() -> PathBuf {
    find().unwrap_or_else(|error| panic!("{error}"))
}

/// The same, for what must say that it was not.
pub(crate) fn find() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // Beside this program, or beside the directory `deps` that it is in.
    let emulator = program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("outrigger-emulator"))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "there is no outrigger-emulator near {}: {BUILD}",
                program.display()
            )
        })?;
    if let Some(source) = changed_since(&emulator)? {
        bail!(
            "{} is older than {}: {BUILD}",
            emulator.display(),
            source.display()
        );
    }
    Ok(emulator)
}

const BUILD: &str = "build it with `cargo build -p outrigger-emulator`, and --release if this was";

/// A source of this program that has changed since it was built, as cargo has noted them beside it. `cargo test` builds this
/// package's dependencies only as libraries.
fn changed_since(program: &Path) -> Result<Option<PathBuf>> {
    let Ok(notes) = fs::read_to_string(program.with_extension("d")) else {
        return Ok(None);
    };
    let built = fs::metadata(program)?.modified()?;
    let sources = notes.split_once(": ").map_or("", |(_, sources)| sources);
    // As in a makefile: a space within a name has a backslash.
    let sources = sources.trim_end().replace("\\ ", "\0");
    let sources = sources.split(' ').filter(|source| !source.is_empty());
    let mut sources = sources.map(|source| PathBuf::from(source.replace('\0', " ")));
    // One that is gone has changed.
    Ok(sources.find(|source| {
        let changed = fs::metadata(source).and_then(|it| it.modified());
        changed.map_or(true, |changed| changed > built)
    }))
}

/// Which chip a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// Wide Ultra2, with SCRIPTS RAM, LOAD and STORE.
    Lsi53c895a,
    /// Narrow, with neither.
    Lsi53c810,
}

impl fmt::Display for Chip {
    /// Its name in options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lsi53c895a => "lsi53c895a",
            Self::Lsi53c810 => "lsi53c810",
        })
    }
}

/// The options of a 53C895A `id` with these disks as targets 0, 1, ...
#[must_use]
pub fn controller(id: &str, disks: &[Image]) -> Vec<String> {
    controller_with(Chip::Lsi53c895a, id, disks)
}

/// The same with another chip.
#[must_use]
pub fn controller_with(chip: Chip, id: &str, disks: &[Image]) -> Vec<String> {
    let mut options = vec!["--device".to_owned(), format!("{chip},id={id}")];
    for (target, disk) in disks.iter().enumerate() {
        let read_only = if disk.read_only { "on" } else { "off" };
        // A comma in an option's value is written twice.
        let filename = disk.path.display().to_string().replace(',', ",,");
        options.extend([
            "--blockdev".to_owned(),
            format!(
                "driver=file,node-name={id}disk{target},filename={filename},read-only={read_only}"
            ),
            "--device".to_owned(),
            format!("scsi-hd,bus={id}.0,scsi-id={target},drive={id}disk{target}"),
        ]);
    }
    options
}

/// The option that exports controller `id` at `path`.
#[must_use]
pub fn export(id: &str, path: &Path) -> [String; 2] {
    [
        "--export".to_owned(),
        format!("type=vfio-user,device={id},path={}", path.display()),
    ]
}

/// A command for the proxy to spawn: controller `lsi0` with these disks, its errors in the log only.
#[must_use]
pub fn command(disks: &[Image]) -> EmulatorCommand {
    EmulatorCommand::new(binary(), "lsi0")
        .args(controller("lsi0", disks))
        .args(["--log", "off"])
}

/// Runs it to its end.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn output(options: &[String]) -> Output {
    Command::new(binary())
        .args(options)
        .output()
        .expect("the emulator starts")
}

/// An emulator that listens. Killed when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: NamedTempFile,
}

impl Emulator {
    /// One with these options, which listens on all these sockets by the time that this returns.
    ///
    /// # Errors
    /// If it was not built or does not start.
    pub fn try_start(options: &[String], sockets: &[impl AsRef<Path>]) -> Result<Self> {
        let stderr = NamedTempFile::new()?;
        let mut child = Command::new(find()?)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen()?)
            .spawn()
            .context("cannot start the emulator")?;
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        let mut emulator = Self {
            child,
            stdout,
            stderr,
        };
        for socket in sockets {
            let mut line = String::new();
            emulator.stdout.read_line(&mut line)?;
            if line != format!("listening on {}\n", socket.as_ref().display()) {
                bail!("the emulator does not listen: {line}{}", emulator.log());
            }
        }
        Ok(emulator)
    }

    /// The same, with a log that tells more.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(options: &[String], sockets: &[impl AsRef<Path>]) -> Self {
        let more = ["--log", "info"].map(str::to_owned);
        let started = Self::try_start(&[options, &more].concat(), sockets);
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// One with controller `lsi0`, these disks and the socket `lsi.sock` in `place`; and the socket's path.
    #[must_use]
    pub fn listening(place: &Place, disks: &[Image]) -> (Self, PathBuf) {
        let path = place.path("lsi.sock");
        let mut options = controller("lsi0", disks);
        options.extend(export("lsi0", &path));
        (Self::start(&options, &[&path]), path)
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// If that cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.stderr.path()).expect("text")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a running emulator");
    }

    /// Waits for its end, which something else has caused.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }

    /// Asks it to end, and sees that it ends well.
    ///
    /// # Panics
    /// If it does not.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Gone already, unless the test has left it or failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_source_that_has_changed_is_named() {
        let place = Place::new();
        let program = place.path("program");
        let at = |path: &Path, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::create(path).unwrap().set_modified(time).unwrap();
        };
        at(&program, 1000);
        assert_eq!(changed_since(&program).unwrap(), None, "no notes");
        let (plain, spaced) = (place.path("a.rs"), place.path("b c.rs"));
        let escaped = spaced.display().to_string().replace(' ', "\\ ");
        let notes = format!("{}: {} {escaped}\n", program.display(), plain.display());
        fs::write(place.path("program.d"), notes).unwrap();
        at(&plain, 1000);
        at(&spaced, 999);
        assert_eq!(changed_since(&program).unwrap(), None);
        at(&spaced, 1001);
        assert_eq!(changed_since(&program).unwrap(), Some(spaced));
        fs::remove_file(&plain).unwrap();
        assert_eq!(changed_since(&program).unwrap(), Some(plain));
    }
}
