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

/// Bytes on their way, seen from the chip.
#[derive(Debug)]
pub(super) enum Bytes<'a> {
    In(&'a mut [u8]),
    Out(&'a [u8]),
}

impl Bytes<'_> {
    fn len(&self) -> u32 {
        let len = match self {
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) => bytes.len(),
        };
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    fn split_at(self, n: u32) -> (Self, Self) {
        match self {
            Self::In(bytes) => {
                let (now, later) = bytes.split_at_mut(n as usize);
                (Self::In(now), Self::In(later))
            }
            Self::Out(bytes) => {
                let (now, later) = bytes.split_at(n as usize);
                (Self::Out(now), Self::Out(later))
            }
        }
    }
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

    /// Where an address in I/O space leads.
    fn io_place(&self, address: u64) -> Result<Place, Fault> {
        self.windows[0]
            .and_then(|base| address.checked_sub(base))
            .and_then(|at| u8::try_from(at).ok())
            .map(Place::Register)
            .ok_or(Fault::Unmapped(address))
    }

    /// Reads memory for an instruction.
    pub(in crate::lsi) fn read_memory(
        &mut self,
        gate: &Gate,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        self.walk(gate, address, Bytes::In(bytes), Reach::Memory)
    }

    /// Writes memory for an instruction.
    pub(super) fn write_memory(
        &mut self,
        gate: &Gate,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        self.walk(gate, address, Bytes::Out(bytes), Reach::Memory)
    }

    /// One Dword.
    pub(super) fn read_dword(&mut self, gate: &Gate, address: u64) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        self.read_memory(gate, address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Moves bytes, part by part of what leads to one place. On a fault the parts before it have moved.
    pub(super) fn walk(
        &mut self,
        gate: &Gate,
        mut address: u64,
        mut bytes: Bytes<'_>,
        reach: Reach,
    ) -> Result<(), Fault> {
        while bytes.len() > 0 {
            let (place, n) = match reach {
                Reach::Io => (self.io_place(address)?, 1),
                _ => self.place(address, bytes.len()),
            };
            let (now, later) = bytes.split_at(n);
            match (place, now) {
                (Place::Ram(range), Bytes::In(now)) => self.ram.read(range.start, now),
                (Place::Ram(range), Bytes::Out(now)) => self.ram.write(range.start, now),
                (Place::Guest, Bytes::In(now)) => gate.read(address, now)?,
                (Place::Guest, Bytes::Out(now)) => gate.write(address, now)?,
                (Place::Register(_), _) if reach == Reach::Memory => {
                    return Err(Fault::Unmapped(address));
                }
                (Place::Register(offset), Bytes::In(now)) => {
                    now.fill_with(|| self.read_register(offset));
                }
                (Place::Register(offset), Bytes::Out(now)) => {
                    for &value in now {
                        self.write_register(offset, value, Origin::Host);
                    }
                }
            }
            address = address.wrapping_add(u64::from(n));
            bytes = later;
        }
        Ok(())
    }
}
