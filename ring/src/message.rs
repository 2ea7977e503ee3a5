//! Step 4, ring: what travels, one guest access, as a value and as the 56 bytes behind a stamp.

use crate::error::Violation;
use crate::memory::Body;

/// Width of an access in bytes. A width that the wire names otherwise does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Width {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Word = 2,
    /// Four bytes.
    Dword = 4,
    /// Eight bytes.
    Qword = 8,
}

impl Width {
    /// The width in bytes: 1, 2, 4 or 8.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// The width of `bytes` bytes, if that is 1, 2, 4 or 8.
    #[must_use]
    #[inline]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Dword),
            8 => Some(Self::Qword),
            _ => None,
        }
    }

    /// All bits that a value of this width can have.
    #[must_use]
    #[inline]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Where one guest access goes: a region (vfio-user's numbers: 0-5 the BARs, 6 the ROM, 7 config
/// space), a byte offset in it, and a width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The region's number.
    pub region: u8,
    /// Bytes from the region's start.
    pub offset: u64,
    /// How many bytes.
    pub width: Width,
}

impl Access {
    /// The highest region number that travels: vfio-user's regions are 0 to 8.
    pub const MAX_REGION: u8 = 8;

    /// Whether the access can travel: a known region, and no byte beyond the 64-bit range.
    #[must_use]
    #[inline]
    pub const fn is_encodable(self) -> bool {
        self.region <= Self::MAX_REGION
            && self.offset.checked_add(self.width.bytes() as u64).is_some()
    }
}

/// What the device is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Give the value that is there.
    Read(Access),
    /// Take this value; bits above the access's width are zero.
    Write(Access, u64),
}

impl Request {
    /// Where it goes.
    #[must_use]
    #[inline]
    pub const fn access(self) -> Access {
        match self {
            Self::Read(access) | Self::Write(access, _) => access,
        }
    }

    /// The bits that an answer can have: none for a write.
    #[inline]
    pub(crate) const fn reply_mask(self) -> u64 {
        match self {
            Self::Read(access) => access.width.mask(),
            Self::Write(..) => 0,
        }
    }
}

/// A request with its place in the order: in a slot the ticket, in a mailbox the position of the
/// sender's own ring that must be consumed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) request: Request,
    pub(crate) order: u64,
    /// The tag of a posted write that clears a bit of a mirrored register: the count of events that
    /// its sender knew.
    pub(crate) seen: Option<u32>,
}

/// Bits of a register's count of events that travel in a tag and in the register mirror.
pub(crate) const EVENTS_MASK: u32 = (1 << 23) - 1;

/// Where a slot's body has the ticket.
pub(crate) const TICKET: usize = 3;

const WRITE: u64 = 1;
const READ: u64 = 2;

impl Message {
    /// Word 0: kind in bits 0-7, width in bytes in bits 8-15, region in bits 16-23, zero above.
    /// Word 1: offset. Word 2: value, zero for a read. Word 3: ticket or position. Word 4: the tag
    /// plus 1, else zero. Words 5 and 6: zero.
    #[inline]
    pub(crate) fn encode(self) -> Body {
        let (kind, value) = match self.request {
            Request::Write(_, value) => (WRITE, value),
            Request::Read(_) => (READ, 0),
        };
        let access = self.request.access();
        let head = kind | u64::from(access.width.bytes()) << 8 | u64::from(access.region) << 16;
        [
            head,
            access.offset,
            value & access.width.mask(),
            self.order,
            self.seen
                .map_or(0, |seen| u64::from(seen & EVENTS_MASK) + 1),
            0,
            0,
        ]
    }

    /// The message in `body`, if every field is in range.
    #[inline]
    pub(crate) fn decode(body: Body) -> Result<Self, Violation> {
        let [head, offset, value, order, tag, 0, 0] = body else {
            return Err(Violation::Message);
        };
        let [kind, width, region, 0, 0, 0, 0, 0] = head.to_le_bytes() else {
            return Err(Violation::Message);
        };
        let Some(width) = Width::from_bytes(width.into()) else {
            return Err(Violation::Message);
        };
        let access = Access {
            region,
            offset,
            width,
        };
        if !access.is_encodable() {
            return Err(Violation::Message);
        }
        let request = match (u64::from(kind), value) {
            (READ, 0) => Request::Read(access),
            (WRITE, value) if value & !width.mask() == 0 => Request::Write(access, value),
            _ => return Err(Violation::Message),
        };
        let seen = match (tag.checked_sub(1), request) {
            (None, _) => None,
            (Some(seen), Request::Write(..)) if seen <= EVENTS_MASK.into() => {
                u32::try_from(seen).ok()
            }
            _ => return Err(Violation::Message),
        };
        Ok(Self {
            request,
            order,
            seen,
        })
    }

