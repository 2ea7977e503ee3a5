//! The device process that a guest's machine connects to.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::{NamedTempFile, TempDir};

use crate::emulator::{controller, export, find};
use crate::place::Image;

/// A running emulator, sandboxed, with its sockets. Dropping it kills it.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    directory: TempDir,
    controllers: usize,
    log: NamedTempFile,
}

impl Emulator {
    /// One controller with raw disks as targets 0, 1, …
    ///
    /// # Errors
    /// If the emulator was not built or does not start.
    pub fn with_disks(disks: &[&Path], read_only: bool) -> Result<Self> {
        let image = |path: &&Path| Image {
            path: path.to_path_buf(),
            read_only,
        };
        let images: Vec<_> = disks.iter().map(image).collect();
        Self::start(1, &controller("lsi0", &images))
    }

    /// One with these options, which name `controllers` controllers `lsi0`, `lsi1`, …
    ///
    /// # Errors
    /// If the emulator was not built or does not start.
    pub fn start(controllers: usize, options: &[String]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = NamedTempFile::new()?;
        let mut command = Command::new(find()?);
        command.args(options);
        for index in 0..controllers {
            command.args(export(&format!("lsi{index}"), &socket(&directory, index)));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.reopen()?)
            .spawn()
            .context("cannot start the emulator")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
        let emulator = Self {
            child,
            directory,
            controllers,
            log,
        };
        for _ in 0..controllers {
            let mut line = String::new();
            stdout.read_line(&mut line)?;
            if !line.starts_with("listening on ") {
                bail!("the emulator does not listen: {}", emulator.log());
            }
        }
        Ok(emulator)
    }

    /// The socket of the first controller.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory, 0)
    }

    /// The sockets of all controllers.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        (0..self.controllers)
            .map(|index| socket(&self.directory, index))
            .collect()
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(directory: &TempDir, index: usize) -> PathBuf {
    directory.path().join(format!("lsi{index}.sock"))
}
