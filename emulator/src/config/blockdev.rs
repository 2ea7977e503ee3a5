//! `--blockdev`: where a disk's bytes live.
//!
//! A node can stand on others: an image in a format on its file, an image on its backing image. They are given within
//! it (`file.driver=file,file.filename=…`) or by the name of a node of their own (`file=NODE`); `link` puts the latter
//! where their name was.

mod link;
mod nbd;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::options::{OptionError, Options, Place, Problem};
pub(super) use link::link;
pub use nbd::{Nbd, Server};
pub use outrigger_block::Locking;

/// One block node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockdev {
    /// Where it was asked for.
    pub place: Place,
    /// Its name; empty for a node within another that has none.
    pub node_name: String,
    /// Writes are refused.
    pub read_only: bool,
    /// Discards are passed on.
    pub discard: bool,
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
        /// Whether to lock it.
        locking: Locking,
    },
    /// `driver=memory`: zeroes at start, gone at the end.
    Memory {
        /// Bytes.
        size: u64,
    },
    /// `driver=null-co`: keeps nothing.
    Null {
        /// Bytes.
        size: u64,
        /// Reads return zeroes instead of nothing.
        read_zeroes: bool,
    },
    /// `driver=nbd`: an export of an NBD server.
    Nbd(Nbd),
    /// `driver=raw`: another node as it is.
    Raw {
        /// The other node.
        file: Child,
    },
    /// `driver=qcow2`.
    Qcow2 {
        /// The image file.
        file: Child,
        /// What shows where the image has no data.
        backing: Backing,
        /// Where its data are, if not where the image says.
        data_file: Option<Child>,
    },
    /// `driver=vmdk`.
    Vmdk {
        /// The descriptor, or the file that has it within it.
        file: Child,
    },
}

/// A node that another one stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// A name, as long as nothing is linked.
    Name(String),
    /// The node.
    Node(Box<Blockdev>),
}

/// What shows where an image has no data of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// What the image names.
    AsNamed,
    /// Zeroes.
    None,
    /// This node.
    Child(Child),
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
    Null,
    Nbd,
    Raw,
    Qcow2,
    Vmdk,
}

const DRIVERS: [(&str, Driver); 7] = [
    ("file", Driver::File),
    ("memory", Driver::Memory),
    ("null-co", Driver::Null),
    ("nbd", Driver::Nbd),
    ("raw", Driver::Raw),
    ("qcow2", Driver::Qcow2),
    ("vmdk", Driver::Vmdk),
];

/// What a node takes over from the one above it where it does not say otherwise.
#[derive(Clone, Copy, Default)]
struct Inherited {
    read_only: bool,
    direct: bool,
}

impl Blockdev {
    pub(super) fn parse(options: Options) -> Result<Self, OptionError> {
        Self::node(options, None)
    }

    /// The names of files in this node and in those within it.
    pub fn files(&self) -> Vec<(&Place, &Path)> {
        if let Source::File { filename, .. } = &self.source {
            return vec![(&self.place, filename)];
        }
        let children = link::children(self).into_iter();
        let nodes = children.filter_map(|(_, child)| match child {
            Child::Node(node) => Some(node.files()),
            Child::Name(_) => None,
        });
        nodes.flatten().collect()
    }

