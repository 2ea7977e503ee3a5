//! Step 6, access map: what a proxy may do with accesses itself, so that the guest does not wait for this process.

use std::os::fd::OwnedFd;

pub use outrigger_ring::{Claimed, MAX_READ_TO_CLEAR, Mirrored, Snapshot, Snapshots};

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

/// A register that a read clears, of one byte or of two that one read clears together: a
/// *read-to-clear group*.
///
/// [`Device::snapshots`](super::Device::snapshots) says what a read would give. A client may claim
/// that without the device; the device learns of it later, by
/// [`Device::claim`](super::Device::claim), before it does anything else. A plain write to a
/// mirrored register does not change a published snapshot, and the order in which the device
/// learns of the two makes no difference to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadToClearGroup {
    /// The BAR that it is reached through. A group that is reached in several places has an entry for each.
    pub bar: u8,
    /// Its offset there: a multiple of its size.
    pub offset: u64,
    /// Bytes: 1 or 2.
    pub size: u8,
    /// Its number, below [`MAX_READ_TO_CLEAR`].
    pub group: u32,
    /// The mirrored register that says whether there is something in it.
    pub register: u8,
    /// Its bits that do; no plain write changes them.
    pub summary: u8,
}

/// Where a device shows its mirrored registers while it runs.
pub trait Mirror {
    /// Register `register` is this now. No cost if it is no news.
    fn show(&mut self, register: u32, now: Mirrored);

    /// Revokes all snapshots. A device calls this before it changes a snapshot or a mirrored
    /// register. It then clears the groups that are returned, shows its mirrored registers, and
    /// calls [`Mirror::claims_done`]. Costs nothing while no snapshot stands.
    fn revoke(&mut self) -> Claimed {
        Claimed::default()
    }

    /// See [`Mirror::revoke`].
    fn claims_done(&mut self) {}
}

/// Nobody looks.
impl Mirror for () {
    fn show(&mut self, _: u32, _: Mirrored) {}
}

impl Mirror for outrigger_ring::Server {
    fn show(&mut self, register: u32, now: Mirrored) {
        Self::show(self, register, now);
    }

    fn revoke(&mut self) -> Claimed {
        Self::revoke(self)
    }

    fn claims_done(&mut self) {
        Self::claims_done(self);
    }
}
