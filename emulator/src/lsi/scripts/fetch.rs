//! Step 7, the chip as bus master: SCRIPTS RAM and the chip's registers inside, guest RAM through the gate.
//!
//! An address is compared with the chip's own windows first (manual, section 2.2.2). SCRIPTS RAM is read
//! and written directly. The chip's own registers are reached by memory moves only, byte by byte,
//! through the same code as a host access, which never executes anything; any other access to them is
//! a bus fault. There is no instruction cache, so self-modifying scripts need no flush.

use std::ops::Range;

use crate::dma::{Fault, Gate};
use crate::lsi::Lsi;
use crate::lsi::register_access::Origin;

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This part of SCRIPTS RAM.
    Ram(Range<usize>),
    /// The chip's register at this offset.
    Register(u8),
    /// Guest RAM.
    Guest,
}

/// Bytes of the register window (895A: four images of the registers).
const fn register_window(wide: bool) -> u64 {
    if wide { 0x400 } else { 0x100 }
}

impl Lsi {
    /// Where `address` leads, and how many of `count` bytes from there on lead to the same place.
    pub(super) fn place(&self, address: u64, count: u32) -> (Place, u32) {
        let ram = self.windows[2].map(|base| (base, self.ram.len() as u64));
        let registers = self.windows[1].map(|base| (base, register_window(self.model.is_wide())));
        if let Some((base, size)) = ram
            && let Some(at) = address.checked_sub(base)
            && at < size
        {
            let n = count.min(u32::try_from(size - at).unwrap_or(count));
            let start = usize::try_from(at).unwrap_or(0);
            return (Place::Ram(start..start + n as usize), n);
        }
        if let Some((base, size)) = registers
            && let Some(at) = address.checked_sub(base)
            && at < size
        {
            return (Place::Register(at.to_le_bytes()[0]), 1);
        }
        let mut n = count;
        for (base, size) in [ram, registers].into_iter().flatten() {
            if size > 0
                && let Some(distance) = base.checked_sub(address)
            {
                n = n.min(u32::try_from(distance).unwrap_or(n));
            }
        }
        (Place::Guest, n)
    }

    /// Reads memory for an instruction.
    pub(super) fn read_memory(
        &self,
        gate: &Gate,
        mut address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let (place, n) = self.place(address, wanted);
            let (now, later) = rest.split_at_mut(n as usize);
            match place {
                Place::Ram(range) => self.ram.read(range.start, now),
                Place::Register(_) => return Err(Fault::Unmapped(address)),
                Place::Guest => gate.read(address, now)?,
            }
            address = address.wrapping_add(u64::from(n));
            rest = later;
        }
        Ok(())
    }

    /// Writes memory for an instruction.
    pub(super) fn write_memory(
        &mut self,
        gate: &Gate,
        mut address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let (place, n) = self.place(address, wanted);
            let (now, later) = rest.split_at(n as usize);
            match place {
                Place::Ram(range) => self.ram.write(range.start, now),
                Place::Register(_) => return Err(Fault::Unmapped(address)),
                Place::Guest => gate.write(address, now)?,
            }
            address = address.wrapping_add(u64::from(n));
            rest = later;
        }
        Ok(())
    }

    /// One Dword.
    pub(super) fn read_dword(&self, gate: &Gate, address: u64) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        self.read_memory(gate, address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Bytes for a memory move: the chip's own registers count too.
    pub(super) fn copy_in(
        &mut self,
        gate: &Gate,
        mut address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let (place, n) = self.place(address, wanted);
            let (now, later) = rest.split_at_mut(n as usize);
            match place {
                Place::Register(offset) => now.fill(self.read_register(offset)),
                Place::Ram(_) | Place::Guest => self.read_memory(gate, address, now)?,
            }
            address = address.wrapping_add(u64::from(n));
            rest = later;
        }
        Ok(())
    }

    /// The other direction of [`Lsi::copy_in`].
    pub(super) fn copy_out(
        &mut self,
        gate: &Gate,
        mut address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let (place, n) = self.place(address, wanted);
            let (now, later) = rest.split_at(n as usize);
            match (place, now) {
                (Place::Register(offset), &[value]) => {
                    self.write_register(offset, value, Origin::Host);
                }
                _ => self.write_memory(gate, address, now)?,
            }
            address = address.wrapping_add(u64::from(n));
            rest = later;
        }
        Ok(())
    }
}