    /// A node: one of its own, or one within another that leaves it something.
    fn node(mut options: Options, inherited: Option<Inherited>) -> Result<Self, OptionError> {
        options.required("driver", "file")?;
        let driver = options.choice("driver", &DRIVERS)?.unwrap_or(Driver::File);
        let is_nested = inherited.is_some();
        let inherited = inherited.unwrap_or_default();
        let read_only = options.switch("read-only")?.unwrap_or(inherited.read_only);
        let discard = options.choice("discard", &[("unmap", true), ("ignore", false)])?;
        options.choice("detect-zeroes", &[("off", ())])?;
        let direct = options.switch("cache.direct")?.unwrap_or(inherited.direct);
        let below = Inherited { read_only, direct };
        let source = match driver {
            Driver::Memory => {
                options.only(&known(&["size"]))?;
                options.required("size", "64M")?;
                Source::Memory {
                    size: size(&options)?.unwrap_or(SECTOR),
                }
            }
            Driver::Null => {
                options.only(&known(&["size", "read-zeroes"]))?;
                Source::Null {
                    size: size(&options)?.unwrap_or(1 << 30),
                    read_zeroes: options.switch("read-zeroes")?.unwrap_or(false),
                }
            }
            Driver::Nbd => Source::Nbd(Nbd::parse(&mut options)?),
            Driver::File => {
                options.only(&known(&["filename", "cache.direct", "aio", "locking"]))?;
                Source::File {
                    filename: options.required("filename", "disk.img")?.into(),
                    direct,
                    aio: options.choice(
                        "aio",
                        &[("io_uring", Aio::IoUring), ("threads", Aio::Threads)],
                    )?,
                    locking: options
                        .choice(
                            "locking",
                            &[
                                ("auto", Locking::Auto),
                                ("on", Locking::On),
                                ("off", Locking::Off),
                            ],
                        )?
                        .unwrap_or_default(),
                }
            }
            Driver::Raw => {
                let file = file(&mut options, below)?;
                options.only(&known(&["file", "cache.direct"]))?;
                Source::Raw { file }
            }
            Driver::Qcow2 => {
                let file = file(&mut options, below)?;
                let backing = backing(&mut options, below)?;
                let data_file = child(&mut options, "data-file", below)?;
                options.only(&known(&["file", "backing", "data-file", "cache.direct"]))?;
                Source::Qcow2 {
                    file,
                    backing,
                    data_file,
                }
            }
            Driver::Vmdk => {
                let file = file(&mut options, below)?;
                options.only(&known(&["file", "cache.direct"]))?;
                if !read_only {
                    return Err(options.place().error(Problem::refused(
                        "vmdk images can only be read",
                        "add read-only=on",
                    )));
                }
                Source::Vmdk { file }
            }
        };
        let node_name = match is_nested {
            false => options.required("node-name", "disk0")?,
            true => options.get("node-name").unwrap_or_default(),
        };
        Ok(Self {
            node_name: node_name.to_owned(),
            read_only,
            discard: discard.unwrap_or(true),
            source,
            place: options.place().clone(),
        })
    }
}

/// The keys of every driver, and these.
fn known(more: &[&'static str]) -> Vec<&'static str> {
    let every = [
        "driver",
        "node-name",
        "read-only",
        "discard",
        "detect-zeroes",
    ];
    every.iter().chain(more).copied().collect()
}

/// The disk's size, where it is the options' to say.
fn size(options: &Options) -> Result<Option<u64>, OptionError> {
    let size = options.size("size")?;
    match size {
        Some(size) if size == 0 || size % SECTOR != 0 || i64::try_from(size).is_err() => {
            let text = options.get("size").unwrap_or_default();
            Err(options.bad("size", text, format!("a multiple of {SECTOR}, more than 0")))
        }
        size => Ok(size),
    }
}

/// The node that the bytes of an image are in.
fn file(options: &mut Options, inherited: Inherited) -> Result<Child, OptionError> {
    match child(options, "file", inherited)? {
        Some(child) => Ok(child),
        None => {
            options.required("file", "NODE, or file.driver=file,file.filename=disk.img")?;
            Err(options.bad("file", "", "a node's name".to_owned()))
        }
    }
}

fn backing(options: &mut Options, inherited: Inherited) -> Result<Backing, OptionError> {
    if options.get("backing") == Some("") {
        return Ok(Backing::None);
    }
    // Nobody writes to what other images may stand on too.
    let inherited = Inherited {
        read_only: true,
        ..inherited
    };
    Ok(match child(options, "backing", inherited)? {
        Some(child) => Backing::Child(child),
        None => Backing::AsNamed,
    })
}

/// A node that this one stands on: by name or nested.
fn child(
    options: &mut Options,
    key: &'static str,
    inherited: Inherited,
) -> Result<Option<Child>, OptionError> {
    let nested = options.take_nested(key);
    match (options.get(key), nested) {
        (Some(_), Some(_)) => Err(options.place().error(Problem::Twice(key.to_owned()))),
        (Some(""), None) | (None, None) => Ok(None),
        (Some(name), None) => Ok(Some(Child::Name(name.to_owned()))),
        (None, Some(nested)) => {
            let node = Blockdev::node(nested, Some(inherited)).map_err(|it| it.within(key))?;
            Ok(Some(Child::Node(Box::new(node))))
        }
    }
}
