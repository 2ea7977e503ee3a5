//! Step 5, intake: RING_SETUP and RING_DOORBELLS, which attach the rings to a session, and ACCESS_MAP.

use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use outrigger_ring::SetupError;
use outrigger_vfio_user::{AccessEntry, AccessMap, RingDoorbells, RingReady, RingSetup, Treatment};
use rustix::io::Errno;
use tracing::{debug, info};

use super::super::DOORBELL;
use super::super::counts::Counts;
use super::super::ring::RingFront;
use super::session::Session;
use crate::pci::Function;

impl Session {
    /// Attaches rings in the client's memories, in place of those that it had. The reply, and the device memory and
    /// the worker's doorbell for the client.
    ///
    /// # Errors
    /// EINVAL for what is not as the protocol has it, or the kernel's errno; the session then has no rings.
    pub(super) fn attach_ring(
        &mut self,
        registry: &Registry,
        setup: &RingSetup,
        fds: Vec<OwnedFd>,
        function: &Function,
    ) -> Result<(RingReady, Vec<OwnedFd>), Errno> {
        self.drop_ring(registry);
        let Ok([requests, mailboxes]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(Errno::INVAL);
        };
        if setup.version != outrigger_ring::VERSION || setup.reserved != 0 {
            return Err(Errno::INVAL);
        }
        let (ring, for_client) =
            RingFront::attach(setup.channels, setup.slots, requests, mailboxes, function)
                .map_err(|error| errno(&error))?;
        watch(registry, &ring)?;
        let ready = RingReady {
            version: outrigger_ring::VERSION,
            mirror_bytes: ring.mirror_bytes(),
        };
        self.ring = Some(ring);
        Ok((ready, for_client.into()))
    }

    /// Takes the doorbells of some channels; with the last of them the rings are live.
    ///
    /// # Errors
    /// EINVAL without RING_SETUP (nothing changes), or for channels, counts and descriptors that do not fit: the session then
    /// has no rings.
    pub(super) fn add_doorbells(
        &mut self,
        registry: &Registry,
        doorbells: RingDoorbells,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Errno> {
        let fits = !fds.is_empty() && u32::try_from(fds.len()) == Ok(doorbells.count);
        self.unwatch_ring(registry);
        let ring = self.ring.take().ok_or(Errno::INVAL)?;
        if !fits {
            return Err(Errno::INVAL);
        }
        let ring = ring
            .add_doorbells(doorbells.first, fds)
            .map_err(|error| errno(&error))?;
        watch(registry, &ring)?;
        if ring.is_live() {
            info!("rings attached");
        }
        self.ring = Some(ring);
        Ok(())
    }

    /// Ends the rings, if there are some. What still lies in them has no effect.
    pub(super) fn drop_ring(&mut self, registry: &Registry) {
        self.unwatch_ring(registry);
        if let Some(ring) = self.ring.take() {
            self.past = self.past.plus(Counts::of(&ring));
        }
    }

    /// The client holds the doorbell too, so closing it here would not end the watching.
    fn unwatch_ring(&self, registry: &Registry) {
        if let Some(ring) = &self.ring
            && let Err(error) = registry.deregister(&mut SourceFd(&ring.doorbell().as_raw_fd()))
        {
            debug!(%error, "cannot stop watching the rings' doorbell");
        }
    }
}

fn watch(registry: &Registry, ring: &RingFront) -> Result<(), Errno> {
    let doorbell = ring.doorbell().as_raw_fd();
    registry
        .register(&mut SourceFd(&doorbell), DOORBELL, Interest::READABLE)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// The function's access map, as it travels, and the memories that it names.
///
/// # Errors
/// There are no descriptors or no memory left for them.
pub(super) fn access_map(function: &mut Function) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let memories = function
        .share_memory()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mirrored = function.mirrored_registers().iter();
    let mut entries: Vec<_> = mirrored
        .map(|entry| AccessEntry {
            region: entry.bar.into(),
            offset: entry.offset,
            size: 1,
            treatment: Treatment::Mirrored {
                register: entry.register,
                through: entry.through,
                clears: entry.clears,
                opaque: entry.opaque,
            },
        })
        .collect();
    entries.extend(
        function
            .read_to_clear_groups()
            .iter()
            .map(|entry| AccessEntry {
                region: entry.bar.into(),
                offset: entry.offset,
                size: entry.size.into(),
                treatment: Treatment::ReadToClear {
                    group: entry.group,
                    register: entry.register,
                    summary: entry.summary,
                },
            }),
    );
    let mut fds = Vec::new();
    for (descriptor, range) in (0..).zip(memories) {
        entries.push(AccessEntry {
            region: range.bar.into(),
            offset: range.offset,
            size: range.size,
            treatment: Treatment::Memory { descriptor },
        });
        fds.push(range.memory);
    }
    Ok((AccessMap::encode(&entries), fds))
}

/// The number for the client; the text goes to the log.
fn errno(error: &SetupError) -> Errno {
    debug!(%error, "rings");
    match error {
        SetupError::Io(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        _ => Errno::INVAL,
    }
}
