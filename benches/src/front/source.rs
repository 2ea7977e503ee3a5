//! A disk's bytes, for the emulator's command line and for a device in this process.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Result;
use outrigger_block::{Backend, FileOptions};
use rustix::fs::OFlags;

/// Where a disk's bytes are. Disks get the SCSI IDs from 0 on.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A raw image.
    File {
        /// Its path.
        path: PathBuf,
        /// Writes are refused.
        read_only: bool,
        /// Past the page cache.
        direct: bool,
    },
    /// The device's own memory.
    Memory {
        /// Bytes.
        bytes: u64,
    },
}

impl Source {
    /// A raw image, through the page cache.
    pub(crate) fn file(path: impl Into<PathBuf>, read_only: bool) -> Self {
        Self::File {
            path: path.into(),
            read_only,
            direct: false,
        }
    }

    /// As the emulator's command line says it.
    pub(super) fn blockdev(&self, node: &str) -> String {
        let on = |flag| if flag { "on" } else { "off" };
        match self {
            Self::File {
                path,
                read_only,
                direct,
            } => {
                // A comma in an option's value is written twice.
                let filename = path.display().to_string().replace(',', ",,");
                format!(
                    "driver=file,node-name={node},filename={filename},read-only={},cache.direct={}",
                    on(*read_only),
                    on(*direct)
                )
            }
            Self::Memory { bytes } => format!("driver=memory,node-name={node},size={bytes}"),
        }
    }

    /// For a device in this process.
    pub(super) fn open(&self) -> Result<Backend> {
        match self {
            Self::File {
                path,
                read_only,
                direct,
            } => {
                let mut options = File::options();
                options.read(true).write(!read_only);
                if *direct {
                    options.custom_flags(OFlags::DIRECT.bits().try_into()?);
                }
                let options_of_file = FileOptions {
                    read_only: *read_only,
                    direct: *direct,
                    ..FileOptions::default()
                };
                Ok(Backend::file(options.open(path)?, options_of_file)?)
            }
            Self::Memory { bytes } => Ok(Backend::memory(vec![0; usize::try_from(*bytes)?], false)),
        }
    }
}
