//! DMA_MAP, DMA_UNMAP, DMA_READ and DMA_WRITE.

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, DmaAccessBytes, DmaMapBytes, DmaUnmapBytes};

bitflags::bitflags! {
    /// What the device may do with a range. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DmaMapFlags: u32 {
        /// The device may read it.
        const READ = 1;
        /// The device may write it.
        const WRITE = 2;
        const _ = !0;
    }

    /// How to unmap. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DmaUnmapFlags: u32 {
        /// The reply shall carry a bitmap of dirty pages.
        const DIRTY_BITMAP = 1;
        /// Every range; address and size are 0.
        const ALL = 2;
        const _ = !0;
    }
}

/// DMA_MAP: a range of guest RAM. The file that backs it comes as a descriptor, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaMap {
    /// Rights.
    pub flags: DmaMapFlags,
    /// Where in the file it starts.
    pub offset: u64,
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

impl DmaMap {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (map, _) = layout::head::<DmaMapBytes>("DMA_MAP", payload)?;
        Ok(Self {
            flags: DmaMapFlags::from_bits_retain(map.flags.get()),
            offset: map.offset.get(),
            address: map.address.get(),
            size: map.size.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let map = DmaMapBytes {
            argsz: layout::count(size_of::<DmaMapBytes>()).into(),
            flags: self.flags.bits().into(),
            offset: self.offset.into(),
            address: self.address.into(),
            size: self.size.into(),
        };
        into.extend_from_slice(map.as_bytes());
    }
}

/// DMA_UNMAP, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaUnmap {
    /// How.
    pub flags: DmaUnmapFlags,
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

impl DmaUnmap {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (unmap, _) = layout::head::<DmaUnmapBytes>("DMA_UNMAP", payload)?;
        Ok(Self {
            flags: DmaUnmapFlags::from_bits_retain(unmap.flags.get()),
            address: unmap.address.get(),
            size: unmap.size.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let unmap = DmaUnmapBytes {
            argsz: layout::count(size_of::<DmaUnmapBytes>()).into(),
            flags: self.flags.bits().into(),
            address: self.address.into(),
            size: self.size.into(),
        };
        into.extend_from_slice(unmap.as_bytes());
    }
}

/// A DMA_READ's request, a DMA_WRITE's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaRange {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub count: u64,
}

impl DmaRange {
    pub(crate) fn parse(what: &'static str, payload: &[u8]) -> Result<Self, WireError> {
        let range = layout::whole::<DmaAccessBytes>(what, payload)?;
        Ok(Self {
            address: range.address.get(),
            count: range.count.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let range = DmaAccessBytes {
            address: self.address.into(),
            count: self.count.into(),
        };
        into.extend_from_slice(range.as_bytes());
    }
}

/// A DMA_WRITE's request, a DMA_READ's reply. The count is the data's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaData<'a> {
    /// Guest-physical address.
    pub address: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> DmaData<'a> {
    pub(crate) fn parse(what: &'static str, payload: &'a [u8]) -> Result<Self, WireError> {
        let (head, data) = layout::head::<DmaAccessBytes>(what, payload)?;
        let count = head.count.get();
        if u64::try_from(data.len()) != Ok(count) {
            return Err(WireError::Count {
                what,
                count,
                have: data.len(),
            });
        }
        Ok(Self {
            address: head.address.get(),
            data,
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let count = u64::try_from(self.data.len()).unwrap_or(u64::MAX);
        DmaRange {
            address: self.address,
            count,
        }
        .emit(into);
        into.extend_from_slice(self.data);
    }
}
