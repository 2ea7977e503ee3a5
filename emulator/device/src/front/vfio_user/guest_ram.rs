//! Step 5, intake: DMA_MAP and DMA_UNMAP.

use std::os::fd::OwnedFd;

use outrigger_vfio_user::{DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
use rustix::io::Errno;
use tracing::debug;

use crate::dma::{MapError, Mapping};
use crate::pci::Function;

/// Makes a range reachable. One that comes without a file (a ROM, another device's BAR) no device can reach; it is remembered,
/// because the client will want to take it away again, and may map nothing over it until then.
pub(super) fn map(
    map: &DmaMap,
    mut fds: Vec<OwnedFd>,
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
        debug!("{address:#x}+{size:#x} comes without a file: not reachable by DMA");
        return function
            .map_unreachable(address, size)
            .map_err(|error| errno(&error));
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
pub(super) fn unmap(unmap: &DmaUnmap, function: &mut Function) -> Result<(), Errno> {
    let DmaUnmap {
        flags,
        address,
        size,
    } = *unmap;
    if flags == DmaUnmapFlags::ALL {
        if (address, size) != (0, 0) {
            return Err(Errno::INVAL);
        }
        function.unmap_all();
        return Ok(());
    }
    if !flags.is_empty() {
        return Err(Errno::OPNOTSUPP);
    }
    function.unmap(address, size).map_err(|error| errno(&error))
}

/// The number for the client; the text goes to the log.
fn errno(error: &MapError) -> Errno {
    debug!(%error, "guest RAM");
    match error {
        MapError::Overlap { .. } => Errno::EXIST,
        MapError::NotMapped { .. } => Errno::NOENT,
        MapError::TooMany(_) => Errno::NOSPC,
        MapError::Kernel(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
        _ => Errno::INVAL,
    }
}
