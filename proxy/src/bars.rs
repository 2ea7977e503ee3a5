//! Step 2, decode: the base address registers (PCI 3.0, section 6.2.5).
//!
//! The proxy keeps them itself. Their sizes come from the emulator once, at attach, and are
//! checked; from then on which addresses a device decodes depends on the guest's writes alone.

/// BARs 0 to 5 and the expansion ROM, at index 6.
pub const SLOTS: usize = 7;

/// The ROM's slot and region.
pub(crate) const ROM: usize = 6;

/// Which address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Space {
    /// Guest-physical memory addresses.
    #[default]
    Memory,
    /// Port I/O.
    Io,
}

/// Why an emulator's description of its BARs is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarError {
    /// A BAR decodes a power of two of bytes.
    #[error(
        "region {region} has {size:#x} bytes, which is no power of two within {least:#x} to {most:#x}"
    )]
    Size {
        /// The region.
        region: usize,
        /// What the emulator says.
        size: u64,
        /// The smallest BAR of this kind.
        least: u64,
        /// The largest BAR of this kind.
        most: u64,
    },
    /// Bits 2:1 of a memory BAR hold a type that PCI does not define.
    #[error("region {region} is a memory BAR of the reserved type {kind}")]
    Type {
        /// The region.
        region: usize,
        /// Bits 2:1.
        kind: u32,
    },
    /// The upper half of a 64-bit BAR is missing or is said to be a BAR of its own.
    #[error(
        "region {region} is a 64-bit BAR, but the next register is not free for its upper half"
    )]
    UpperHalf {
        /// The region.
        region: usize,
    },
}

/// One BAR: what it is, and where the guest has put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    space: Space,
    size: u64,
    /// Read-only bits of the (low) register.
    flags: u32,
    wide: bool,
    rom: bool,
    /// The base, aligned to the size.
    base: u64,
    /// Bit 0 of a ROM's register.
    rom_enabled: bool,
}

impl Bar {
    fn describe(region: usize, register: u32, size: u64) -> Result<Self, BarError> {
        let rom = region == ROM;
        let io = !rom && register & 1 != 0;
        let kind = if rom || io { 0 } else { register >> 1 & 3 };
        let (least, most) = match (rom, io, kind) {
            (true, _, _) => (1 << 11, 1 << 24),
            (_, true, _) => (4, 1 << 16),
            (_, _, 0) => (16, 1 << 31),
            (_, _, 2) => (16, 1 << 47),
            _ => return Err(BarError::Type { region, kind }),
        };
        if !size.is_power_of_two() || size < least || size > most {
            return Err(BarError::Size {
                region,
                size,
                least,
                most,
            });
        }
        let flags = match (rom, io) {
            (true, _) => 0,
            (_, true) => 1,
            _ => register & 0xe,
        };
        let space = if io { Space::Io } else { Space::Memory };
        Ok(Self {
            space,
            size,
            flags,
            wide: kind == 2,
            rom,
            base: 0,
            rom_enabled: false,
        })
    }

    /// Its address space.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// Bytes that it decodes: a power of two.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it takes two registers and decodes 64 bits.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.wide
    }

    /// Whether reads of it have no side effects (bit 3).
    #[must_use]
    pub const fn is_prefetchable(&self) -> bool {
        matches!(self.space, Space::Memory) && self.flags & 8 != 0
    }

    fn register(&self, upper: bool) -> u32 {
        if upper {
            high(self.base)
        } else {
            low(self.base) | self.flags | u32::from(self.rom_enabled)
        }
    }

    fn write(&mut self, upper: bool, value: u32) {
        let base = if upper {
            u64::from(value) << 32 | u64::from(low(self.base))
        } else {
            self.rom_enabled = self.rom && value & 1 != 0;
            u64::from(high(self.base)) << 32 | u64::from(value)
        };
        self.base = base & !(self.size - 1);
    }

    /// Where it decodes when its address space is switched on in COMMAND. `None`: its register
    /// holds no address that can be meant: zero, or the end of the address space (as while a guest
    /// sizes it).
    fn decodes_at(&self) -> Option<u64> {
        let last = self.base.checked_add(self.size - 1)?;
        let end = if self.wide {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        };
        (self.base != 0 && last < end && (!self.rom || self.rom_enabled)).then_some(self.base)
    }
}

/// The BARs of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BarSet {
    bars: [Option<Bar>; SLOTS],
}

impl BarSet {
    /// BARs as an emulator describes them: the seven registers' values and the regions' sizes (0:
    /// none).
    ///
    /// # Errors
    /// The description is not one of a PCI function.
    pub fn describe(registers: [u32; SLOTS], sizes: [u64; SLOTS]) -> Result<Self, BarError> {
        let mut bars: [Option<Bar>; SLOTS] = [None; SLOTS];
        let mut upper_of = None;
        for (region, ((slot, register), size)) in
            bars.iter_mut().zip(registers).zip(sizes).enumerate()
        {
            if let Some(lower) = upper_of.take() {
                if size != 0 || region == ROM {
                    return Err(BarError::UpperHalf { region: lower });
                }
                continue;
            }
            if size == 0 {
                continue;
            }
            let bar = Bar::describe(region, register, size)?;
            upper_of = bar.wide.then_some(region);
            *slot = Some(bar);
        }
        let mut set = Self { bars };
        for (slot, register) in registers.into_iter().enumerate() {
            set.write(slot, register);
        }
        Ok(set)
    }

    /// The seven slots: BARs 0 to 5, then the ROM.
    pub fn iter(&self) -> impl Iterator<Item = Option<&Bar>> {
        self.bars.iter().map(Option::as_ref)
    }

    /// Whether the register of `slot` is the upper half of the BAR before it.
    fn upper_half(&self, slot: usize) -> bool {
        slot != ROM
            && slot
                .checked_sub(1)
                .and_then(|lower| self.bars.get(lower)?.as_ref())
                .is_some_and(Bar::is_wide)
    }

    /// The value of a BAR's register; 0 where there is none.
    #[must_use]
    pub fn read(&self, slot: usize) -> u32 {
        let upper = self.upper_half(slot);
        let owner = slot - usize::from(upper);
        self.bars
            .get(owner)
            .and_then(Option::as_ref)
            .map_or(0, |bar| bar.register(upper))
    }

    /// Writes a BAR's register; without effect where there is none.
    pub fn write(&mut self, slot: usize, value: u32) {
        let upper = self.upper_half(slot);
        let owner = slot - usize::from(upper);
        if let Some(Some(bar)) = self.bars.get_mut(owner) {
            bar.write(upper, value);
        }
    }

    /// Where `slot` decodes, given which spaces COMMAND has switched on.
    #[must_use]
    pub fn decodes_at(&self, slot: usize, memory: bool, io: bool) -> Option<u64> {
        let bar = self.bars.get(slot)?.as_ref()?;
        let enabled = match bar.space {
            Space::Memory => memory,
            Space::Io => io,
        };
        if enabled { bar.decodes_at() } else { None }
    }

    /// All registers to 0, as after reset.
    pub fn reset(&mut self) {
        for bar in self.bars.iter_mut().flatten() {
            bar.base = 0;
            bar.rom_enabled = false;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is wanted"
)]
const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    low(value >> 32)
}

#[cfg(test)]
mod tests;
