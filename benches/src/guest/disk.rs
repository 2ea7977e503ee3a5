//! The disk that both sides use: one made for the occasion, or the user's, which nothing here ever writes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Result;
use outrigger_tests::guest::Refusal;
use tempfile::TempDir;

/// Bytes of the disk that is made.
const DISK_BYTES: u64 = 256 << 20;

/// The least that all reading jobs can work with.
const LEAST_BYTES: u64 = 1 << 20;

/// A raw image.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    /// It is the user's: both QEMU and the emulator open it read-only, and no job writes.
    pub(super) read_only: bool,
    /// For people.
    pub(super) description: String,
    /// Where it was made.
    _directory: Option<TempDir>,
}

impl Disk {
    /// The user's image at `path`, or a new one.
    ///
    /// # Errors
    /// [`Refusal`] if the user's will not do.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => Ok(Self::own(path)?),
            None => Self::make(),
        }
    }

    fn own(given: &Path) -> Result<Self, Refusal> {
        let refuse = |reason: String| {
            const MEND: &str =
                "name a raw disk image or a block device that you may read, of 1 MiB or more";
            Refusal::new("DISK", given, reason, MEND)
        };
        let io = |error: std::io::Error| refuse(error.to_string());
        let path = given.canonicalize().map_err(io)?;
        let mut file = File::open(&path).map_err(io)?;
        let mut magic = Vec::new();
        file.by_ref().take(4).read_to_end(&mut magic).map_err(io)?;
        if magic == b"QFI\xfb" || magic == b"KDMV" {
            return Err(refuse("is an image in a format, not a raw one".to_owned()));
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(io)?;
        if bytes < LEAST_BYTES || bytes % 512 != 0 {
            return Err(refuse(format!(
                "{bytes} bytes are too few or no multiple of 512"
            )));
        }
        Ok(Self {
            description: format!(
                "{}, {} MiB, read-only: the writing jobs are left out",
                path.display(),
                bytes >> 20
            ),
            path,
            read_only: true,
            _directory: None,
        })
    }

    /// In memory, where that is to be had: the controllers are compared, not what is below them.
    fn make() -> Result<Self> {
        let directory = match Path::new("/dev/shm") {
            memory if memory.is_dir() => tempfile::tempdir_in(memory)?,
            _ => tempfile::tempdir()?,
        };
        let path = directory.path().join("disk.img");
        // Written through, so that no read finds a hole.
        let mut contents = std::io::repeat(0x5a).take(DISK_BYTES);
        std::io::copy(&mut contents, &mut File::create(&path)?)?;
        Ok(Self {
            description: format!("a raw disk of {} MiB in memory", DISK_BYTES >> 20),
            path,
            read_only: false,
            _directory: Some(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_disk_is_read_only_or_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, contents: &[u8], bytes: u64| {
            let path = directory.path().join(name);
            std::fs::write(&path, contents).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(bytes).unwrap();
            path
        };
        let good = Disk::open(Some(&file("good", b"", 1 << 20))).unwrap();
        assert!(good.read_only);
        for path in [
            file("empty", b"", 0),
            file("odd", b"", (1 << 20) + 1),
            file("qcow2", b"QFI\xfb", 1 << 20),
            directory.path().to_owned(),
            directory.path().join("absent"),
        ] {
            let error = Disk::open(Some(&path)).unwrap_err();
            assert!(error.is::<Refusal>(), "{error}");
            let text = error.to_string();
            assert!(text.starts_with("DISK=") && !text.contains('\n'), "{text}");
        }
    }
}
