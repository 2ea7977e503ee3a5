//! DEVICE_GET_REGION_INFO, DEVICE_GET_REGION_IO_FDS, REGION_READ, REGION_WRITE and REGION_WRITE_MULTI.

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{
    self, InfoBytes, RegionAccessBytes, RegionInfoBytes, WriteEntryBytes, WriteMultiBytes,
};

bitflags::bitflags! {
    /// What can be done with a region. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RegionFlags: u32 {
        /// It can be read.
        const READ = 1;
        /// It can be written.
        const WRITE = 2;
        /// It can be mapped, from the descriptor that comes with the reply.
        const MMAP = 4;
        /// Capabilities follow the fixed part.
        const CAPS = 8;
        const _ = !0;
    }
}

/// DEVICE_GET_REGION_INFO's and DEVICE_GET_REGION_IO_FDS's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionQuery {
    /// Payload bytes of a reply that the client has room for.
    pub room: u32,
    /// The region.
    pub index: u32,
}

impl RegionQuery {
    pub(crate) fn parse_info(payload: &[u8]) -> Result<Self, WireError> {
        let (info, _) = layout::head::<RegionInfoBytes>("DEVICE_GET_REGION_INFO", payload)?;
        Ok(Self {
            room: info.argsz.get(),
            index: info.index.get(),
        })
    }

    pub(crate) fn emit_info(&self, into: &mut Vec<u8>) {
        let info = RegionInfoBytes {
            argsz: self.room.into(),
            flags: 0.into(),
            index: self.index.into(),
            cap_offset: 0.into(),
            size: 0.into(),
            offset: 0.into(),
        };
        into.extend_from_slice(info.as_bytes());
    }

    pub(crate) fn parse_io_fds(payload: &[u8]) -> Result<Self, WireError> {
        let (info, _) = layout::head::<InfoBytes>("DEVICE_GET_REGION_IO_FDS", payload)?;
        Ok(Self {
            room: info.argsz.get(),
            index: info.third.get(),
        })
    }

    pub(crate) fn emit_io_fds(&self, into: &mut Vec<u8>) {
        let info = InfoBytes {
            argsz: self.room.into(),
            flags: 0.into(),
            third: self.index.into(),
            fourth: 0.into(),
        };
        into.extend_from_slice(info.as_bytes());
    }
}

/// DEVICE_GET_REGION_INFO's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo<'a> {
    /// What can be done with it.
    pub flags: RegionFlags,
    /// The region.
    pub index: u32,
    /// Where the capabilities start, from the start of the payload; 0 without.
    pub cap_offset: u32,
    /// Bytes; 0 if the region does not exist.
    pub size: u64,
    /// Offset in the descriptor that comes with the reply.
    pub offset: u64,
    /// The capabilities, unparsed.
    pub capabilities: &'a [u8],
}

impl<'a> RegionInfo<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (info, capabilities) =
            layout::head::<RegionInfoBytes>("DEVICE_GET_REGION_INFO", payload)?;
        Ok(Self {
            flags: RegionFlags::from_bits_retain(info.flags.get()),
            index: info.index.get(),
            cap_offset: info.cap_offset.get(),
            size: info.size.get(),
            offset: info.offset.get(),
            capabilities,
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let info = RegionInfoBytes {
            argsz: layout::count(
                size_of::<RegionInfoBytes>().saturating_add(self.capabilities.len()),
            )
            .into(),
            flags: self.flags.bits().into(),
            index: self.index.into(),
            cap_offset: self.cap_offset.into(),
            size: self.size.into(),
            offset: self.offset.into(),
        };
        into.extend_from_slice(info.as_bytes());
        into.extend_from_slice(self.capabilities);
    }
}

/// A REGION_READ's request, a REGION_WRITE's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionRange {
    /// The region.
    pub region: u32,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes.
    pub count: u32,
}

impl RegionRange {
    pub(crate) fn parse(what: &'static str, payload: &[u8]) -> Result<Self, WireError> {
        let range = layout::whole::<RegionAccessBytes>(what, payload)?;
        Ok(Self {
            region: range.region.get(),
            offset: range.offset.get(),
            count: range.count.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let range = RegionAccessBytes {
            offset: self.offset.into(),
            region: self.region.into(),
            count: self.count.into(),
        };
        into.extend_from_slice(range.as_bytes());
    }
}

/// A REGION_WRITE's request, a REGION_READ's reply. The count is the data's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionData<'a> {
    /// The region.
    pub region: u32,
    /// Bytes from its start.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> RegionData<'a> {
    pub(crate) fn parse(what: &'static str, payload: &'a [u8]) -> Result<Self, WireError> {
        let (head, data) = layout::head::<RegionAccessBytes>(what, payload)?;
        let count = head.count.get();
        if usize::try_from(count) != Ok(data.len()) {
            return Err(WireError::Count {
                what,
                count: count.into(),
                have: data.len(),
            });
        }
        Ok(Self {
            region: head.region.get(),
            offset: head.offset.get(),
            data,
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let count = layout::count(self.data.len());
        RegionRange {
            region: self.region,
            offset: self.offset,
            count,
        }
        .emit(into);
        into.extend_from_slice(self.data);
    }
}

/// One write of a REGION_WRITE_MULTI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionWriteEntry {
    /// The region.
    pub region: u32,
    /// Bytes from its start.
    pub offset: u64,
    /// How many of `data`'s bytes; more than 8 is for the server to refuse.
    pub count: u32,
    /// The bytes.
    pub data: [u8; 8],
}

impl RegionWriteEntry {
    pub(crate) fn parse_all(payload: &[u8]) -> Result<Vec<Self>, WireError> {
        const WHAT: &str = "REGION_WRITE_MULTI";
        let (head, mut rest) = layout::head::<WriteMultiBytes>(WHAT, payload)?;
        let count = head.count.get();
        // Checked against the bytes that are there before anything is reserved.
        let fits = usize::try_from(count)
            .ok()
            .and_then(|n| n.checked_mul(size_of::<WriteEntryBytes>()));
        if fits != Some(rest.len()) {
            return Err(WireError::Count {
                what: WHAT,
                count,
                have: rest.len(),
            });
        }
        let mut writes = Vec::with_capacity(rest.len() / size_of::<WriteEntryBytes>());
        while !rest.is_empty() {
            let (entry, after) = layout::head::<WriteEntryBytes>(WHAT, rest)?;
            writes.push(Self {
                region: entry.region.get(),
                offset: entry.offset.get(),
                count: entry.count.get(),
                data: entry.data,
            });
            rest = after;
        }
        Ok(writes)
    }

    pub(crate) fn emit_all(writes: &[Self], into: &mut Vec<u8>) {
        let count = u64::try_from(writes.len()).unwrap_or(u64::MAX);
        into.extend_from_slice(
            WriteMultiBytes {
                count: count.into(),
            }
            .as_bytes(),
        );
        for write in writes {
            let entry = WriteEntryBytes {
                offset: write.offset.into(),
                region: write.region.into(),
                count: write.count.into(),
                data: write.data,
            };
            into.extend_from_slice(entry.as_bytes());
        }
    }
}
