//! Step 5, intake: VERSION, the first exchange.

use outrigger_vfio_user::{Capabilities, MAX_FDS, Reply, Version, WireError};
use rustix::io::Errno;

use super::MAX_DATA;
use crate::dma::MAX_REGIONS;

/// What is served: version 0.1. A client may be older in the minor number, which changes nothing here.
const MAJOR: u16 = 0;
const MINOR: u16 = 1;

/// What was agreed.
#[derive(Debug)]
pub(super) struct Agreed {
    minor: u16,
    data: Vec<u8>,
    /// The client offered the rings, and they are confirmed.
    pub(super) ring: bool,
}

impl Agreed {
    pub(super) fn reply(&self) -> Reply<'_> {
        Reply::Version(Version {
            major: MAJOR,
            minor: self.minor,
            data: &self.data,
        })
    }
}

/// The answer to a client's VERSION; EINVAL for another major number.
///
/// # Errors
/// [`WireError::VersionData`].
pub(super) fn answer(version: &Version<'_>) -> Result<Result<Agreed, Errno>, WireError> {
    // Its limits are not needed: no reply carries more data than the client asked for, or more than two descriptors.
    let client = Capabilities::parse(version.data)?;
    if version.major != MAJOR {
        return Ok(Err(Errno::INVAL));
    }
    // QEMU reads the reply into the space of its request, about 190 bytes: so no more keys than say something.
    // `write_multiple` is not offered: with it QEMU hands all its writes to a thread first.
    let mut capabilities = Capabilities::default();
    capabilities.max_msg_fds = u32::try_from(MAX_FDS).ok();
    capabilities.max_data_xfer_size = Some(MAX_DATA.into());
    capabilities.pgsizes = Some(4096);
    capabilities.max_dma_maps = u32::try_from(MAX_REGIONS).ok();
    capabilities.outrigger_ring = client
        .outrigger_ring
        .filter(|offer| offer.version == outrigger_ring::VERSION);
    Ok(Ok(Agreed {
        minor: version.minor.min(MINOR),
        data: capabilities.emit(),
        ring: capabilities.outrigger_ring.is_some(),
    }))
}

#[cfg(test)]
mod tests {
    use outrigger_vfio_user::RingCapability;

    use super::*;

    fn agreed(minor: u16, data: &[u8]) -> Agreed {
        let version = Version {
            major: 0,
            minor,
            data,
        };
        answer(&version).unwrap().unwrap()
    }

    #[test]
    fn the_minor_number_is_at_most_the_clients() {
        for (client, ours) in [(0, 0), (1, 1), (2, 1), (u16::MAX, 1)] {
            assert_eq!(agreed(client, b"").minor, ours);
        }
    }

    #[test]
    fn another_major_number_is_refused() {
        let version = Version {
            major: 1,
            minor: 0,
            data: b"",
        };
        assert_eq!(answer(&version).unwrap().unwrap_err(), Errno::INVAL);
    }

    /// QEMU's request has about 190 bytes of JSON.
    #[test]
    fn the_reply_fits_into_qemus_request() {
        let offer = b"{\"capabilities\":{\"outrigger_ring\":{\"version\":1}}}\0";
        let agreed = agreed(0, offer);
        assert!(agreed.data.len() <= 180, "{}", agreed.data.len());
        assert_eq!(agreed.data.last(), Some(&0));
    }

    #[test]
    fn the_ring_is_confirmed_if_its_version_was_offered() {
        for (offer, confirmed) in [
            (&b""[..], None),
            (b"{}\0", None),
            (
                b"{\"capabilities\":{\"outrigger_ring\":{\"version\":2}}}\0",
                None,
            ),
            (
                b"{\"capabilities\":{\"outrigger_ring\":{\"version\":1}}}\0",
                Some(RingCapability { version: 1 }),
            ),
        ] {
            let agreed = agreed(1, offer);
            let reply = Capabilities::parse(&agreed.data).unwrap();
            assert_eq!(reply.outrigger_ring, confirmed);
            assert_eq!(agreed.ring, confirmed.is_some());
        }
    }

    #[test]
    fn bad_version_data_are_malformed() {
        let version = Version {
            major: 0,
            minor: 1,
            data: b"{]\0",
        };
        assert_eq!(answer(&version).unwrap_err(), WireError::VersionData);
    }
}
