//! DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, InfoBytes, SetIrqsBytes};

bitflags::bitflags! {
    /// What an interrupt index can do. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqInfoFlags: u32 {
        /// It signals an eventfd.
        const EVENTFD = 1;
        /// It can be masked.
        const MASKABLE = 2;
        /// It masks itself when it triggers.
        const AUTOMASKED = 4;
        /// The number of vectors cannot be changed while it is on.
        const NORESIZE = 8;
        const _ = !0;
    }

    /// What SET_IRQS carries and does: one of the first three, and one of the last three. Unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqSetFlags: u32 {
        /// No data: the action is done.
        const DATA_NONE = 1;
        /// One byte per vector: the action is done where it is not 0.
        const DATA_BOOL = 2;
        /// One descriptor per vector: the action is done when it signals, or, for `TRIGGER`, signals it.
        const DATA_EVENTFD = 4;
        /// Mask.
        const ACTION_MASK = 8;
        /// Unmask.
        const ACTION_UNMASK = 16;
        /// Trigger.
        const ACTION_TRIGGER = 32;
        const _ = !0;
    }
}

/// DEVICE_GET_IRQ_INFO's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfo {
    /// What it can do.
    pub flags: IrqInfoFlags,
    /// The interrupt index.
    pub index: u32,
    /// Vectors; 0 if it does not exist.
    pub count: u32,
}

impl IrqInfo {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let (info, _) = layout::head::<InfoBytes>("DEVICE_GET_IRQ_INFO", payload)?;
        Ok(Self {
            flags: IrqInfoFlags::from_bits_retain(info.flags.get()),
            index: info.third.get(),
            count: info.fourth.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let info = InfoBytes {
            argsz: layout::count(size_of::<InfoBytes>()).into(),
            flags: self.flags.bits().into(),
            third: self.index.into(),
            fourth: self.count.into(),
        };
        into.extend_from_slice(info.as_bytes());
    }
}

/// DEVICE_SET_IRQS's request. Descriptors travel beside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetIrqs<'a> {
    /// What it carries and does.
    pub flags: IrqSetFlags,
    /// The interrupt index: 0 is INTx.
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// Vectors.
    pub count: u32,
    /// The bytes of `DATA_BOOL`.
    pub data: &'a [u8],
}

impl<'a> SetIrqs<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (set, data) = layout::head::<SetIrqsBytes>("DEVICE_SET_IRQS", payload)?;
        Ok(Self {
            flags: IrqSetFlags::from_bits_retain(set.flags.get()),
            index: set.index.get(),
            start: set.start.get(),
            count: set.count.get(),
            data,
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let set = SetIrqsBytes {
            argsz: layout::count(size_of::<SetIrqsBytes>().saturating_add(self.data.len())).into(),
            flags: self.flags.bits().into(),
            index: self.index.into(),
            start: self.start.into(),
            count: self.count.into(),
        };
        into.extend_from_slice(set.as_bytes());
        into.extend_from_slice(self.data);
    }
}
