//! VERSION: the first exchange, with the capabilities as JSON.

use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes;

use crate::WireError;
use crate::layout::{self, VersionBytes};

/// VERSION, both ways. `data` is either empty or a JSON text with a NUL at its end ([`Capabilities`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// Must agree.
    pub major: u16,
    /// The server answers with at most the client's.
    pub minor: u16,
    /// The version data, with the NUL.
    pub data: &'a [u8],
}

impl<'a> Version<'a> {
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (head, data) = layout::head::<VersionBytes>("VERSION", payload)?;
        Ok(Self {
            major: head.major.get(),
            minor: head.minor.get(),
            data,
        })
    }

    pub(crate) fn emit(&self, into: &mut Vec<u8>) {
        let head = VersionBytes {
            major: self.major.into(),
            minor: self.minor.into(),
        };
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(self.data);
    }
}

/// What a side can do. An absent key has the specification's default; unknown keys are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// File descriptors per message that the sender can receive. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u32>,
    /// Data bytes of one read or write that the sender accepts. Default 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u64>,
    /// Bit mask of the page sizes that DMA_MAP may use. Default 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// Ranges that can be mapped at a time. Default 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u32>,
    /// The rings in shared memory: offered by the client, confirmed by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outrigger_ring: Option<RingCapability>,
}

/// The capability `outrigger_ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingCapability {
    /// The ring protocol's version: 1.
    pub version: u32,
}

/// The object around the capabilities.
#[derive(Debug, Default, Serialize, Deserialize)]
struct VersionData {
    #[serde(default)]
    capabilities: Capabilities,
}

impl Capabilities {
    /// The capabilities in version data; none if `data` is empty.
    ///
    /// # Errors
    /// [`WireError::VersionData`]: no NUL at the end, not JSON, or a known key of the wrong type.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let Some((&last, text)) = data.split_last() else {
            return Ok(Self::default());
        };
        if last != 0 {
            return Err(WireError::VersionData);
        }
        serde_json::from_slice::<VersionData>(text)
            .map(|data| data.capabilities)
            .map_err(|_| WireError::VersionData)
    }

    /// The version data for these capabilities, with the NUL.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        // Plain numbers and fixed keys: this serialisation has no way to fail.
        let mut data = serde_json::to_vec(&VersionData {
            capabilities: *self,
        })
        .unwrap_or_default();
        data.push(0);
        data
    }
}
