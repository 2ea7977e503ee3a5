//! What a client asks: every command as a value.

use crate::WireError;
use crate::device::DeviceInfo;
use crate::dma::{DmaData, DmaMap, DmaRange, DmaUnmap};
use crate::irq::{IrqInfo, IrqInfoFlags, SetIrqs};
use crate::layout;
use crate::message::{Command, Header, Kind, Message};
use crate::region::{RegionData, RegionQuery, RegionRange, RegionWriteEntry};
use crate::vendor::{RingDoorbells, RingSetup};
use crate::version::Version;

/// A command's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// VERSION.
    Version(Version<'a>),
    /// DMA_MAP; at most one descriptor.
    DmaMap(DmaMap),
    /// DMA_UNMAP.
    DmaUnmap(DmaUnmap),
    /// DEVICE_GET_INFO.
    DeviceInfo,
    /// DEVICE_GET_REGION_INFO.
    RegionInfo(RegionQuery),
    /// DEVICE_GET_REGION_IO_FDS.
    RegionIoFds(RegionQuery),
    /// DEVICE_GET_IRQ_INFO of this interrupt index.
    IrqInfo(u32),
    /// DEVICE_SET_IRQS; descriptors as its flags say.
    SetIrqs(SetIrqs<'a>),
    /// REGION_READ.
    RegionRead(RegionRange),
    /// REGION_WRITE.
    RegionWrite(RegionData<'a>),
    /// DMA_READ.
    DmaRead(DmaRange),
    /// DMA_WRITE.
    DmaWrite(DmaData<'a>),
    /// DEVICE_RESET.
    DeviceReset,
    /// REGION_WRITE_MULTI.
    RegionWriteMulti(Vec<RegionWriteEntry>),
    /// RING_SETUP; two descriptors.
    RingSetup(RingSetup),
    /// RING_DOORBELLS; as many descriptors as it counts.
    RingDoorbells(RingDoorbells),
    /// ACCESS_MAP.
    AccessMap,
    /// A command that this crate does not know.
    Other {
        /// Its number.
        command: Command,
        /// Its payload.
        payload: &'a [u8],
    },
}

impl<'a> Request<'a> {
    /// The value of a message that is a command. Structures that say their own size (`argsz`) may be
    /// longer than known here: the rest is ignored, as the specification extends them that way.
    ///
    /// # Errors
    /// [`WireError::Kind`] for a reply; [`WireError::Truncated`], [`WireError::Trailing`] or
    /// [`WireError::Count`] if the payload is not the command's.
    pub fn parse(message: Message<'a>) -> Result<Self, WireError> {
        let header = message.header();
        if header.kind != Kind::Command {
            return Err(WireError::Kind(1));
        }
        let payload = message.payload();
        Ok(match header.command {
            Command::VERSION => Self::Version(Version::parse(payload)?),
            Command::DMA_MAP => Self::DmaMap(DmaMap::parse(payload)?),
            Command::DMA_UNMAP => Self::DmaUnmap(DmaUnmap::parse(payload)?),
            Command::DEVICE_GET_INFO => DeviceInfo::parse(payload).map(|_| Self::DeviceInfo)?,
            Command::DEVICE_GET_REGION_INFO => Self::RegionInfo(RegionQuery::parse_info(payload)?),
            Command::DEVICE_GET_REGION_IO_FDS => {
                Self::RegionIoFds(RegionQuery::parse_io_fds(payload)?)
            }
            Command::DEVICE_GET_IRQ_INFO => Self::IrqInfo(IrqInfo::parse(payload)?.index),
            Command::DEVICE_SET_IRQS => Self::SetIrqs(SetIrqs::parse(payload)?),
            Command::REGION_READ => Self::RegionRead(RegionRange::parse("REGION_READ", payload)?),
            Command::REGION_WRITE => Self::RegionWrite(RegionData::parse("REGION_WRITE", payload)?),
            Command::DMA_READ => Self::DmaRead(DmaRange::parse("DMA_READ", payload)?),
            Command::DMA_WRITE => Self::DmaWrite(DmaData::parse("DMA_WRITE", payload)?),
            Command::DEVICE_RESET => {
                layout::empty("DEVICE_RESET", payload).map(|()| Self::DeviceReset)?
            }
            Command::REGION_WRITE_MULTI => {
                Self::RegionWriteMulti(RegionWriteEntry::parse_all(payload)?)
            }
            Command::RING_SETUP => Self::RingSetup(RingSetup::parse(payload)?),
            Command::RING_DOORBELLS => Self::RingDoorbells(RingDoorbells::parse(payload)?),
            Command::ACCESS_MAP => {
                layout::empty("ACCESS_MAP", payload).map(|()| Self::AccessMap)?
            }
            command => Self::Other { command, payload },
        })
    }

    /// The command's number.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Version(_) => Command::VERSION,
            Self::DmaMap(_) => Command::DMA_MAP,
            Self::DmaUnmap(_) => Command::DMA_UNMAP,
            Self::DeviceInfo => Command::DEVICE_GET_INFO,
            Self::RegionInfo(_) => Command::DEVICE_GET_REGION_INFO,
            Self::RegionIoFds(_) => Command::DEVICE_GET_REGION_IO_FDS,
            Self::IrqInfo(_) => Command::DEVICE_GET_IRQ_INFO,
            Self::SetIrqs(_) => Command::DEVICE_SET_IRQS,
            Self::RegionRead(_) => Command::REGION_READ,
            Self::RegionWrite(_) => Command::REGION_WRITE,
            Self::DmaRead(_) => Command::DMA_READ,
            Self::DmaWrite(_) => Command::DMA_WRITE,
            Self::DeviceReset => Command::DEVICE_RESET,
            Self::RegionWriteMulti(_) => Command::REGION_WRITE_MULTI,
            Self::RingSetup(_) => Command::RING_SETUP,
            Self::RingDoorbells(_) => Command::RING_DOORBELLS,
            Self::AccessMap => Command::ACCESS_MAP,
            Self::Other { command, .. } => *command,
        }
    }

    /// The message for this value.
    #[must_use]
    pub fn emit(&self, id: u16, no_reply: bool) -> Vec<u8> {
        Header::command(id, self.command(), no_reply).emit_with(|into| match self {
            Self::Version(version) => version.emit(into),
            Self::DmaMap(map) => map.emit(into),
            Self::DmaUnmap(unmap) => unmap.emit(into),
            Self::DeviceInfo => DeviceInfo::REQUEST.emit(into),
            Self::RegionInfo(query) => query.emit_info(into),
            Self::RegionIoFds(query) => query.emit_io_fds(into),
            Self::IrqInfo(index) => {
                IrqInfo {
                    flags: IrqInfoFlags::empty(),
                    index: *index,
                    count: 0,
                }
                .emit(into);
            }
            Self::SetIrqs(set) => set.emit(into),
            Self::RegionRead(range) => range.emit(into),
            Self::RegionWrite(data) => data.emit(into),
            Self::DmaRead(range) => range.emit(into),
            Self::DmaWrite(data) => data.emit(into),
            Self::DeviceReset | Self::AccessMap => {}
            Self::RegionWriteMulti(writes) => RegionWriteEntry::emit_all(writes, into),
            Self::RingSetup(setup) => setup.emit(into),
            Self::RingDoorbells(doorbells) => doorbells.emit(into),
            Self::Other { payload, .. } => into.extend_from_slice(payload),
        })
    }
}

#[cfg(test)]
mod tests;
