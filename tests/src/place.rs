//! A directory of a test's own, and the disk images in it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub struct Place(TempDir);

/// A disk: a raw image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// The guest must not write to it.
    pub read_only: bool,
}

impl Place {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes something")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A disk with these bytes.
    #[must_use]
    pub fn image(&self, name: &str, bytes: &[u8]) -> Image {
        let path = self.path(name);
        fs::write(&path, bytes).expect("room for an image");
        Image {
            path,
            read_only: false,
        }
    }
}

impl Image {
    /// The same disk, not to be written to.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// What is on it now.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("the image")
    }
}
