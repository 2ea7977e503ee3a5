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
mod emulator;
mod initramfs;
pub mod machine;
mod packages;
mod refusal;
pub mod transcript;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

pub use emulator::Emulator;
pub use machine::{Board, Machine, Running};
pub use refusal::Refusal;
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
    /// [`Refusal`] for a QEMU or a kernel of the user's that will not do. If apt has no Debian mirror to fetch from, or something
    /// cannot be built.
    pub fn open() -> Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .with_file_name("target")
            .join("guest");
        let qemu = from_environment("QEMU", "give the path of a qemu-system-x86_64")?;
        let own_kernel = from_environment("KERNEL", "give the path of a bzImage")?;
        if let Some(qemu) = &qemu {
            has_vfio_user(qemu)?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let lock = fs::File::create(directory.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let prefix = packages::fetch(&directory)?;
        let kernel = match own_kernel {
            Some(kernel) => kernel,
            None => prefix.kernel()?,
        };
        let initramfs = initramfs::build(&directory, &prefix, &kernel)?;
        Ok(Self {
            prefix,
            qemu,
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

/// A file that the user names in the environment; `mend` is what to give instead.
fn from_environment(name: &'static str, mend: &str) -> Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    if !path.is_file() {
        return Err(Refusal::new(name, &path, "there is no such file", mend).into());
    }
    Ok(Some(path))
}

/// Asks the user's QEMU for the device that everything hangs on.
fn has_vfio_user(qemu: &Path) -> Result<(), Refusal> {
    const MEND: &str = "name a qemu-system-x86_64 of version 10.1 or later";
    let refuse = |reason: &str| Refusal::new("QEMU", qemu, reason, MEND);
    let output = std::process::Command::new(qemu)
        .args(["-device", "help"])
        .output()
        .map_err(|error| refuse(&format!("cannot be run ({error})")))?;
    if !output.status.success() {
        return Err(refuse("does not list its devices"));
    }
    if !String::from_utf8_lossy(&output.stdout).contains("\"vfio-user-pci\"") {
        return Err(refuse("has no vfio-user-pci"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_that_will_not_do_is_refused_in_one_line() {
        for (path, reason) in [
            ("/bin/true", "has no vfio-user-pci"),
            ("/bin/false", "does not list its devices"),
            ("/etc/passwd", "cannot be run"),
        ] {
            let refusal = has_vfio_user(Path::new(path)).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("QEMU={path}: ")), "{refusal}");
            assert!(refusal.contains(reason), "{refusal}");
            assert!(refusal.contains("10.1 or later"), "{refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }
}
