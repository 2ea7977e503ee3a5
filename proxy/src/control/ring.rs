//! Attaching the rings: RING_SETUP, RING_DOORBELLS, and ACCESS_MAP.

use std::os::fd::OwnedFd;

use outrigger_vfio_user::{Reply, Request, RingDoorbells, RingSetup};

use super::{Agreement, RING_VERSION, done, unexpected};
use crate::access_map::{AccessMap, MAX_ENTRIES, MAX_MEMORIES};
use crate::bar_memory::BarMemory;
use crate::bars::BarSet;
use crate::description::{REGIONS, Region};
use crate::error::{Error, Step};
use crate::link::ring::{RingPort, RingSetup as Rings};
use crate::link::socket::{Connection, RequestError};

/// Descriptors of RING_SETUP, either way: two memories out, a memory and a doorbell back.
const SETUP_FDS: usize = 2;

/// Makes the rings, exchanges memories and doorbells with the emulator, and returns one port per
/// channel.
pub(crate) fn attach(
    connection: &Connection,
    agreement: Agreement,
    channels: u32,
    slots: u32,
) -> Result<Vec<RingPort>, Error> {
    const STEP: &str = "attaching the rings";
    let rings = Rings::create(channels, slots)?;
    let request = Request::RingSetup(RingSetup {
        version: RING_VERSION,
        channels,
        slots,
        reserved: 0,
    });
    let answer = connection
        .request(&request, &rings.memories(), SETUP_FDS)
        .step(STEP)?;
    let mirror_bytes = match answer.reply().step(STEP)? {
        Reply::RingReady(ready) if ready.version == RING_VERSION => ready.mirror_bytes,
        _ => return unexpected(connection, STEP),
    };
    let Ok([device, doorbell]) = <[OwnedFd; SETUP_FDS]>::try_from(answer.fds) else {
        return unexpected(connection, STEP);
    };
    for (mut first, doorbells) in rings.doorbells() {
        for portion in doorbells.chunks(agreement.msg_fds) {
            let count = u32::try_from(portion.len()).unwrap_or(u32::MAX);
            let request = Request::RingDoorbells(RingDoorbells { first, count });
            done(connection, STEP, &request, portion)?;
            first = first.saturating_add(count);
        }
    }
    let hang_up = connection.socket().try_clone_to_owned().step(STEP)?;
    Ok(rings.finish(
        device,
        doorbell,
        mirror_bytes,
        hang_up,
        connection.deadline(),
    )?)
}

/// Asks what the proxy may do with accesses itself. Nothing, says an emulator that does not know
/// the question.
pub(crate) fn access_map(
    connection: &Connection,
    regions: &[Region; REGIONS],
    bars: &BarSet,
) -> Result<(AccessMap, Vec<BarMemory>), Error> {
    const STEP: &str = "asking for the access map";
    let answer = match connection.request(&Request::AccessMap, &[], MAX_MEMORIES) {
        Ok(answer) => answer,
        Err(RequestError::Refused { .. }) => return Ok((AccessMap::default(), Vec::new())),
        Err(error) => return Err(error).step(STEP),
    };
    let map = match answer.reply().step(STEP)? {
        Reply::AccessMap(map) => map,
        _ => return unexpected(connection, STEP),
    };
    let entries: Vec<_> = map.entries().take(MAX_ENTRIES + 1).collect();
    Ok(AccessMap::new(entries, answer.fds, regions, bars)?)
}
