//! Step 7, the chip as bus master: SCRIPTS RAM and the chip's registers inside, guest RAM through the gate.
//!
//! An address is compared with the chip's own windows first (manual, section 2.2.2). SCRIPTS RAM is read
//! and written directly. The chip's own registers are reached by memory moves only, byte by byte,
//! through the same code as a host access, which never executes anything; any other access to them is
//! a bus fault. There is no instruction cache, so self-modifying scripts need no flush.

use std::ops::Range;

use super::execute::REGISTER_WEIGHT;
use crate::lsi::Lsi;
use crate::lsi::register_access::Origin;
use outrigger_device::dma::{Fault, Gate};

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

/// Where all of an access leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    /// SCRIPTS RAM, from this byte on.
    Ram(usize),
    /// Guest RAM.
    Guest,
}

/// Where the addresses of an access lie, and what it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Memory: guest RAM and SCRIPTS RAM.
    Memory,
    /// The same and, through their window, the chip's own registers.
    Registers,
    /// I/O space: nothing but the chip's own registers answers there.
    Io,
}

/// Some of the bytes of an access: where they lead, and which they are.
#[derive(Debug)]
struct Part {
    place: Place,
    address: u64,
    bytes: Range<usize>,
}

/// Bytes of the register window (895A: four images of the registers).
const fn register_window(wide: bool) -> u64 {
    if wide { 0x400 } else { 0x100 }
}

impl Lsi {
    /// Where `address` leads, and how many of `count` bytes from there on lead to the same place.
    pub(super) fn place(&self, address: u64, count: u32) -> (Place, u32) {
        match self.whole(address, count as usize) {
            Some(Whole::Ram(at)) => return (Place::Ram(at..at + count as usize), count),
            Some(Whole::Guest) => return (Place::Guest, count),
            None => {}
        }
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

    /// Whether an access covers one of these registers in the chip's window, or in an image of it.
    pub(super) fn reaches<const N: usize>(
        &self,
        address: u64,
        count: u32,
        reach: Reach,
        registers: [u8; N],
    ) -> bool {
        let (window, size) = match reach {
            Reach::Memory => return false,
            Reach::Registers => (self.windows[1], register_window(self.model.is_wide())),
            Reach::Io => (self.windows[0], 0x100),
        };
        let Some(base) = window else {
            return false;
        };
        let end = address.saturating_add(count.into());
        if end <= base || address >= base.saturating_add(size) {
            return false;
        }
        let images = (0..size).step_by(0x100);
        images.map(|image| base.saturating_add(image)).any(|image| {
            let covered =
                |register: u8| (address..end).contains(&image.saturating_add(register.into()));
            registers.into_iter().any(covered)
        })
    }

    /// Where an address in I/O space leads.
    pub(super) fn io_place(&self, address: u64) -> Result<Place, Fault> {
        self.windows[0]
            .and_then(|base| address.checked_sub(base))
            .and_then(|at| u8::try_from(at).ok())
            .map(Place::Register)
            .ok_or(Fault::Unmapped(address))
    }

    /// Reads memory for an instruction.
    pub(super) fn read_memory(
        &mut self,
        gate: &Gate,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        self.copy_in(gate, address, Reach::Memory, bytes)
    }

    /// The same where the length is known: an instruction, a table entry, a word. Nearly always all of it is in one place.
    #[inline]
    pub(in crate::lsi) fn read_array<const N: usize>(
        &mut self,
        gate: &Gate,
        address: u64,
    ) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        match self.whole(address, N) {
            Some(Whole::Ram(at)) => self.ram.read(at, &mut bytes),
            Some(Whole::Guest) => gate.read(address, &mut bytes)?,
            None => self.copy_in(gate, address, Reach::Memory, &mut bytes)?,
        }
        Ok(bytes)
    }

