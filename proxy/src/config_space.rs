//! Step 2, decode: the proxy's shadow of type 0 config space (PCI 3.0, section 6.1).
//!
//! The emulator owns config space; every guest write goes to it and is waited for. But which
//! addresses the device decodes must not hang on the emulator's word, so the proxy keeps for itself
//! the BARs, the ROM's register and the two decode bits of COMMAND (0 I/O space, 1 memory space):
//! it computes them from the guest's writes and the sizes that it checked at attach, and lays them
//! over what the emulator answers to a read. A read that they cover wholly, as of a BAR, is
//! answered here.
//!
//! The rest of COMMAND is forwarded and read back from the emulator: bus mastering (bit 2) and INTx
//! disable (bit 10) govern what the emulator does, and it keeps them.

use std::sync::Arc;

use outrigger_ring::Width;

use crate::bar_memory::{BarMemory, MapMemory, Placement};
use crate::bars::{BarError, BarSet, ROM, SLOTS, Space};
use crate::decode::Windows;

/// Bytes of config space that the shadow knows: the type 0 header and the capabilities.
pub const HEADER: usize = 0x100;

const COMMAND: u16 = 0x04;
const COMMAND_IO: u8 = 1 << 0;
const COMMAND_MEMORY: u8 = 1 << 1;
const HEADER_TYPE: usize = 0x0e;
const FIRST_BAR: u16 = 0x10;
const LAST_BAR: u16 = 0x27;
const ROM_REGISTER: u16 = 0x30;
const ROM_LAST: u16 = 0x33;

/// Why a config space is not one that the proxy can shadow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Bridges have another layout.
    #[error("header type {0:#04x} is not type 0")]
    HeaderType(u8),
    /// The BARs make no sense.
    #[error(transparent)]
    Bars(#[from] BarError),
}

/// The part of config space that decides what the device decodes.
#[derive(Debug)]
pub struct ConfigSpace {
    bars: BarSet,
    /// COMMAND's decode bits.
    command: u8,
    /// Those of them that the device has BARs for; the others read 0.
    command_mask: u8,
    windows: Arc<Windows>,
    placement: Placement,
}

impl ConfigSpace {
    /// The shadow of a config space that looks like `snapshot` at the moment, with regions 0 to 6
    /// of these sizes.
    ///
    /// # Errors
    /// It is not a type 0 header, or its BARs are impossible.
    pub fn new(snapshot: &[u8; HEADER], sizes: [u64; SLOTS]) -> Result<Self, ConfigError> {
        let [.., header_type] = snapshot[..=HEADER_TYPE] else {
            return Err(ConfigError::HeaderType(0xff));
        };
        if header_type & 0x7f != 0 {
            return Err(ConfigError::HeaderType(header_type));
        }
        let mut registers = [0; SLOTS];
        for (slot, register) in registers.iter_mut().enumerate() {
            let at = if slot == ROM {
                usize::from(ROM_REGISTER)
            } else {
                usize::from(FIRST_BAR) + 4 * slot
            };
            if let Some(&bytes) = snapshot.get(at..).and_then(<[u8]>::first_chunk) {
                *register = u32::from_le_bytes(bytes);
            }
        }
        let bars = BarSet::describe(registers, sizes)?;
        let has = |space| bars.iter().flatten().any(|bar| bar.space() == space);
        let command_mask = if has(Space::Io) { COMMAND_IO } else { 0 }
            | if has(Space::Memory) {
                COMMAND_MEMORY
            } else {
                0
            };
        let windows = Arc::new(Windows::new(&bars));
        let command = snapshot.get(usize::from(COMMAND)).copied().unwrap_or(0) & command_mask;
        let mut shadow = Self {
            bars,
            command,
            command_mask,
            windows,
            placement: Placement::default(),
        };
        shadow.publish();
        Ok(shadow)
    }

    /// The windows that this config space opens, for lookups on other threads.
    #[must_use]
    pub fn windows(&self) -> Arc<Windows> {
        Arc::clone(&self.windows)
    }

    /// The BARs.
    #[must_use]
    pub const fn bars(&self) -> &BarSet {
        &self.bars
    }

    /// What the proxy itself knows of `width` bytes at `offset`: their value and which bits it
    /// covers. Mask all ones (of the width): there is no need to ask the emulator.
    #[must_use]
    pub fn known(&self, offset: u16, width: Width) -> (u64, u64) {
        let (mut value, mut mask) = (0, 0);
        for (shift, at) in (0u32..)
            .step_by(8)
            .zip(offset..offset.saturating_add(u16::from(width.bytes())))
        {
            let (byte, byte_mask) = self.known_byte(at);
            value |= u64::from(byte & byte_mask) << shift;
            mask |= u64::from(byte_mask) << shift;
        }
        (value, mask)
    }

    fn known_byte(&self, at: u16) -> (u8, u8) {
        match at {
            COMMAND => (self.command, COMMAND_IO | COMMAND_MEMORY),
            _ => match bar_byte(at) {
                Some((slot, byte)) => {
                    let register = self.bars.read(slot).to_le_bytes();
                    (register.get(byte).copied().unwrap_or(0), 0xff)
                }
                None => (0, 0),
            },
        }
    }

    /// Follows a guest's write, byte by byte, and opens, moves or closes windows accordingly.
    pub fn write(&mut self, offset: u16, width: Width, value: u64) {
        let bytes = value.to_le_bytes();
        let mut decode_changed = false;
        for (at, &byte) in (offset..offset.saturating_add(u16::from(width.bytes()))).zip(&bytes) {
            if at == COMMAND {
                self.command = byte & self.command_mask;
                decode_changed = true;
            } else if let Some((slot, index)) = bar_byte(at) {
                let mut register = self.bars.read(slot).to_le_bytes();
                if let Some(old) = register.get_mut(index) {
                    *old = byte;
                }
                self.bars.write(slot, u32::from_le_bytes(register));
                decode_changed = true;
            }
        }
        if decode_changed {
            self.publish();
        }
    }

    /// As after a PCI reset: BARs 0, nothing decodes.
    pub fn reset(&mut self) {
        let Self {
            bars,
            command,
            command_mask: _,
            windows: _,
            placement: _,
        } = self;
        bars.reset();
        *command = 0;
        self.publish();
    }

    /// Which of its memory BARs are backed by memory that can be mapped, from now on.
    pub(crate) fn share(&mut self, memories: Vec<BarMemory>) {
        self.placement = Placement::new(memories);
    }

    /// The memories that can be mapped.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &BarMemory> {
        self.placement.memories()
    }

    /// Who maps them from now on.
    pub(crate) fn set_mapper(&mut self, mapper: Option<Box<dyn MapMemory>>) {
        self.placement.set_mapper(mapper);
        self.publish();
    }

    fn publish(&mut self) {
        let memory = self.command & COMMAND_MEMORY != 0;
        let io = self.command & COMMAND_IO != 0;
        for slot in 0..SLOTS {
            self.windows
                .set(slot, self.bars.decodes_at(slot, memory, io));
        }
        let bars = &self.bars;
        self.placement
            .follow(|region| bars.decodes_at(region.into(), memory, io));
    }
}

/// Which byte of which BAR's register lies at `at`.
fn bar_byte(at: u16) -> Option<(usize, usize)> {
    match at {
        FIRST_BAR..=LAST_BAR => {
            let index = usize::from(at - FIRST_BAR);
            Some((index / 4, index % 4))
        }
        ROM_REGISTER..=ROM_LAST => Some((ROM, usize::from(at - ROM_REGISTER))),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
