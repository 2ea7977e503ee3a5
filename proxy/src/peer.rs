//! The emulator's process: started by the VMM, watched, ended.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::Error;
use crate::port::PortError;

mod last_words;
mod sys;

use last_words::LastWords;

/// Why an emulator could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the emulator {}: {source}", binary.display())]
pub struct SpawnError {
    binary: PathBuf,
    source: io::Error,
}

/// How to start an emulator that serves one device on a connection of its own.
///
/// ```no_run
/// use outrigger_proxy::EmulatorCommand;
///
/// let emulator = EmulatorCommand::new("outrigger-emulator", "lsi0")
///     .args(["--blockdev", "driver=file,node-name=disk0,filename=disk.img"])
///     .args(["--device", "lsi53c895a,id=lsi0"])
///     .args(["--device", "scsi-hd,bus=lsi0.0,scsi-id=0,drive=disk0"]);
/// ```
#[derive(Debug)]
pub struct EmulatorCommand {
    command: Command,
    device: String,
    statistics: Option<PathBuf>,
}

impl EmulatorCommand {
    /// A command that runs `binary`, which is looked up in PATH if it has no slash, and exports the
    /// device whose `id` is `device`. The export is added at the end; the devices are the caller's
    /// arguments.
    #[must_use]
    pub fn new(binary: impl AsRef<Path>, device: impl Into<String>) -> Self {
        let mut command = Command::new(binary.as_ref());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self {
            command,
            device: device.into(),
            statistics: None,
        }
    }

    /// Has the emulator listen at this path for readers of its statistics (`docs/statistics.md`).
    #[must_use]
    pub fn statistics(mut self, path: impl Into<PathBuf>) -> Self {
        self.statistics = Some(path.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable; the rest of the environment is the VMM's.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it. The process inherits one end of a new socket pair and no other descriptor. The
    /// other end is returned: the connection to attach over. What the process writes to standard
    /// error, a thread passes on to the VMM's.
    ///
    /// # Errors
    /// The binary is not there or cannot be run, or the system is out of something.
    pub fn spawn(mut self) -> Result<(Emulator, OwnedFd), SpawnError> {
        match self.start() {
            Ok(started) => Ok(started),
            Err(source) => Err(SpawnError {
                binary: self.command.get_program().into(),
                source,
            }),
        }
    }

    fn start(&mut self) -> io::Result<(Emulator, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        let fd = theirs.as_raw_fd();
        let mut export = format!("type=vfio-user,device={},fd={fd}", self.device);
        if let Some(path) = &self.statistics {
            // A comma in an option's value is written twice.
            let path = path.display().to_string().replace(',', ",,");
            export.push_str(&format!(",stats={path}"));
        }
        self.command.arg("--export").arg(export);
        sys::inherit_only(&mut self.command, theirs.into());
        let (heard, said) = io::pipe()?;
        let mut child = self.command.stderr(said).spawn()?;
        let watched = watch(&child).and_then(|pidfd| Ok((pidfd, LastWords::listen(heard)?)));
        let (pidfd, words) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                // Nobody would own it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let emulator = Emulator {
            child,
            pidfd,
            status: None,
            words,
        };
        Ok((emulator, ours.into()))
    }
}

/// A descriptor that becomes readable when the child ends. It is not reaped yet, so its id is still
/// its own.
fn watch(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// A running emulator. Dropping it kills the process and collects it.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
    words: LastWords,
}

/// How long the last words of a process that has ended may take: another that holds its standard
/// error open keeps nobody waiting.
const WORDS: Duration = Duration::from_secs(1);

impl Emulator {
    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Readable when the process has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the process ended; `None` while it runs. Waits for its end for at most `timeout`.
    ///
    /// # Errors
    /// What `poll` and `waitpid` say.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        while self.status.is_none() {
            self.status = self.child.try_wait()?;
            let left = timeout.saturating_sub(start.elapsed());
            if self.status.is_some() || left.is_zero() {
                break;
            }
            let left = Timespec::try_from(left).ok();
            match poll(
                &mut [PollFd::new(&self.pidfd, PollFlags::IN)],
                left.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.status)
    }

    /// The last lines that the process wrote to standard error, in one line; empty if it wrote
    /// none.
    #[must_use]
    pub fn last_words(&self) -> String {
        let ended = self.status.is_some();
        self.words.quote(if ended { WORDS } else { Duration::ZERO })
    }

    /// If `error` says no more than that this process has gone: how it ended and what it said, for
    /// which this waits for at most `timeout`. Any other error as it is.
    #[must_use]
    pub fn explain(&mut self, error: Error, timeout: Duration) -> Error {
        let Error::Connection {
            step,
            source: PortError::PeerGone,
        } = error
        else {
            return error;
        };
        match self.wait(timeout) {
            Ok(Some(status)) => Error::Ended {
                step,
                status,
                words: self.last_words(),
            },
            _ => error,
        }
    }

    /// Kills the process if it still runs, and collects it.
    ///
    /// # Errors
    /// What `kill` and `waitpid` say.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, pid = self.id(), "cannot end the emulator");
        }
        // All that it said has been passed on.
        let _ = self.last_words();
    }
}

#[cfg(test)]
mod tests;
