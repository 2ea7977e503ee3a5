//! Step 4, ring: where every byte of the three shared memories lies.
//!
//! All offsets follow from the [`Geometry`] and from nothing else; `docs/ring-protocol.md` has the
//! same as tables.

use crate::error::SetupError;
use crate::limits::{MAX_MIRRORED, MAX_READ_TO_CLEAR};

/// The protocol version that the headers and the setup commands carry.
pub const VERSION: u32 = 1;

/// Bytes of a line: a slot, a mailbox, a flag.
pub(crate) const LINE: u64 = 64;
/// Lines that one side writes while the other side polls its neighbour stand this far apart:
/// processors fetch lines in pairs.
pub(crate) const PAIR: u64 = 128;
/// Areas start, and memories end, at a multiple of this. Fixed by the protocol, not by the
/// machine's page size.
const PAGE: u64 = 4096;

/// What a memory must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The name that the memfd gets, and that errors use.
    pub(crate) name: &'static str,
    pub(crate) size: u64,
    pub(crate) header: [u8; HEADER_BYTES],
    /// The other side writes it too.
    pub(crate) both_write: bool,
}

/// The worker's flag in the device memory.
const WORKER_FLAG: u64 = PAIR;
/// The worker's statistics in the device memory.
const STATISTICS: u64 = 2 * PAIR;
/// The first consumed counter in the device memory.
const CONSUMED: u64 = 3 * PAIR;

const _: () = assert!(cfg!(target_endian = "little"), "the wire is little-endian");
const _: () = assert!(cfg!(target_pointer_width = "64"), "positions index memory");
const _: () = assert!(size_of::<usize>() == 8);
const _: () = assert!(PAIR == 2 * LINE && PAGE.is_multiple_of(PAIR));
const _: () = assert!(WORKER_FLAG == 0x80 && STATISTICS == 0x100 && CONSUMED == 0x180);
const _: () = assert!(HEADER_BYTES as u64 == LINE && LINE <= PAIR);

/// Shape of a session: how many channels, and how many slots in each channel's request ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    channels: u32,
    slots: u32,
}

impl Geometry {
    /// At most this many channels.
    pub const MAX_CHANNELS: u32 = 64;
    /// At least this many slots.
    pub const MIN_SLOTS: u32 = 16;
    /// At most this many slots.
    pub const MAX_SLOTS: u32 = 4096;

    /// A session of `channels` channels (1 to 64) with `slots` slots each (a power of two, 16 to
    /// 4096).
    ///
    /// # Errors
    /// [`SetupError::Geometry`] outside these limits.
    pub const fn new(channels: u32, slots: u32) -> Result<Self, SetupError> {
        if channels == 0
            || channels > Self::MAX_CHANNELS
            || slots < Self::MIN_SLOTS
            || slots > Self::MAX_SLOTS
            || !slots.is_power_of_two()
        {
            return Err(SetupError::Geometry { channels, slots });
        }
        Ok(Self { channels, slots })
    }

    /// Channels, one per vCPU.
    #[must_use]
    pub const fn channels(self) -> u32 {
        self.channels
    }

    /// Slots in each request ring.
    #[must_use]
    pub const fn slots(self) -> u32 {
        self.slots
    }

    /// Offset of a channel's "client sleeps" flag in the requests memory.
    pub(crate) const fn client_flag(channel: u32) -> u64 {
        PAIR + PAIR * channel as u64
    }

    /// Offset of a channel's statistics in the requests memory: beside the flag, where nobody
    /// polls.
    pub(crate) const fn client_statistics(channel: u32) -> u64 {
        Self::client_flag(channel) + LINE
    }

    /// Offset of a channel's first slot in the requests memory.
    pub(crate) const fn slots_at(self, channel: u32) -> u64 {
        let area = Self::client_flag(self.channels).next_multiple_of(PAGE);
        area + channel as u64 * self.slots as u64 * LINE
    }

    /// Offset of a channel's mailbox in the mailboxes memory.
    pub(crate) const fn mailbox(channel: u32) -> u64 {
        PAIR + PAIR * channel as u64
    }

    /// Offset of the first read-to-clear group's word in the mailboxes memory.
    pub(crate) const fn clears(self) -> u64 {
        Self::mailbox(self.channels)
    }

    /// Offset of the worker's flag in the device memory.
    pub(crate) const fn worker_flag() -> u64 {
        WORKER_FLAG
    }

    /// Offset of the statistics line in the device memory.
    pub(crate) const fn statistics() -> u64 {
        STATISTICS
    }

    /// Offset of a channel's consumed counter in the device memory.
    pub(crate) const fn consumed(channel: u32) -> u64 {
        CONSUMED + PAIR * channel as u64
    }

    /// Offset of the register mirror in the device memory.
    pub(crate) const fn mirror(self) -> u64 {
        Self::consumed(self.channels).next_multiple_of(PAGE)
    }

