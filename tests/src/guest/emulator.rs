//! The device process that a guest's machine connects to, with sockets of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::emulator::{self, Chip, controller_with, export};
use crate::place::Image;

/// A running emulator, sandboxed, with its sockets. Dropping it kills it.
#[derive(Debug)]
pub struct Emulator {
    process: emulator::Emulator,
    sockets: Vec<PathBuf>,
    _directory: TempDir,
}

impl Emulator {
    /// One 53C895A with raw disks as targets 0, 1, …
    ///
    /// # Errors
    /// If the emulator was not built or does not start.
    pub fn with_disks(disks: &[&Path], read_only: bool) -> Result<Self> {
        Self::with_chip(Chip::Lsi53c895a, disks, read_only)
    }

    /// The same with another chip.
    ///
    /// # Errors
    /// If the emulator was not built or does not start.
    pub fn with_chip(chip: Chip, disks: &[&Path], read_only: bool) -> Result<Self> {
        let image = |path: &&Path| Image {
            path: path.to_path_buf(),
            read_only,
        };
        let images: Vec<_> = disks.iter().map(image).collect();
        Self::start(1, &controller_with(chip, "lsi0", &images))
    }

    /// One with these options, which name `controllers` controllers `lsi0`, `lsi1`, …
    ///
    /// # Errors
    /// If the emulator was not built or does not start.
    pub fn start(controllers: usize, options: &[String]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut options = options.to_vec();
        let mut sockets = Vec::new();
        for id in (0..controllers).map(|index| format!("lsi{index}")) {
            let socket = directory.path().join(format!("{id}.sock"));
            options.extend(export(&id, &socket));
            sockets.push(socket);
        }
        Ok(Self {
            process: emulator::Emulator::try_start(&options, &sockets)?,
            sockets,
            _directory: directory,
        })
    }

    /// The socket of the first controller.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.first().cloned().unwrap_or_default()
    }

    /// The sockets of all controllers.
    #[must_use]
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
