//! Step 5, intake: DMA_MAP and DMA_UNMAP.

use std::os::fd::OwnedFd;

use outrigger_vfio_user::{DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
use rustix::io::Errno;
use tracing::debug;

use crate::dma::{MapError, Mapping};
use crate::pci::Function;

/// Ranges without a file that are remembered for a client.
pub(super) const MAX_UNREACHABLE: usize = 256;

/// Ranges that the client offered without a file (ROMs, other devices' BARs): no device can reach them, but the
/// client will want to take them away again.
#[derive(Debug, Default)]
pub(super) struct Unreachable(Vec<(u64, u64)>);

/// Makes a range reachable.
pub(super) fn map(
    map: &DmaMap,
    mut fds: Vec<OwnedFd>,
    unreachable: &mut Unreachable,
    function: &mut Function,
) -> Result<(), Errno> {
    let DmaMap {
        flags,
        offset,
        address,
        size,
    } = *map;
    let rights = DmaMapFlags::READ | DmaMapFlags::WRITE;
    if !rights.contains(flags) || fds.len() > 1 {
        return Err(Errno::INVAL);
    }
    let Some(fd) = fds.pop() else {
        if size == 0 || address.checked_add(size - 1).is_none() {
            return Err(Errno::INVAL);
        }
        if unreachable.0.len() >= MAX_UNREACHABLE {
            return Err(Errno::NOSPC);
        }
        debug!("{address:#x}+{size:#x} comes without a file: not reachable by DMA");
        unreachable.0.push((address, size));
        return Ok(());
    };
    function
        .map(Mapping {
            address,
            size,
            fd,
            offset,
            readable: flags.contains(DmaMapFlags::READ),
            writable: flags.contains(DmaMapFlags::WRITE),
        })
        .map_err(|error| errno(&error))
}

/// Takes a range away, or all of them. No DMA to it is in flight when this returns.
pub(super) fn unmap(
    unmap: &DmaUnmap,
    unreachable: &mut Unreachable,
    function: &mut Function,
) -> Result<(), Errno> {
    let DmaUnmap {
        flags,
        address,
        size,
    } = *unmap;
    if flags == DmaUnmapFlags::ALL {
        if (address, size) != (0, 0) {
            return Err(Errno::INVAL);
        }
        unreachable.0.clear();
        function.unmap_all();
        return Ok(());
    }
    if !flags.is_empty() {
        return Err(Errno::OPNOTSUPP);
    }
    if let Some(place) = unreachable.0.iter().position(|r| *r == (address, size)) {
        unreachable.0.swap_remove(place);
        return Ok(());
    }
    function.unmap(address, size).map_err(|error| errno(&error))
}

/// The number for the client; the text goes to the log.
fn errno(error: &MapError) -> Errno {
    debug!(%error, "guest RAM");
    match error {
        MapError::Overlap { .. } => Errno::EXIST,
        MapError::NotMapped { .. } => Errno::NOENT,
        MapError::TooMany => Errno::NOSPC,
        MapError::Kernel(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        _ => Errno::INVAL,
    }
}
