//! What a server answers: every reply as a value.

use crate::WireError;
use crate::access_map::AccessMap;
use crate::device::DeviceInfo;
use crate::dma::{DmaData, DmaRange, DmaUnmap};
use crate::irq::IrqInfo;
use crate::message::{Command, Header, HeaderFlags, Kind, Message};
use crate::region::{RegionData, RegionInfo, RegionRange};
use crate::vendor::RingReady;
use crate::version::Version;

/// A reply's payload, or the error that it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// Any command failed, with this errno, which is not 0.
    Error {
        /// The command.
        command: Command,
        /// The errno.
        errno: u32,
    },
    /// Success without a payload: DMA_MAP, DEVICE_SET_IRQS, DEVICE_RESET, REGION_WRITE_MULTI, RING_DOORBELLS.
    Done(Command),
    /// VERSION.
    Version(Version<'a>),
    /// DMA_UNMAP.
    DmaUnmap(DmaUnmap),
    /// DEVICE_GET_INFO.
    DeviceInfo(DeviceInfo),
    /// DEVICE_GET_REGION_INFO; at most one descriptor.
    RegionInfo(RegionInfo<'a>),
    /// DEVICE_GET_IRQ_INFO.
    IrqInfo(IrqInfo),
    /// REGION_READ.
    RegionRead(RegionData<'a>),
    /// REGION_WRITE.
    RegionWrite(RegionRange),
    /// DMA_READ.
    DmaRead(DmaData<'a>),
    /// DMA_WRITE.
    DmaWrite(DmaRange),
    /// RING_SETUP; two descriptors.
    RingReady(RingReady),
    /// ACCESS_MAP.
    AccessMap(AccessMap<'a>),
    /// The reply to a command that this crate does not know.
    Other {
        /// The command.
        command: Command,
        /// The payload.
        payload: &'a [u8],
    },
}

impl<'a> Reply<'a> {
    /// The value of a message that is a reply.
    ///
    /// # Errors
    /// [`WireError::Kind`] for a command, [`WireError::NoErrno`] for an error that is 0;
    /// [`WireError::Truncated`], [`WireError::Trailing`] or [`WireError::Count`] if the payload is not the reply's.
    pub fn parse(message: Message<'a>) -> Result<Self, WireError> {
        let header = message.header();
        if header.kind != Kind::Reply {
            return Err(WireError::Kind(0));
        }
        let command = header.command;
        if header.flags.contains(HeaderFlags::ERROR) {
            // An error reply's payload, if it has one, says nothing.
            return match header.errno {
                0 => Err(WireError::NoErrno),
                errno => Ok(Self::Error { command, errno }),
            };
        }
        let payload = message.payload();
        Ok(match command {
            Command::DMA_MAP
            | Command::DEVICE_SET_IRQS
            | Command::DEVICE_RESET
            | Command::REGION_WRITE_MULTI
            | Command::RING_DOORBELLS => Self::Done(command),
            Command::VERSION => Self::Version(Version::parse(payload)?),
            Command::DMA_UNMAP => Self::DmaUnmap(DmaUnmap::parse(payload)?),
            Command::DEVICE_GET_INFO => Self::DeviceInfo(DeviceInfo::parse(payload)?),
            Command::DEVICE_GET_REGION_INFO => Self::RegionInfo(RegionInfo::parse(payload)?),
            Command::DEVICE_GET_IRQ_INFO => Self::IrqInfo(IrqInfo::parse(payload)?),
            Command::REGION_READ => Self::RegionRead(RegionData::parse("REGION_READ", payload)?),
            Command::REGION_WRITE => {
                Self::RegionWrite(RegionRange::parse("REGION_WRITE", payload)?)
            }
            Command::DMA_READ => Self::DmaRead(DmaData::parse("DMA_READ", payload)?),
            Command::DMA_WRITE => Self::DmaWrite(DmaRange::parse("DMA_WRITE", payload)?),
            Command::RING_SETUP => Self::RingReady(RingReady::parse(payload)?),
            Command::ACCESS_MAP => Self::AccessMap(AccessMap::parse(payload)?),
            command => Self::Other { command, payload },
        })
    }

    /// The command that it answers.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Error { command, .. } | Self::Done(command) | Self::Other { command, .. } => {
                *command
            }
            Self::Version(_) => Command::VERSION,
            Self::DmaUnmap(_) => Command::DMA_UNMAP,
            Self::DeviceInfo(_) => Command::DEVICE_GET_INFO,
            Self::RegionInfo(_) => Command::DEVICE_GET_REGION_INFO,
            Self::IrqInfo(_) => Command::DEVICE_GET_IRQ_INFO,
            Self::RegionRead(_) => Command::REGION_READ,
            Self::RegionWrite(_) => Command::REGION_WRITE,
            Self::DmaRead(_) => Command::DMA_READ,
            Self::DmaWrite(_) => Command::DMA_WRITE,
            Self::RingReady(_) => Command::RING_SETUP,
            Self::AccessMap(_) => Command::ACCESS_MAP,
        }
    }

    /// The message for this value, in reply to the command that had this `id`.
    #[must_use]
    pub fn emit(&self, id: u16) -> Vec<u8> {
        let header = match self {
            Self::Error { command, errno } => Header::error(id, *command, *errno),
            _ => Header::reply(id, self.command()),
        };
        header.emit_with(|into| match self {
            Self::Error { .. } | Self::Done(_) => {}
            Self::Version(version) => version.emit(into),
            Self::DmaUnmap(unmap) => unmap.emit(into),
            Self::DeviceInfo(info) => info.emit(into),
            Self::RegionInfo(info) => info.emit(into),
            Self::IrqInfo(info) => info.emit(into),
            Self::RegionRead(data) => data.emit(into),
            Self::RegionWrite(range) => range.emit(into),
            Self::DmaRead(data) => data.emit(into),
            Self::DmaWrite(range) => range.emit(into),
            Self::RingReady(ready) => ready.emit(into),
            Self::AccessMap(map) => map.emit(into),
            Self::Other { payload, .. } => into.extend_from_slice(payload),
        })
    }
}

#[cfg(test)]
mod tests;