    /// Bytes of a memory.
    pub(crate) const fn size(self, memory: Memory) -> u64 {
        let end = match memory {
            Memory::Requests => self.slots_at(self.channels),
            Memory::Mailboxes => self.clears() + READ_TO_CLEAR_LINES * LINE,
            Memory::Device { mirror_bytes } => self.mirror() + mirror_bytes as u64,
        };
        end.next_multiple_of(PAGE)
    }
}

/// Lines of the read-to-clear groups: one each, whether the device has so many or not, as the
/// client makes them before it knows.
pub(crate) const READ_TO_CLEAR_LINES: u64 = MAX_READ_TO_CLEAR as u64;

/// Bytes of a mirror of so many registers: a line each.
pub(crate) const fn mirror_bytes(registers: u32) -> u32 {
    registers.saturating_mul(64)
}

/// Lines to map for so many registers: a power of two of them, which [`Geometry::size`] has room
/// for.
pub(crate) const fn mirror_lines(registers: u32) -> u64 {
    registers.next_power_of_two() as u64
}

const _: () = assert!(mirror_lines(MAX_MIRRORED) * LINE <= PAGE);

/// One of the three shared memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Written by the client: flags and slots.
    Requests,
    /// Written by both: mailboxes.
    Mailboxes,
    /// Written by the worker: flag, statistics, consumed counters, register mirror.
    Device {
        /// Size of the register mirror.
        mirror_bytes: u32,
    },
}

impl Memory {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Requests => *b"OUTRREQ1",
            Self::Mailboxes => *b"OUTRBOX1",
            Self::Device { .. } => *b"OUTRDEV1",
        }
    }

    /// What it must look like.
    pub(crate) fn shape(self, geometry: Geometry) -> Shape {
        Shape {
            name: self.name(),
            size: geometry.size(self),
            header: header(self, geometry),
            both_write: self == Self::Mailboxes,
        }
    }

    /// The name that the memfd gets, and that errors use.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "outrigger-requests",
            Self::Mailboxes => "outrigger-mailboxes",
            Self::Device { .. } => "outrigger-device",
        }
    }

    const fn mirror_bytes(self) -> u32 {
        match self {
            Self::Device { mirror_bytes } => mirror_bytes,
            Self::Requests | Self::Mailboxes => 0,
        }
    }
}

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 64;

/// The header of a memory: magic @0, version @8, channels @12, slots @16, mirror bytes @20, size
/// @24, zero from @32.
///
/// A receiver knows every field beforehand (the setup command names the geometry), so that it
/// compares and never parses.
pub(crate) fn header(memory: Memory, geometry: Geometry) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let fields = memory
        .magic()
        .into_iter()
        .chain(VERSION.to_le_bytes())
        .chain(geometry.channels.to_le_bytes())
        .chain(geometry.slots.to_le_bytes())
        .chain(memory.mirror_bytes().to_le_bytes())
        .chain(geometry.size(memory).to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(fields) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_has_limits() {
        for (channels, slots) in [
            (0, 16),
            (65, 16),
            (1, 8),
            (1, 8192),
            (1, 24),
            (1, 0),
            (u32::MAX, u32::MAX),
        ] {
            assert!(
                Geometry::new(channels, slots).is_err(),
                "{channels} {slots}"
            );
        }
        for (channels, slots) in [(1, 16), (64, 4096), (3, 256)] {
            assert!(Geometry::new(channels, slots).is_ok(), "{channels} {slots}");
        }
    }

    #[test]
    fn areas_follow_each_other() {
        for (channels, slots) in [(1, 16), (2, 256), (30, 64), (31, 64), (64, 4096)] {
            let geometry = Geometry::new(channels, slots).unwrap();
            let last = channels - 1;
            assert!(Geometry::client_flag(last) + PAIR <= geometry.slots_at(0));
            assert_eq!(
                geometry.slots_at(last) + u64::from(slots) * LINE,
                geometry.slots_at(channels)
            );
            assert!(geometry.slots_at(channels) <= geometry.size(Memory::Requests));
            assert_eq!(Geometry::mailbox(last) + PAIR, geometry.clears());
            assert!(geometry.clears() + 4 * LINE <= geometry.size(Memory::Mailboxes));
            assert!(Geometry::consumed(last) + PAIR <= geometry.mirror());
            let device = Memory::Device { mirror_bytes: 1 };
            assert_eq!(geometry.mirror() + PAGE, geometry.size(device));
        }
    }

    #[test]
    fn header_bytes() {
        let geometry = Geometry::new(2, 256).unwrap();
        let header = header(
            Memory::Device {
                mirror_bytes: 0x1000,
            },
            geometry,
        );
        let mut golden = [0_u8; 64];
        golden[..8].copy_from_slice(b"OUTRDEV1");
        golden[8] = 1;
        golden[12] = 2;
        golden[17] = 1;
        golden[21] = 0x10;
        golden[25] = 0x20;
        assert_eq!(header, golden);
    }
}
