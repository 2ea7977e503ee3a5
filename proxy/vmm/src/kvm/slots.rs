//! Step 1, guest exit: a device's memory as memory slots, so that there is no exit.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError, Weak};

use vm_memory::{FileOffset, MmapRegion};

use super::{Vm, sys, uninterrupted};
use outrigger_proxy::{BarMemory, MapMemory};

/// A device's memory, mapped here for good.
#[derive(Debug)]
pub(super) struct Slot {
    file: Arc<File>,
    memory: MmapRegion,
}

/// Maps a device's memories into a machine. Slot 0 is RAM, those from 1 on are theirs.
#[derive(Debug)]
pub(crate) struct Slots(Weak<Vm>);

impl Slots {
    pub(super) const fn new(vm: Weak<Vm>) -> Self {
        Self(vm)
    }

    fn set(&self, memory: &BarMemory, address: Option<u64>) -> io::Result<()> {
        let Some(vm) = self.0.upgrade() else {
            // The machine has gone, and with it its slots.
            return Ok(());
        };
        let mut slots = vm.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |slot: &Slot| Arc::ptr_eq(&slot.file, memory.file());
        let index = match slots.iter().position(known) {
            Some(index) => index,
            None => {
                let bytes = usize::try_from(memory.size()).map_err(io::Error::other)?;
                let file = FileOffset::from_arc(Arc::clone(memory.file()), 0);
                slots.push(Slot {
                    file: Arc::clone(memory.file()),
                    memory: MmapRegion::from_file(file, bytes).map_err(io::Error::other)?,
                });
                slots.len() - 1
            }
        };
        let (Some(slot), Ok(number)) = (slots.get(index), u32::try_from(index + 1)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        uninterrupted(|| sys::set_slot(&vm.fd, number, &slot.memory, address))
            .map_err(|error| io::Error::from_raw_os_error(error.errno()))
    }
}

impl MapMemory for Slots {
    fn map(&mut self, memory: &BarMemory, address: u64) -> io::Result<()> {
        self.set(memory, Some(address))
    }

    fn unmap(&mut self, memory: &BarMemory) -> io::Result<()> {
        self.set(memory, None)
    }
}
