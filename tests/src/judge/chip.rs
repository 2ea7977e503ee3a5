//! What a driver can do to a chip and see of it. Both chips answer to this.

use std::io;

use outrigger_proxy::Width;

/// Where the I/O BAR is.
pub const IO: u16 = 0xc000;
/// Where the registers' memory BAR is.
pub const REGISTERS: u32 = 0xfe00_0000;
/// Where the SCRIPTS RAM's memory BAR is.
pub const SCRIPTS_RAM: u32 = 0xfe01_0000;
/// Guest RAM: as much as QEMU's machine needs. As much again lies from [`ABOVE`] on.
pub const RAM: u64 = 16 << 20;
/// The first address that takes more than 32 bits. RAM from here on follows the rest in [`Chip::poke`] and [`Chip::peek`].
pub const ABOVE: u64 = 1 << 32;

/// Registers by their offset (manual, chapter 4).
pub mod at {
    #![expect(missing_docs, reason = "the manual's names")]
    pub const SCNTL0: u8 = 0x00;
    pub const SCNTL1: u8 = 0x01;
    pub const SFBR: u8 = 0x08;
    pub const DSTAT: u8 = 0x0c;
    pub const SSTAT1: u8 = 0x0e;
    pub const DSA: u8 = 0x10;
    pub const ISTAT0: u8 = 0x14;
    pub const ISTAT1: u8 = 0x15;
    pub const CTEST2: u8 = 0x1a;
    pub const DSP: u8 = 0x2c;
    pub const DMODE: u8 = 0x38;
    pub const DIEN: u8 = 0x39;
    pub const CCNTL0: u8 = 0x56;
    pub const CCNTL1: u8 = 0x57;
    pub const PMJAD1: u8 = 0xc0;
    pub const PMJAD2: u8 = 0xc4;
    pub const DCNTL: u8 = 0x3b;
    pub const SIEN0: u8 = 0x40;
    pub const SIST0: u8 = 0x42;
    pub const SIST1: u8 = 0x43;
    pub const STEST2: u8 = 0x4e;
    pub const SBDL: u8 = 0x58;
}

/// What a driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A write to a BAR.
    Write {
        /// Its number.
        bar: u8,
        /// The offset.
        at: u16,
        /// How many bytes.
        width: Width,
        /// What.
        value: u32,
    },
    /// A read of so many bytes of a BAR, in ascending order.
    Read {
        /// Its number.
        bar: u8,
        /// The offset.
        at: u16,
        /// How many bytes.
        bytes: u16,
    },
    /// A look at the interrupt line.
    Line,
}

impl Action {
    /// A write of one byte to a register.
    #[must_use]
    pub fn byte(register: u8, value: u8) -> Self {
        Self::Write {
            bar: 1,
            at: register.into(),
            width: Width::Byte,
            value: value.into(),
        }
    }

    /// A write of four bytes to a register.
    #[must_use]
    pub fn dword(register: u8, value: u32) -> Self {
        Self::Write {
            bar: 1,
            at: register.into(),
            width: Width::Dword,
            value,
        }
    }

    /// A read of registers.
    #[must_use]
    pub fn read(first: u8, bytes: u16) -> Self {
        Self::Read {
            bar: 1,
            at: first.into(),
            bytes,
        }
    }
}

/// A chip, in a machine with guest RAM and disks.
pub trait Chip {
    /// Does these one after the other; what each read saw, and the line as one byte.
    ///
    /// # Errors
    /// The chip's process has ended.
    fn act(&mut self, actions: &[Action]) -> io::Result<Vec<Vec<u8>>>;

    /// Copies into guest RAM.
    ///
    /// # Errors
    /// The range is not in RAM.
    fn poke(&self, address: u32, bytes: &[u8]) -> io::Result<()>;

    /// Copies out of guest RAM.
    ///
    /// # Errors
    /// The range is not in RAM.
    fn peek(&self, address: u32, bytes: &mut [u8]) -> io::Result<()>;

