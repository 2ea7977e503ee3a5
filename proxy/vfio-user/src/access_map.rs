//! ACCESS_MAP: what a client may do with accesses itself. `docs/vfio-user.md` specifies it.

use zerocopy::{FromBytes, IntoBytes};

use crate::WireError;
use crate::layout::{self, AccessEntryBytes, AccessMapBytes};

/// How a range of a region may be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// One byte that is kept in the register mirror.
    Mirrored {
        /// Its number there.
        register: u32,
        /// Bits that read back as written.
        through: u8,
        /// Bits that a 1 clears.
        clears: u8,
        /// Bits that do more if written as 1.
        opaque: u8,
    },
    /// Memory: an access has no effect but on it, and the client may map it into its guest.
    Memory {
        /// The reply's descriptor of that number is a memfd that holds the range from its start on.
        descriptor: u32,
    },
    /// One or two bytes that a read clears, aligned to their size.
    ReadToClear {
        /// The read-to-clear group's number.
        group: u32,
        /// The number of the mirrored register that says whether there is something.
        register: u8,
        /// Its bits that do.
        summary: u8,
    },
    /// What this crate does not know: not to be relied upon.
    Other {
        /// Its number.
        kind: u32,
        /// Its two words.
        words: [u32; 2],
    },
}

const MIRRORED: u32 = 1;
const MEMORY: u32 = 2;
const READ_TO_CLEAR: u32 = 3;

/// A range of a region and its treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The region.
    pub region: u32,
    /// Bytes from the region's start.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// What may be done.
    pub treatment: Treatment,
}

impl AccessEntry {
    fn from_bytes(bytes: AccessEntryBytes) -> Self {
        let words = [bytes.first.get(), bytes.second.get()];
        let treatment = match (bytes.kind.get(), words, words[1].to_le_bytes()) {
            (MIRRORED, [register, _], [through, clears, opaque, 0]) => Treatment::Mirrored {
                register,
                through,
                clears,
                opaque,
            },
            (MEMORY, [descriptor, 0], _) => Treatment::Memory { descriptor },
            (READ_TO_CLEAR, [group, _], [summary, register, 0, 0]) => Treatment::ReadToClear {
                group,
                register,
                summary,
            },
            (kind, words, _) => Treatment::Other { kind, words },
        };
        Self {
            region: bytes.region.get(),
            offset: bytes.offset.get(),
            size: bytes.size.get(),
            treatment,
        }
    }

    fn to_bytes(self) -> AccessEntryBytes {
        let (kind, [first, second]) = match self.treatment {
            Treatment::Mirrored {
                register,
                through,
                clears,
                opaque,
            } => {
                let bits = u32::from_le_bytes([through, clears, opaque, 0]);
                (MIRRORED, [register, bits])
            }
            Treatment::Memory { descriptor } => (MEMORY, [descriptor, 0]),
            Treatment::ReadToClear {
                group,
                register,
                summary,
            } => {
                let bits = u32::from_le_bytes([summary, register, 0, 0]);
                (READ_TO_CLEAR, [group, bits])
            }
            Treatment::Other { kind, words } => (kind, words),
        };
        AccessEntryBytes {
            kind: kind.into(),
            region: self.region.into(),
            offset: self.offset.into(),
            size: self.size.into(),
            first: first.into(),
            second: second.into(),
        }
    }
}

/// ACCESS_MAP's reply; descriptors: one for each range of memory, in the entries' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMap<'a> {
    /// The entries as they travel, 32 bytes each.
    entries: &'a [u8],
}

impl<'a> AccessMap<'a> {
    /// A map of entries that [`AccessMap::encode`] has made.
    ///
    /// # Errors
    /// [`WireError::Count`] for a part of an entry.
    pub fn new(entries: &'a [u8]) -> Result<Self, WireError> {
        if entries.len().is_multiple_of(size_of::<AccessEntryBytes>()) {
            Ok(Self { entries })
        } else {
            Err(WireError::Count {
                what: "ACCESS_MAP",
                count: 1,
                have: entries.len(),
            })
        }
    }

    /// The entries as they travel.
    #[must_use]
    pub fn encode(entries: &[AccessEntry]) -> Vec<u8> {
        let bytes: Vec<_> = entries.iter().map(|entry| entry.to_bytes()).collect();
        bytes.as_bytes().to_vec()
    }

    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = AccessEntry> {
        self.entries
            .chunks_exact(size_of::<AccessEntryBytes>())
            .filter_map(|bytes| AccessEntryBytes::read_from_bytes(bytes).ok())
            .map(AccessEntry::from_bytes)
    }

    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (head, entries) = layout::head::<AccessMapBytes>("ACCESS_MAP", payload)?;
        let map = Self::new(entries)?;
        if head.reserved.get() != 0 || u64::from(head.count.get()) != map.count() {
            return Err(WireError::Count {
                what: "ACCESS_MAP",
                count: head.count.get().into(),
                have: entries.len(),
            });
        }
        Ok(map)
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        let head = AccessMapBytes {
            count: count.into(),
            reserved: 0.into(),
        };
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(self.entries);
    }

    fn count(&self) -> u64 {
        (self.entries.len() / size_of::<AccessEntryBytes>()) as u64
    }
}
