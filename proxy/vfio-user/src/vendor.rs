//! Outrigger's own commands: how the rings attach. `docs/vfio-user.md` specifies them.

use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, RingDoorbellsBytes, RingReadyBytes, RingSetupBytes};

/// RING_SETUP's request; descriptors: the requests memfd, then the mailboxes memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSetup {
    /// The ring protocol's version: 1.
    pub version: u32,
    /// Rings and mailboxes: one pair per vCPU.
    pub channels: u32,
    /// Slots per ring.
    pub slots: u32,
    /// 0.
    pub reserved: u32,
}

impl RingSetup {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let setup = layout::whole::<RingSetupBytes>("RING_SETUP", payload)?;
        Ok(Self {
            version: setup.version.get(),
            channels: setup.channels.get(),
            slots: setup.slots.get(),
            reserved: setup.reserved.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let setup = RingSetupBytes {
            version: self.version.into(),
            channels: self.channels.into(),
            slots: self.slots.into(),
            reserved: self.reserved.into(),
        };
        into.extend_from_slice(setup.as_bytes());
    }
}

/// RING_SETUP's reply; descriptors: the device memfd, then the worker's doorbell eventfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingReady {
    /// The ring protocol's version: 1.
    pub version: u32,
    /// Size of the register mirror in bytes; 0 without one.
    pub mirror_bytes: u32,
}

impl RingReady {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let ready = layout::whole::<RingReadyBytes>("RING_SETUP", payload)?;
        Ok(Self {
            version: ready.version.get(),
            mirror_bytes: ready.mirror_bytes.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let ready = RingReadyBytes {
            version: self.version.into(),
            mirror_bytes: self.mirror_bytes.into(),
        };
        into.extend_from_slice(ready.as_bytes());
    }
}

/// RING_DOORBELLS' request; descriptors: one eventfd per channel, at most 16 in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingDoorbells {
    /// The channel that the first descriptor belongs to.
    pub first: u32,
    /// Descriptors.
    pub count: u32,
}

impl RingDoorbells {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let doorbells = layout::whole::<RingDoorbellsBytes>("RING_DOORBELLS", payload)?;
        Ok(Self {
            first: doorbells.first.get(),
            count: doorbells.count.get(),
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let doorbells = RingDoorbellsBytes {
            first: self.first.into(),
            count: self.count.into(),
        };
        into.extend_from_slice(doorbells.as_bytes());
    }
}
