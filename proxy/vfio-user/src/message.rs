//! A whole message: the header and a checked view of the bytes.

use std::fmt;

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, HeaderBytes};

/// Bytes in a header.
pub const HEADER_SIZE: usize = size_of::<HeaderBytes>();

/// A command's number. Any number can arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Command(pub u16);

impl Command {
    /// Protocol version and capabilities; the first message.
    pub const VERSION: Self = Self(1);
    /// Offers a range of guest RAM.
    pub const DMA_MAP: Self = Self(2);
    /// Takes a range of guest RAM away.
    pub const DMA_UNMAP: Self = Self(3);
    /// What the device is.
    pub const DEVICE_GET_INFO: Self = Self(4);
    /// What a region is.
    pub const DEVICE_GET_REGION_INFO: Self = Self(5);
    /// ioeventfds of a region.
    pub const DEVICE_GET_REGION_IO_FDS: Self = Self(6);
    /// What an interrupt index is.
    pub const DEVICE_GET_IRQ_INFO: Self = Self(7);
    /// Wires, masks, unmasks or triggers interrupts.
    pub const DEVICE_SET_IRQS: Self = Self(8);
    /// Reads a region.
    pub const REGION_READ: Self = Self(9);
    /// Writes a region.
    pub const REGION_WRITE: Self = Self(10);
    /// Server to client: reads guest RAM.
    pub const DMA_READ: Self = Self(11);
    /// Server to client: writes guest RAM.
    pub const DMA_WRITE: Self = Self(12);
    /// Resets the device.
    pub const DEVICE_RESET: Self = Self(13);
    /// The withdrawn first form of dirty-page tracking.
    pub const DIRTY_PAGES: Self = Self(14);
    /// Several small region writes in one message.
    pub const REGION_WRITE_MULTI: Self = Self(15);
    /// Vendor command: attaches rings in shared memory.
    pub const RING_SETUP: Self = Self(0x4f01);
    /// Vendor command: hands over the rings' reply doorbells.
    pub const RING_DOORBELLS: Self = Self(0x4f02);
    /// Vendor command: asks what the client may do with accesses itself.
    pub const ACCESS_MAP: Self = Self(0x4f03);

    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::VERSION => "VERSION",
            Self::DMA_MAP => "DMA_MAP",
            Self::DMA_UNMAP => "DMA_UNMAP",
            Self::DEVICE_GET_INFO => "DEVICE_GET_INFO",
            Self::DEVICE_GET_REGION_INFO => "DEVICE_GET_REGION_INFO",
            Self::DEVICE_GET_REGION_IO_FDS => "DEVICE_GET_REGION_IO_FDS",
            Self::DEVICE_GET_IRQ_INFO => "DEVICE_GET_IRQ_INFO",
            Self::DEVICE_SET_IRQS => "DEVICE_SET_IRQS",
            Self::REGION_READ => "REGION_READ",
            Self::REGION_WRITE => "REGION_WRITE",
            Self::DMA_READ => "DMA_READ",
            Self::DMA_WRITE => "DMA_WRITE",
            Self::DEVICE_RESET => "DEVICE_RESET",
            Self::DIRTY_PAGES => "DIRTY_PAGES",
            Self::REGION_WRITE_MULTI => "REGION_WRITE_MULTI",
            Self::RING_SETUP => "RING_SETUP",
            Self::RING_DOORBELLS => "RING_DOORBELLS",
            Self::ACCESS_MAP => "ACCESS_MAP",
            Self(_) => return None,
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

bitflags::bitflags! {
    /// The header's flags above the message type. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HeaderFlags: u32 {
        /// The sender of this command wants no reply.
        const NO_REPLY = 0x10;
        /// The reply reports an error.
        const ERROR = 0x20;
        const _ = !0;
    }
}

/// The low four bits of the header's flags.
const KIND_MASK: u32 = 0xf;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Type 0.
    Command,
    /// Type 1.
    Reply,
}

/// A message's header, without its size: that is the message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the sender of a command, repeated in its reply.
    pub id: u16,
    /// What it asks or answers.
    pub command: Command,
    /// Which of the two.
    pub kind: Kind,
    /// The other flags.
    pub flags: HeaderFlags,
    /// An errno, in error replies.
    pub errno: u32,
}

impl Header {
    /// The header of a command.
    #[must_use]
    pub fn command(id: u16, command: Command, no_reply: bool) -> Self {
        let flags = if no_reply {
            HeaderFlags::NO_REPLY
        } else {
            HeaderFlags::empty()
        };
        Self {
            id,
            command,
            kind: Kind::Command,
            flags,
            errno: 0,
        }
    }

    /// The header of a reply that reports success.
    #[must_use]
    pub fn reply(id: u16, command: Command) -> Self {
        Self {
            id,
            command,
            kind: Kind::Reply,
            flags: HeaderFlags::empty(),
            errno: 0,
        }
    }

    /// The header of a reply that reports a failure.
    #[must_use]
    pub fn error(id: u16, command: Command, errno: u32) -> Self {
        Self {
            id,
            command,
            kind: Kind::Reply,
            flags: HeaderFlags::ERROR,
            errno,
        }
    }

    /// A message with this header and the payload that `payload` appends.
    pub(crate) fn emit_with(&self, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_SIZE];
        payload(&mut bytes);
        let kind = match self.kind {
            Kind::Command => 0,
            Kind::Reply => 1,
        };
        let header = HeaderBytes {
            id: self.id.into(),
            command: self.command.0.into(),
            size: layout::count(bytes.len()).into(),
            flags: (self.flags.bits() & !KIND_MASK | kind).into(),
            error: self.errno.into(),
        };
        // The prefix was made above, so this cannot fail.
        let _ = header.write_to_prefix(&mut bytes);
        bytes
    }

    /// A message with this header and payload.
    #[must_use]
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        self.emit_with(|bytes| bytes.extend_from_slice(payload))
    }
}

/// The size of the message whose first [`HEADER_SIZE`] bytes are `header`, if it is between the header's own size and `limit`.
pub(crate) fn announced_size(header: &[u8], limit: usize) -> Result<usize, WireError> {
    let (header, _) = layout::head::<HeaderBytes>("header", header)?;
    let size = header.size.get();
    match usize::try_from(size) {
        Ok(bytes) if (HEADER_SIZE..=limit).contains(&bytes) => Ok(bytes),
        _ => Err(WireError::Limit { size, limit }),
    }
}

/// A message: bytes whose header is whole, whose type is known and whose size is what the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    header: Header,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Checks `bytes`, which must be one message and nothing else.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::Size`], or [`WireError::Kind`] for a type other than command and reply.
    pub fn new(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (header, payload) = layout::head::<HeaderBytes>("header", bytes)?;
        let size = header.size.get();
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(WireError::Size {
                size,
                have: bytes.len(),
            });
        }
        let flags = header.flags.get();
        let kind = match flags & KIND_MASK {
            0 => Kind::Command,
            1 => Kind::Reply,
            other => return Err(WireError::Kind(other)),
        };
        let header = Header {
            id: header.id.get(),
            command: Command(header.command.get()),
            kind,
            flags: HeaderFlags::from_bits_retain(flags & !KIND_MASK),
            errno: header.error.get(),
        };
        Ok(Self { header, payload })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The message's bytes.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        self.header.emit(self.payload)
    }
}
