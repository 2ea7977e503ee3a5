//! Step 6, PCI: type 0 config space (PCI 3.0, chapter 6).
//!
//! The space is bytes with a write mask beside each. So an access of any width at any offset, across
//! registers or not, needs no case of its own, and BAR sizing is nothing but the mask: the size bits
//! of a BAR cannot be set.

use crate::device::{Bar, BarKind, Identity, Width};

/// Bytes of config space.
pub(super) const SIZE: u64 = BYTES as u64;
const BYTES: usize = 256;

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const CACHE_LINE_SIZE: usize = 0x0c;
const LATENCY_TIMER: usize = 0x0d;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const MIN_GNT: usize = 0x3e;
const MAX_LAT: usize = 0x3f;

bitflags::bitflags! {
    /// COMMAND, offset 0x04 (PCI 3.0, section 6.2.2): the bits that can be set.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Command: u16 {
        /// I/O space decode.
        const IO = 1 << 0;
        /// Memory space decode.
        const MEMORY = 1 << 1;
        /// Bus master.
        const BUS_MASTER = 1 << 2;
        /// Memory write and invalidate.
        const WRITE_INVALIDATE = 1 << 4;
        /// Parity error response.
        const PARITY = 1 << 6;
        /// SERR# driver.
        const SERR = 1 << 8;
        /// INTx is not asserted, whatever the device wants.
        const INTX_DISABLE = 1 << 10;
    }
}

/// STATUS bit 3, interrupt status: the device's line before COMMAND masks it.
const STATUS_INTERRUPT: u8 = 1 << 3;
/// STATUS bits 9 and 10: medium DEVSEL timing.
const STATUS_DEVSEL_MEDIUM: u16 = 1 << 9;

/// BAR bit 0: I/O space.
const BAR_IO: u32 = 1;

/// Config space of one function.
#[derive(Debug)]
pub(super) struct ConfigSpace {
    bytes: [u8; BYTES],
    writable: [u8; BYTES],
    at_reset: [u8; BYTES],
    bars: Vec<Bar>,
}

impl ConfigSpace {
    /// The space of a device with this identity and these BARs, at its power-on state.
    ///
    /// # Panics
    /// If a BAR's number, size or uniqueness break the contract of [`Bar`]: a device's error, not a guest's.
    pub(super) fn new(identity: &Identity, bars: &[Bar]) -> Self {
        let mut space = Self {
            bytes: [0; BYTES],
            writable: [0; BYTES],
            at_reset: [0; BYTES],
            bars: bars.to_vec(),
        };
        let class = identity.class.to_le_bytes();
        space.constant(VENDOR, &identity.vendor.to_le_bytes());
        space.constant(DEVICE, &identity.device.to_le_bytes());
        space.constant(STATUS, &STATUS_DEVSEL_MEDIUM.to_le_bytes());
        space.constant(REVISION, &[identity.revision]);
        space.constant(CLASS, &class[..3]);
        space.constant(LATENCY_TIMER, &[identity.latency_timer]);
        space.constant(SUBSYSTEM_VENDOR, &identity.subsystem_vendor.to_le_bytes());
        space.constant(SUBSYSTEM, &identity.subsystem.to_le_bytes());
        space.constant(INTERRUPT_PIN, &[identity.interrupt_pin]);
        space.constant(MIN_GNT, &[identity.min_gnt]);
        space.constant(MAX_LAT, &[identity.max_lat]);

        space.allow(COMMAND, &Command::all().bits().to_le_bytes());
        space.allow(CACHE_LINE_SIZE, &[0xff]);
        space.allow(LATENCY_TIMER, &[0xff]);
        space.allow(INTERRUPT_LINE, &[0xff]);

        for bar in bars {
            let smallest = match bar.kind {
                BarKind::Io => 4,
                BarKind::Memory => 16,
            };
            assert!(bar.index < 6, "{bar:?} has no register");
            assert!(
                bar.size.is_power_of_two() && bar.size >= smallest,
                "{bar:?} has no such size"
            );
            let at = BAR0 + 4 * usize::from(bar.index);
            let taken = space.writable.get(at + 3).is_none_or(|mask| *mask != 0);
            assert!(!taken, "{bar:?} is declared twice");
            if bar.kind == BarKind::Io {
                space.constant(at, &BAR_IO.to_le_bytes());
            }
            space.allow(at, &(!(bar.size - 1)).to_le_bytes());
        }
        space.reset();
        space
    }

    fn constant(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.at_reset.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        for (to, from) in self.writable.iter_mut().skip(at).zip(mask) {
            *to = *from;
        }
    }

    /// Everything to its power-on state.
    pub(super) fn reset(&mut self) {
        self.bytes = self.at_reset;
    }

    /// Reads `width` bytes; all ones where the access leaves the space. `interrupt` is the device's line.
    pub(super) fn read(&self, offset: u64, width: Width, interrupt: bool) -> u64 {
        let Some(range) = range(offset, width) else {
            return width.mask();
        };
        let mut value = [0; 8];
        for (to, at) in value.iter_mut().zip(range) {
            *to = self.bytes.get(at).copied().unwrap_or(0xff);
            if at == STATUS && interrupt {
                *to |= STATUS_INTERRUPT;
            }
        }
        u64::from_le_bytes(value)
    }

    /// Writes `width` bytes, of each the bits that can be written; nothing where the access leaves the space.
    pub(super) fn write(&mut self, offset: u64, width: Width, value: u64) {
        let Some(range) = range(offset, width) else {
            return;
        };
        for (new, at) in value.to_le_bytes().into_iter().zip(range) {
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = (*byte & !mask) | (new & mask);
            }
        }
    }

    /// COMMAND.
    pub(super) fn command(&self) -> Command {
        Command::from_bits_truncate(u16::from_le_bytes([
            self.bytes[COMMAND],
            self.bytes[COMMAND + 1],
        ]))
    }

    /// Where `bar` decodes; `None` while its decode is off.
    ///
    /// A BAR that was never placed reads 0 and one that is being sized reads all ones above its size bits: neither
    /// is a place, so neither decodes, whatever COMMAND says. (A client that keeps the BARs to itself leaves
    /// them 0 and sets COMMAND: a window at 0 would then hide guest RAM from the device.)
    pub(super) fn base(&self, bar: &Bar) -> Option<u64> {
        let enable = match bar.kind {
            BarKind::Io => Command::IO,
            BarKind::Memory => Command::MEMORY,
        };
        let at = BAR0 + 4 * usize::from(bar.index);
        let register = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        let place = !(bar.size - 1);
        let base = register.map_or(0, |bytes| u32::from_le_bytes(*bytes)) & place;
        (self.command().contains(enable) && base != 0 && base != place).then_some(u64::from(base))
    }

    /// The BARs that the device declared.
    pub(super) fn bars(&self) -> &[Bar] {
        &self.bars
    }
}

/// The bytes that an access touches, if it lies within the space.
fn range(offset: u64, width: Width) -> Option<std::ops::Range<usize>> {
    let end = offset
        .checked_add(u64::from(width.bytes()))
        .filter(|end| *end <= SIZE)?;
    Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}

#[cfg(test)]
mod tests;
