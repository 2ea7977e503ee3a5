//! Guest RAM that is kept from input to input, and a part of it that a device must not write.

use std::os::fd::OwnedFd;

use outrigger_device::dma::{Gate, Mapping};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// Bytes of guest RAM, from address 0 on.
pub(crate) const RAM: u64 = 0x1_0000;
/// Where the guest has RAM that a device may only read, of one page. In between is nothing.
pub(crate) const FIXED: u64 = 0x2_0000;
/// What that holds.
const PATTERN: u8 = 0x5a;
/// Bytes of a page.
pub(crate) const PAGE: u64 = 0x1000;

/// Guest RAM behind a gate.
#[derive(Debug)]
pub(crate) struct Ram {
    pub(crate) gate: Gate,
    fixed: OwnedFd,
}

impl Ram {
    /// # Panics
    /// If the kernel has no memory.
    pub(crate) fn new() -> Self {
        let mut gate = Gate::new();
        gate.set_bus_master(true);
        let fixed = memfd(PAGE);
        rustix::io::pwrite(&fixed, &[PATTERN; 0x1000], 0).expect("room");
        let regions = [(0, RAM, true, memfd(RAM)), (FIXED, PAGE, false, fixed)];
        let mut kept = None;
        for (address, size, writable, fd) in regions {
            kept = Some(rustix::io::fcntl_dupfd_cloexec(&fd, 0).expect("a descriptor"));
            let mapping = Mapping {
                address,
                size,
                fd,
                offset: 0,
                readable: true,
                writable,
            };
            gate.map(mapping).expect("a region");
        }
        Self {
            gate,
            fixed: kept.expect("two regions"),
        }
    }

    /// All zero again.
    ///
    /// # Panics
    /// If something has written where it may not.
    pub(crate) fn clear(&self) {
        self.gate.write(0, &[0; 0x1_0000]).expect("RAM");
        let mut bytes = [0; 0x1000];
        let read = rustix::io::pread(&self.fixed, &mut bytes, 0).expect("a page");
        assert!(
            read == bytes.len() && bytes == [PATTERN; 0x1000],
            "the device wrote where it may only read"
        );
    }
}

/// A memfd of so many zeroes.
///
/// # Panics
/// If the kernel has none.
pub(crate) fn memfd(size: u64) -> OwnedFd {
    let fd = memfd_create("guest-ram", MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&fd, size).expect("room");
    fd
}
