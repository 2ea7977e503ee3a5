//! What travels: one guest access, as a value.

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
    pub const fn bytes(self) -> u8 {
        self as u8
    }

    /// The width of `bytes` bytes, if that is 1, 2, 4 or 8.
    #[must_use]
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
