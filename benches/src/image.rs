//! The disk that the demo reads: an ext4 file system with known files where e2fsprogs is there, a seeded pattern
//! otherwise, or the user's own image.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Bytes of the image that the demo makes.
pub const IMAGE_BYTES: u64 = 256 << 20;

/// The user's image cannot be a disk.
#[derive(Debug, thiserror::Error)]
#[error("--disk {}: {reason}: give a raw disk image that you may read", path.display())]
pub struct ImageError {
    path: PathBuf,
    reason: String,
}

/// A disk image.
#[derive(Debug)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// Its size, a multiple of 512.
    pub bytes: u64,
    /// What is on it, for people.
    pub contents: String,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

impl Image {
    /// Makes an image in `directory`.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn make(directory: &Path) -> Result<Self> {
        let path = directory.join("disk.img");
        let tree = directory.join("tree");
        write_tree(&tree)?;
        let contents = match make_ext4(&path, &tree) {
            Some(()) => "an ext4 file system with 16 files of known checksums".to_owned(),
            None => {
                write_pattern(&path)?;
                "a seeded pattern (mke2fs is not installed)".to_owned()
            }
        };
        Self::describe(path, contents)
    }

    /// Takes the user's own image.
    ///
    /// # Errors
    /// [`ImageError`] if it cannot be read, is empty, or its size is not a multiple of 512 bytes.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |reason: String| ImageError {
            path: path.to_owned(),
            reason,
        };
        let bytes = File::open(path)
            .and_then(|mut file| file.seek(SeekFrom::End(0)))
            .map_err(|error| refuse(error.to_string()))?;
        if bytes == 0 || bytes % 512 != 0 {
            return Err(refuse(format!("{bytes} bytes are no multiple of 512")).into());
        }
        Self::describe(path.to_owned(), "the image given".to_owned())
    }

    fn describe(path: PathBuf, contents: String) -> Result<Self> {
        let mut file =
            File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let bytes = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let sha256 = hash(&mut file)?;
        Ok(Self {
            path,
            bytes,
            contents,
            sha256,
        })
    }
}

fn hash(file: &mut File) -> Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Sixteen files, each with the SHA-256 of its bytes in its name.
fn write_tree(tree: &Path) -> Result<()> {
    fs::create_dir_all(tree)?;
    for seed in 1..=16_u64 {
        let mut bytes = vec![0; 1 << 20];
        fill(seed, &mut bytes);
        let name: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::write(tree.join(name), bytes)?;
    }
    Ok(())
}

fn make_ext4(path: &Path, tree: &Path) -> Option<()> {
    File::create(path).ok()?.set_len(IMAGE_BYTES).ok()?;
    // Debian keeps mke2fs in a directory that is not on every user's path.
    ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"]
        .iter()
        .find_map(|mke2fs| {
            let status = Command::new(mke2fs)
                .args(["-q", "-F", "-t", "ext4", "-d"])
                .args([tree, path])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success()).then_some(())
        })
}

fn write_pattern(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    for seed in 0..IMAGE_BYTES >> 20 {
        fill(seed + 1, &mut block);
        file.write_all(&block)?;
    }
    Ok(())
}

/// Fills `bytes` with a sequence that `seed` determines (xorshift64; `seed` is not 0).
pub fn fill(seed: u64, bytes: &mut [u8]) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}