    /// Writes memory for an instruction.
    #[inline]
    pub(super) fn write_memory(
        &mut self,
        gate: &Gate,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        match self.whole(address, bytes.len()) {
            Some(Whole::Ram(at)) => {
                self.ram.write(at, bytes);
                Ok(())
            }
            Some(Whole::Guest) => gate.write(address, bytes),
            None => self.copy_out(gate, address, Reach::Memory, bytes),
        }
    }

    /// Where all of an access to memory leads, if it is one place.
    #[inline]
    fn whole(&self, address: u64, bytes: usize) -> Option<Whole> {
        let count = bytes as u64;
        if let Some(base) = self.windows[2] {
            let at = usize::try_from(address.wrapping_sub(base)).ok()?;
            if at < self.ram.len() {
                return (bytes <= self.ram.len() - at).then_some(Whole::Ram(at));
            }
            if base.wrapping_sub(address) < count {
                return None;
            }
        }
        if let Some(base) = self.windows[1]
            && (address.wrapping_sub(base) < register_window(self.model.is_wide())
                || base.wrapping_sub(address) < count)
        {
            return None;
        }
        Some(Whole::Guest)
    }

    /// Reads for a memory move.
    pub(super) fn copy_in(
        &mut self,
        gate: &Gate,
        address: u64,
        reach: Reach,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        self.walk(address, bytes.len(), reach, |lsi, part| {
            lsi.read_part(gate, part, bytes)
        })
    }

    /// Writes for a memory move.
    pub(super) fn copy_out(
        &mut self,
        gate: &Gate,
        address: u64,
        reach: Reach,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        self.walk(address, bytes.len(), reach, |lsi, part| {
            lsi.write_part(gate, part, bytes)
        })
    }

    /// One Dword.
    pub(super) fn read_dword(&mut self, gate: &Gate, address: u64) -> Result<u32, Fault> {
        self.read_array(gate, address).map(u32::from_le_bytes)
    }

    #[inline]
    fn read_part(&mut self, gate: &Gate, part: Part, bytes: &mut [u8]) -> Result<(), Fault> {
        let now = bytes.get_mut(part.bytes).unwrap_or_default();
        self.weigh(&part.place, now.len());
        match part.place {
            Place::Ram(range) => self.ram.read(range.start, now),
            Place::Guest => gate.read(part.address, now)?,
            Place::Register(offset) => now.fill_with(|| self.read_register(offset)),
        }
        Ok(())
    }

    #[inline]
    fn write_part(&mut self, gate: &Gate, part: Part, bytes: &[u8]) -> Result<(), Fault> {
        let now = bytes.get(part.bytes).unwrap_or_default();
        self.weigh(&part.place, now.len());
        match part.place {
            Place::Ram(range) => self.ram.write(range.start, now),
            Place::Guest => gate.write(part.address, now)?,
            Place::Register(offset) => {
                for &value in now {
                    self.write_register(offset, value, Origin::Host);
                }
            }
        }
        Ok(())
    }

    /// Counts what a register's bytes cost.
    #[inline]
    fn weigh(&mut self, place: &Place, count: usize) {
        if let Place::Register(_) = place {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let cost = count.saturating_mul(REGISTER_WEIGHT);
            self.processor.moved = self.processor.moved.saturating_add(cost);
        }
    }

    /// Cuts `count` bytes into parts that each lead to one place. On a fault the parts before it have been moved.
    fn walk(
        &mut self,
        start: u64,
        count: usize,
        reach: Reach,
        mut moved: impl FnMut(&mut Self, Part) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut at = 0;
        while at < count {
            let address = start.wrapping_add(at as u64);
            let left = u32::try_from(count - at).unwrap_or(u32::MAX);
            let (place, n) = match reach {
                Reach::Io => (self.io_place(address)?, 1),
                _ => self.place(address, left),
            };
            if reach == Reach::Memory && matches!(place, Place::Register(_)) {
                return Err(Fault::Unmapped(address));
            }
            let bytes = at..at + n as usize;
            at = bytes.end;
            moved(
                self,
                Part {
                    place,
                    address,
                    bytes,
                },
            )?;
        }
        Ok(())
    }
}
