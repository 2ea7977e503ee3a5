//! Step 6, access map: what a proxy may do with accesses itself, so that the guest does not wait for this process.

use std::os::fd::OwnedFd;

pub use outrigger_ring::Mirrored;

/// A range of a BAR that is memory.
#[derive(Debug)]
pub struct MemoryRange {
    /// The BAR.
    pub bar: u8,
    /// Where it starts there: a multiple of 4096.
    pub offset: u64,
    /// Bytes: a multiple of 4096.
    pub size: u64,
    /// The memfd that holds it from the start on; exactly `size` bytes, and sealed to that.
    pub memory: OwnedFd,
}

/// A register of one byte that is mirrored.
///
/// Reading it has no side effect. What it reads as at any moment, [`Device::mirrored`](super::Device::mirrored) tells.
/// A written byte without a bit in `opaque` is a *plain* write: it has the effect said below, and none that a read of
/// another mirrored register shows. A device that itself looks at these bits does so only with
/// all writes applied that the guest has made before ([`Device::run`](super::Device::run) says how).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirroredRegister {
    /// The BAR that it is reached through. A register that is reached in several places has an entry for each.
    pub bar: u8,
    /// Its offset there.
    pub offset: u64,
    /// Its number among the device's mirrored registers, from 0 on without gaps.
    pub register: u32,
    /// Bits that read back as written, until the device changes them.
    pub through: u8,
    /// Bits that do more when they are written as 1.
    pub opaque: u8,
    /// At most one bit that the device sets, and that a 1 clears and a 0 leaves alone.
    pub clears: u8,
}

/// Where a device shows its mirrored registers while it runs.
pub trait Mirror {
    /// Register `register` is this now. No cost if it is no news.
    fn show(&mut self, register: u32, now: Mirrored);
}

/// Nobody looks.
impl Mirror for () {
    fn show(&mut self, _: u32, _: Mirrored) {}
}

impl Mirror for outrigger_ring::Server {
    fn show(&mut self, register: u32, now: Mirrored) {
        Self::show(self, register, now);
    }
}
