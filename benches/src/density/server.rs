//! Processes that serve idle devices, each with a raw image of its own.

use std::fmt;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use outrigger_tests::guest::Kit;
use tempfile::TempDir;

use super::process::Usage;
use crate::spent::Snapshot;

/// How long a server may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server has come to rest when it was not awake for so long.
const REST: Duration = Duration::from_millis(500);
/// Bytes of an image.
const IMAGE: u64 = 64 << 20;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// Ours, over vfio-user.
    Emulator,
    /// QEMU's, over vhost-user-blk.
    StorageDaemon,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulator => "outrigger-emulator",
            Self::StorageDaemon => "qemu-storage-daemon",
        })
    }
}

/// QEMU's storage daemon: this machine's, or one from the packages that the tests of Linux use.
pub(super) fn storage_daemon() -> Result<PathBuf> {
    const NAME: &str = "qemu-storage-daemon";
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join(NAME))
        .find(|path| path.is_file());
    if let Some(path) = found {
        return Ok(path);
    }
    let command = Kit::open()?.program(NAME)?;
    // A script, because the packages' programs run through their own linker.
    let mut script = String::from("#!/bin/sh\nexec");
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        script.push_str(&format!(" '{}'", word.display()));
    }
    script.push_str(" \"$@\"\n");
    let path = std::env::temp_dir().join(format!("outrigger-density-{}", std::process::id()));
    std::fs::write(&path, script)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&path, mode)?;
    Ok(path)
}

/// Running processes; ended when they are dropped.
pub(super) struct Servers {
    children: Vec<Child>,
    starts: Vec<Duration>,
    _directory: TempDir,
}

impl Servers {
    /// Starts them one after another, each when the one before it serves.
    pub(super) fn start(
        server: Server,
        program: &Path,
        processes: usize,
        devices: usize,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut servers = Self {
            children: Vec::new(),
            starts: Vec::new(),
            _directory: directory,
        };
        for process in 0..processes {
            let path = |name: String| servers._directory.path().join(name);
            let mut command = Command::new(program);
            let mut last = PathBuf::new();
            if server == Server::Emulator {
                command.args(["--log", "off"]);
            }
            for device in 0..devices {
                let image = path(format!("{process}.{device}.img"));
                File::create(&image)?.set_len(IMAGE)?;
                let image = image.display();
                last = path(format!("{process}.{device}"));
                let socket = last.display();
                let node = format!("driver=file,node-name=d{device},filename={image}");
                command.args(["--blockdev", &node]);
                match server {
                    Server::Emulator => command
                        .args(["--device", &format!("lsi53c895a,id=lsi{device}")])
                        .args(["--device", &format!("scsi-hd,bus=lsi{device}.0,drive=d{device}")])
                        .args(["--export", &format!("vfio-user,device=lsi{device},path={socket}")]),
                    Server::StorageDaemon => command.args([
                        "--export",
                        &format!(
                            "vhost-user-blk,id=e{device},node-name=d{device},addr.type=unix,addr.path={socket},writable=on"
                        ),
                    ]),
                };
            }
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let began = Instant::now();
            let child = command.spawn().context("cannot be started")?;
            servers.children.push(child);
            servers.wait_for(&last, began)?;
            servers.starts.push(began.elapsed());
        }
        Ok(servers)
    }

    /// Waits until somebody listens on the socket that comes last.
    fn wait_for(&mut self, socket: &Path, began: Instant) -> Result<()> {
        while UnixStream::connect(socket).is_err() {
            if let Some(child) = self.children.last_mut()
                && let Some(status) = child.try_wait()?
            {
                bail!("ended with {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("does not listen on {}", socket.display());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// How long each took until it served.
    pub(super) fn starts(&self) -> impl Iterator<Item = Duration> {
        self.starts.iter().copied()
    }

    /// What all have together.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for child in &self.children {
            sum += Usage::of(child.id())?;
        }
        Ok(sum)
    }

    /// How often a thread of any of them got a CPU in this time, once they have come to rest.
    pub(super) fn wakeups(&self, time: Duration) -> u64 {
        let began = Instant::now();
        // On a loaded machine a start takes its time. Whoever never rests is counted as it is.
        while self.switches(REST) > 0 && began.elapsed() < PATIENCE / 6 {}
        self.switches(time)
    }

    fn switches(&self, time: Duration) -> u64 {
        let snapshot = |child: &Child| Snapshot::of_process(child.id());
        let before: Vec<_> = self.children.iter().map(snapshot).collect();
        std::thread::sleep(time);
        let after = self.children.iter().map(snapshot);
        let spent = after.zip(&before).map(|(now, before)| now.since(before));
        spent.map(|it| it.context_switches).sum()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Gone already, if it could not serve.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("processes", &self.children.len())
            .finish_non_exhaustive()
    }
}