    /// As [`Message::decode`], for a mailbox: nothing is tagged.
    #[inline]
    pub(crate) fn decode_waiting(body: Body) -> Result<Self, Violation> {
        let message = Self::decode(body)?;
        match message.seen {
            None => Ok(message),
            Some(_) => Err(Violation::Message),
        }
    }

    /// As [`Message::decode`], for a slot: only writes are posted.
    #[inline]
    pub(crate) fn decode_posted(body: Body) -> Result<Self, Violation> {
        let message = Self::decode(body)?;
        match message.request {
            Request::Write(..) => Ok(message),
            Request::Read(_) => Err(Violation::Message),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCESS: Access = Access {
        region: 2,
        offset: 0x1234,
        width: Width::Dword,
    };

    #[test]
    fn golden_bodies() {
        let write = Message {
            request: Request::Write(ACCESS, 0xdead_beef),
            order: 7,
            seen: None,
        };
        assert_eq!(
            write.encode(),
            [0x0002_0401, 0x1234, 0xdead_beef, 7, 0, 0, 0]
        );
        let read = Message {
            request: Request::Read(ACCESS),
            order: 9,
            seen: None,
        };
        assert_eq!(read.encode(), [0x0002_0402, 0x1234, 0, 9, 0, 0, 0]);
        let tagged = Message {
            seen: Some(4),
            ..write
        };
        assert_eq!(
            tagged.encode(),
            [0x0002_0401, 0x1234, 0xdead_beef, 7, 5, 0, 0]
        );
        assert_eq!(Message::decode_posted(tagged.encode()), Ok(tagged));
        assert_eq!(
            Message::decode_waiting(tagged.encode()),
            Err(Violation::Message)
        );
    }

    #[test]
    fn every_field_is_checked() {
        let good = Message {
            request: Request::Write(ACCESS, 1),
            order: 0,
            seen: None,
        }
        .encode();
        assert!(Message::decode(good).is_ok());
        let bad = [
            (0, 0x0002_0400),           // kind
            (0, 0x0002_0403),           // kind
            (0, 0x0002_0301),           // width
            (0, 0x0002_0001),           // width
            (0, 0x0009_0401),           // region
            (0, 0x0102_0401),           // reserved bits
            (0, 0x8000_0000_0002_0401), // reserved bits
            (1, u64::MAX),              // offset and width overflow
            (1, u64::MAX - 3),          // offset and width overflow
            (2, 0x1_0000_0000),         // value wider than the access
            (4, 0x80_0001),             // a tag of 24 bits
            (5, 1),
            (6, 1),
        ];
        for (word, value) in bad {
            let mut body = good;
            body[word] = value;
            assert_eq!(
                Message::decode(body),
                Err(Violation::Message),
                "word {word} {value:#x}"
            );
        }
        let read_with_value = [0x0002_0402, 0x1234, 1, 0, 0, 0, 0];
        assert_eq!(Message::decode(read_with_value), Err(Violation::Message));
        let tagged_read = [0x0002_0402, 0x1234, 0, 0, 1, 0, 0];
        assert_eq!(Message::decode(tagged_read), Err(Violation::Message));
        let posted_read = [0x0002_0402, 0x1234, 0, 0, 0, 0, 0];
        assert_eq!(Message::decode_posted(posted_read), Err(Violation::Message));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_back(mut body in any::<[u64; 7]>(), kind in 0_u64..4, width in 0_u64..10, region in 0_u64..12) {
            prop_assert_eq!(Message::decode(body).ok().map(Message::encode), Message::decode(body).ok().map(|_| body));
            body[0] = kind | width << 8 | region << 16;
            body[4..].fill(0);
            body[2] &= 0xff;
            if let Ok(message) = Message::decode(body) {
                prop_assert_eq!(message.encode(), body);
            }
        }
    }
}
