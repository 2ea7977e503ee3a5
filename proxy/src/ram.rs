//! The guest RAM that a device has been handed, at attach and at run time.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::control;
use crate::error::Error;
use crate::guest_memory::{MemoryError, Region, is_sealed};
use crate::link::socket::Connection;
use crate::options::UnsealedMemory;

/// What has been handed over. Its lock is held over each exchange, so that it says what the
/// emulator has.
#[derive(Debug)]
pub(crate) struct RamMap {
    /// Guest-physical addresses and sizes, in the order in which they came.
    ranges: Mutex<Vec<(u64, u64)>>,
    unsealed: UnsealedMemory,
}

impl RamMap {
    pub(crate) const fn new(unsealed: UnsealedMemory) -> Self {
        Self {
            ranges: Mutex::new(Vec::new()),
            unsealed,
        }
    }

    /// Hands all of these over, or none.
    pub(crate) fn add(
        &self,
        connection: &Connection,
        regions: &[(Region, BorrowedFd<'_>)],
    ) -> Result<(), Error> {
        let mut ranges = self.ranges();
        let before = ranges.len();
        for (region, file) in regions {
            region.check()?;
            self.check_seal(region.address, *file)?;
        }
        for (region, file) in regions {
            let Region { address, size, .. } = *region;
            let overlaps = |&(other, bytes): &(u64, u64)| {
                // Neither end overflows: each range was checked.
                address < other.saturating_add(bytes) && other < address.saturating_add(size)
            };
            let added = if ranges.iter().any(overlaps) {
                Err(MemoryError::Overlap { address, size }.into())
            } else {
                control::map(connection, *region, *file)
            };
            if let Err(error) = added {
                for (address, size) in ranges.drain(before..) {
                    // If this fails too, the connection is dead, and with it all that was mapped.
                    let _ = control::unmap(connection, address, size);
                }
                return Err(error);
            }
            ranges.push((address, size));
        }
        Ok(())
    }

    /// Takes exactly this range back.
    pub(crate) fn remove(
        &self,
        connection: &Connection,
        address: u64,
        size: u64,
    ) -> Result<(), Error> {
        let mut ranges = self.ranges();
        let Some(index) = ranges.iter().position(|range| *range == (address, size)) else {
            return Err(MemoryError::NotAttached { address, size }.into());
        };
        control::unmap(connection, address, size)?;
        ranges.remove(index);
        Ok(())
    }

    /// Takes everything back.
    pub(crate) fn remove_all(&self, connection: &Connection) -> Result<(), Error> {
        let mut ranges = self.ranges();
        while let Some(&(address, size)) = ranges.last() {
            control::unmap(connection, address, size)?;
            ranges.pop();
        }
        Ok(())
    }

    fn ranges(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_seal(&self, address: u64, file: BorrowedFd<'_>) -> Result<(), MemoryError> {
        if is_sealed(file) {
            return Ok(());
        }
        match self.unsealed {
            UnsealedMemory::Accept => Ok(()),
            UnsealedMemory::Warn => {
                tracing::warn!(
                    "guest RAM at {address:#x} is not sealed against shrinking: whoever has its file can make this process fault; use a memfd with F_SEAL_SHRINK"
                );
                Ok(())
            }
            UnsealedMemory::Refuse => Err(MemoryError::Unsealed { address }),
        }
    }
}
