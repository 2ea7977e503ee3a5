//! Guest RAM for unit tests.

use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use super::{Gate, Mapping};

/// A memfd of `size` bytes, all zero.
pub fn memfd(size: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create("guest-ram", MemfdFlags::CLOEXEC).expect("memfd_create");
    rustix::fs::ftruncate(&fd, size).expect("ftruncate");
    fd
}

/// A mapping of a memfd of its own.
pub fn mapping(address: u64, size: u64) -> Mapping {
    Mapping {
        address,
        size,
        fd: memfd(size),
        offset: 0,
        readable: true,
        writable: true,
    }
}

/// A gate, bus mastering on, with `(address, size)` regions of zeroed RAM.
pub fn gate(regions: &[(u64, u64)]) -> Gate {
    let mut gate = Gate::new();
    gate.set_bus_master(true);
    for &(address, size) in regions {
        gate.map(mapping(address, size)).expect("map");
    }
    gate
}
