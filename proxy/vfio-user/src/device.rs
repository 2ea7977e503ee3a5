//! DEVICE_GET_INFO.

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, InfoBytes};

bitflags::bitflags! {
    /// What a device is. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceFlags: u32 {
        /// DEVICE_RESET works.
        const RESET = 1;
        /// It is a PCI device.
        const PCI = 2;
        const _ = !0;
    }
}

/// DEVICE_GET_INFO's reply; the request has the same shape, with zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What it is.
    pub flags: DeviceFlags,
    /// Region indices are below this.
    pub regions: u32,
    /// Interrupt indices are below this.
    pub irqs: u32,
}

impl DeviceInfo {
    pub(crate) const REQUEST: Self = Self {
        flags: DeviceFlags::empty(),
        regions: 0,
        irqs: 0,
    };

    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (info, _) = layout::head::<InfoBytes>("DEVICE_GET_INFO", payload)?;
        Ok(Self {
            flags: DeviceFlags::from_bits_retain(info.flags.get()),
            regions: info.third.get(),
            irqs: info.fourth.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let info = InfoBytes {
            argsz: layout::count(size_of::<InfoBytes>()).into(),
            flags: self.flags.bits().into(),
            third: self.regions.into(),
            fourth: self.irqs.into(),
        };
        into.extend_from_slice(info.as_bytes());
    }
}