    /// Copies into SCRIPTS RAM, from its start.
    ///
    /// # Errors
    /// The chip's process has ended.
    fn fill(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Whether requests to the disks wait until they are let go.
    fn holds(&self) -> bool {
        false
    }

    /// Lets them go.
    fn release(&mut self) {}
}

/// Bits of ISTAT0.
pub mod istat0 {
    /// Abort.
    pub const ABRT: u8 = 0x80;
    /// Software reset.
    pub const SRST: u8 = 0x40;
    /// Signal process.
    pub const SIGP: u8 = 0x20;
    /// The semaphore.
    pub const SEM: u8 = 0x10;
    /// Interrupt on the fly.
    pub const INTF: u8 = 0x04;
    /// A condition in SIST or DSTAT.
    pub const PENDING: u8 = 0x03;
}

/// All that a driver can read of a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The registers. Those that cannot be looked at without harm are 0; DSTAT and SIST have all that was stacked.
    pub registers: Vec<u8>,
    /// The interrupt line.
    pub line: bool,
}

/// The registers that are read for a snapshot, as first offset and count. Before these come ISTAT0 and ISTAT1. Not read: SFBR
/// (QEMU shows 0), CTEST2 (which clears SIGP) and SBDL (which ends QEMU in some states).
const PARTS: [(u8, u16); 12] = [
    (at::DSTAT, 1),
    (at::SIST0, 2),
    (at::DSTAT, 1),
    (at::SIST0, 2),
    (0x00, 0x08),
    (0x09, 0x03),
    (0x0d, 0x07),
    (0x16, 0x04),
    (0x1b, 0x27),
    (0x44, 0x14),
    (0x59, 0x67),
    (0xc0, 0x40),
];

impl Snapshot {
    /// Does `first`, and reads everything; an interrupt is taken thereby.
    ///
    /// # Errors
    /// The chip's process has ended.
    pub fn take(chip: &mut dyn Chip, first: &[Action]) -> io::Result<Self> {
        let mut actions = first.to_vec();
        actions.extend([Action::read(at::ISTAT0, 2), Action::Line]);
        let mut rest: Vec<Action> = PARTS
            .iter()
            .map(|&(first, bytes)| Action::read(first, bytes))
            .collect();
        actions.append(&mut rest);
        let answers = chip.act(&actions)?;
        // What `first` read is not looked at.
        let from = answers.len() - PARTS.len() - 2;
        let [istat, line, parts @ ..] = &answers[from..] else {
            unreachable!("as many answers as reads");
        };
        let mut registers = vec![0; 256];
        registers[usize::from(at::ISTAT0)] = istat[0];
        registers[usize::from(at::ISTAT1)] = istat[1];
        for (&(first, _), bytes) in PARTS.iter().zip(parts) {
            for (register, byte) in registers[usize::from(first)..].iter_mut().zip(bytes) {
                *register |= byte;
            }
        }
        // QEMU keeps DSTAT as long as INTF is set. SCRIPTS that go on may be looked at again: INTF stays.
        if istat[0] & istat0::INTF != 0 && istat[0] & istat0::PENDING != 0 {
            let kept = istat[0] & (istat0::SIGP | istat0::SEM);
            let cleared = chip.act(&[
                Action::byte(at::ISTAT0, kept | istat0::INTF),
                Action::read(at::DSTAT, 1),
            ])?;
            registers[usize::from(at::DSTAT)] |= cleared[0][0];
        }
        Ok(Self {
            registers,
            line: line[0] != 0,
        })
    }

    /// One register.
    #[must_use]
    pub fn byte(&self, register: u8) -> u8 {
        self.registers[usize::from(register)]
    }

    /// Four registers.
    #[must_use]
    pub fn dword(&self, register: u8) -> u32 {
        let bytes = self.registers[usize::from(register)..].first_chunk();
        u32::from_le_bytes(*bytes.expect("a register of four bytes"))
    }

    /// Whether SCRIPTS have stopped with an interrupt.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.byte(at::ISTAT0) & istat0::PENDING != 0
    }
}
