//! Real guests: Linux on an unmodified QEMU, with a controller of ours behind `vfio-user-pci` or QEMU's own beside it.
//!
//! ```text
//! packages ──> prefix ──> initramfs ──┐
//!    (apt)      QEMU, kernel, tools   ├──> machine (QEMU) ──socket──> emulator (ours)
//!                         a script ───┘        │
//!                         serial port  <───────┘  `RESULT name value` lines
//! ```
//! What is fetched comes from the Debian mirror that this machine's apt already uses, and is kept in `target/guest`.

pub mod answers;
mod cpio;
pub mod emulator;
mod initramfs;
pub mod machine;
mod packages;
pub mod transcript;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

pub use emulator::Emulator;
pub use machine::{Board, Machine, Running};
pub use transcript::Transcript;

use packages::Prefix;

/// QEMU, a kernel, and an initramfs with tools: what a guest is made of.
#[derive(Debug)]
pub struct Kit {
    prefix: Prefix,
    qemu: Option<PathBuf>,
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Kit {
    /// The kit in `target/guest`; what is not there yet is fetched and built. `QEMU` and `KERNEL` in the environment name
    /// a QEMU and a kernel to use instead.
    ///
    /// Several processes may ask at once: one does the work.
    ///
    /// # Errors
    /// If apt has no Debian mirror to fetch from, or something cannot be built.
    pub fn open() -> Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .with_file_name("target")
            .join("guest");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let lock = fs::File::create(directory.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let prefix = packages::fetch(&directory)?;
        let kernel = match from_environment("KERNEL")? {
            Some(kernel) => kernel,
            None => prefix.kernel()?,
        };
        let initramfs = initramfs::build(&directory, &prefix, &kernel)?;
        Ok(Self {
            prefix,
            qemu: from_environment("QEMU")?,
            kernel,
            initramfs,
        })
    }

    /// What `qemu-system-x86_64 --version` says first.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn qemu_version(&self) -> Result<String> {
        let output = self.qemu().arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("unknown").to_owned())
    }

    /// A command that runs QEMU.
    pub(crate) fn qemu(&self) -> std::process::Command {
        match &self.qemu {
            Some(path) => std::process::Command::new(path),
            None => self.prefix.qemu(),
        }
    }

    /// Makes an ISO 9660 image, with Rock Ridge names, of what is in `directory`.
    ///
    /// # Errors
    /// If that cannot be read, or the image not written.
    pub fn iso(&self, directory: &Path, image: &Path) -> Result<()> {
        packages::run(
            self.program("genisoimage")?
                .args(["-quiet", "-rock", "-volid", "OUTRIGGER", "-output"])
                .arg(image)
                .arg(directory),
        )
    }

    /// A command that runs a program of the fetched packages on this machine, such as `qemu-img`.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn program(&self, name: &str) -> Result<std::process::Command> {
        self.prefix.program(name)
    }
}

/// A file that the user names in the environment.
fn from_environment(name: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    if !path.is_file() {
        bail!("{name}={}: there is no such file", path.display());
    }
    Ok(Some(path))
}
