//! `--blockdev`: where a disk's bytes live.

use std::path::PathBuf;

use super::options::{OptionError, Options, Place};

/// One block node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockdev {
    /// Where it was asked for.
    pub place: Place,
    /// Its name.
    pub node_name: String,
    /// Writes are refused.
    pub read_only: bool,
    /// Where its bytes are.
    pub source: Source,
}

/// Where a node's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `driver=file`: a raw image or a block device.
    File {
        /// Its path.
        filename: PathBuf,
        /// Past the page cache (O_DIRECT).
        direct: bool,
        /// How requests reach the kernel; `None`: io_uring where the kernel allows it, threads elsewhere.
        aio: Option<Aio>,
    },
    /// `driver=memory`: zeroes at start, gone at the end.
    Memory {
        /// Bytes.
        size: u64,
    },
}

/// How requests reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aio {
    /// io_uring.
    IoUring,
    /// A pool of threads.
    Threads,
}

/// The smallest unit of a disk: a memory disk has a whole number of these.
const SECTOR: u64 = 512;

/// What `driver` can be.
#[derive(Clone, Copy)]
enum Driver {
    File,
    Memory,
}

impl Blockdev {
    pub(super) fn parse(options: Options) -> Result<Self, OptionError> {
        options.required("driver", "file")?;
        let driver = options.choice(
            "driver",
            &[("file", Driver::File), ("memory", Driver::Memory)],
        )?;
        let source = match driver {
            Some(Driver::Memory) => {
                options.only(&["driver", "node-name", "size", "read-only"])?;
                let text = options.required("size", "64M")?;
                match options.size("size")? {
                    Some(size) if size > 0 && size % SECTOR == 0 => Source::Memory { size },
                    _ => {
                        return Err(options.bad(
                            "size",
                            text,
                            format!("a multiple of {SECTOR}, more than 0"),
                        ));
                    }
                }
            }
            _ => {
                options.only(&[
                    "driver",
                    "node-name",
                    "filename",
                    "read-only",
                    "cache.direct",
                    "aio",
                ])?;
                Source::File {
                    filename: options.required("filename", "disk.img")?.into(),
                    direct: options.switch("cache.direct")?.unwrap_or(false),
                    aio: options.choice(
                        "aio",
                        &[("io_uring", Aio::IoUring), ("threads", Aio::Threads)],
                    )?,
                }
            }
        };
        Ok(Self {
            node_name: options.required("node-name", "disk0")?.to_owned(),
            read_only: options.switch("read-only")?.unwrap_or(false),
            source,
            place: options.place().clone(),
        })
    }
}
