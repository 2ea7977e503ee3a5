//! A program for both chips: registers, SCRIPTS, the memory around them, and what the driver does when SCRIPTS wait.

use std::fmt;

use outrigger_emulator::lsi::Model;
use outrigger_emulator::lsi::scripts::{Instruction, disassemble};

use super::chip::{Action, SCRIPTS_RAM, at};
use crate::random::Random;

/// The guest memory that programs use and that is compared: code, then tables, then data.
pub const WINDOW: u32 = 0x10_0000;
/// The same above 4 GiB, as `Chip::peek` has it.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
pub const WINDOW_ABOVE: u32 = super::chip::RAM as u32 + WINDOW;
/// Its bytes.
pub const WINDOW_BYTES: usize = 0x4000;
/// Where SCRIPTS lie that are not in SCRIPTS RAM.
pub const CODE: u32 = WINDOW;
/// Where DSA points at first.
pub const TABLE: u32 = WINDOW + 0x1000;
/// Where the prelude is.
const PRELUDE: u32 = WINDOW + 0xc00;
/// Where data are.
pub const DATA: u32 = WINDOW + 0x2000;
/// Bytes of SCRIPTS RAM that programs use and that are compared.
pub const RAM_BYTES: usize = 0x400;
/// The number of the INT that ends a program.
pub const END: u32 = 0x0e0d;

/// An instruction, and where it jumps to if that is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its two or three Dwords.
    pub words: Vec<u32>,
    /// The item whose address the second Dword is, absolutely or relatively.
    pub target: Option<usize>,
}

impl Item {
    /// An instruction that goes nowhere else.
    #[must_use]
    pub fn plain(words: &[u32]) -> Self {
        Self {
            words: words.to_vec(),
            target: None,
        }
    }

    /// Whether its second Dword is relative: bit 23 of a transfer control, bit 26 of an I/O instruction.
    fn is_relative(&self) -> bool {
        let first = self.words[0];
        match first >> 30 {
            1 => first >> 26 & 1 != 0,
            _ => first >> 23 & 1 != 0,
        }
    }
}

/// What the driver does when SCRIPTS wait for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Sets ISTAT0.SIGP.
    Signal,
    /// Lets the disks answer.
    Release,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which chip it is for.
    pub model: Model,
    /// Writes before the start.
    pub setup: Vec<Action>,
    /// The instructions; an INT follows them.
    pub items: Vec<Item>,
    /// Bytes at places of the window.
    pub memory: Vec<(u32, Vec<u8>)>,
    /// The code is in SCRIPTS RAM.
    pub in_ram: bool,
    /// The disks have told before that they were reset.
    pub ready: bool,
    /// What the driver does.
    pub driver: Vec<Driver>,
    /// It has addresses of more than 32 bits.
    pub long: bool,
}

impl Program {
    /// One that only ends.
    #[must_use]
    pub const fn empty(model: Model) -> Self {
        Self {
            model,
            setup: Vec::new(),
            items: Vec::new(),
            memory: Vec::new(),
            in_ram: false,
            ready: false,
            driver: Vec::new(),
            long: false,
        }
    }

    /// Where the code is.
    #[must_use]
    pub const fn start(&self) -> u32 {
        if self.in_ram { SCRIPTS_RAM } else { CODE }
    }

    /// The instructions with their addresses.
    #[must_use]
    pub fn laid_out(&self) -> Vec<(u32, Vec<u32>)> {
        let end = Item::plain(&[0x9808_0000, END]);
        let items = self.items.iter().chain([&end]);
        let addresses: Vec<u32> = items
            .clone()
            .scan(self.start(), |next, item| {
                let here = *next;
                *next += 4 * u32::try_from(item.words.len()).unwrap_or(0);
                Some(here)
            })
            .collect();
        items
            .zip(&addresses)
            .map(|(item, &here)| {
                let mut words = item.words.clone();
                if let Some(target) = item.target {
                    let target = addresses[target.min(addresses.len() - 1)];
                    words[1] = if item.is_relative() {
                        target.wrapping_sub(here + 8) & 0x00ff_ffff
                    } else {
                        target
                    };
                }
                (here, words)
            })
            .collect()
    }

    /// The code as bytes.
    #[must_use]
    pub fn code(&self) -> Vec<u8> {
        let words = self.laid_out().into_iter().flat_map(|(_, words)| words);
        words.flat_map(u32::to_le_bytes).collect()
    }

    /// The compared memory at the start.
    #[must_use]
    pub fn window(&self) -> Vec<u8> {
        let mut window = Random::new(7).bytes(WINDOW_BYTES);
        let prelude = Self::prelude_code();
        let at = (PRELUDE - WINDOW) as usize;
        window[at..at + prelude.len()].copy_from_slice(&prelude);
        self.place_memory(&mut window);
        if !self.in_ram {
            let code = self.code();
            window[..code.len()].copy_from_slice(&code);
        }
        window
    }

    fn place_memory(&self, window: &mut [u8]) {
        for (address, bytes) in &self.memory {
            let at = (address - WINDOW) as usize;
            window[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// The memory at the same place above 4 GiB, at the start; nothing where the program does not know of it.
    #[must_use]
    pub fn window_above(&self) -> Vec<u8> {
        if !self.long {
            return Vec::new();
        }
        let mut window = Random::new(11).bytes(WINDOW_BYTES);
        self.place_memory(&mut window);
        window
    }

    /// The compared SCRIPTS RAM at the start; nothing in a 53C810.
    #[must_use]
    pub fn scripts_ram(&self) -> Vec<u8> {
        if self.model == Model::Lsi53c810 {
            return Vec::new();
        }
        let mut bytes = if self.in_ram { self.code() } else { Vec::new() };
        bytes.resize(RAM_BYTES, 0);
        bytes
    }

    /// The same programs with one thing less, the last instructions first.
    pub fn without_one(&self) -> impl Iterator<Item = Self> {
        let items = (0..self.items.len()).rev().map(|gone| {
            let mut program = self.clone();
            program.items.remove(gone);
            for item in &mut program.items {
                if let Some(target) = &mut item.target
                    && *target > gone
                {
                    *target -= 1;
                }
            }
            program
        });
        let setup = (0..self.setup.len()).map(|gone| {
            let mut program = self.clone();
            program.setup.remove(gone);
            program
        });
        let driver = (0..self.driver.len()).map(|gone| {
            let mut program = self.clone();
            program.driver.remove(gone);
            program
        });
        items.chain(setup).chain(driver)
    }

    /// Whether anything in it depends on SFBR.
    #[must_use]
    pub fn uses_sfbr(&self) -> bool {
        self.items.iter().any(|item| {
            let instruction = Instruction::decode([item.words[0], item.words[1]]);
            let stores = matches!(instruction, Instruction::LoadStore(l)
                if !l.load && (l.register..l.register.saturating_add(l.count)).contains(&at::SFBR));
            stores || super::known::uses_sfbr(instruction)
        })
    }

    /// Whether it looks at a phase without waiting for it.
    #[must_use]
    pub fn looks_at_phases(&self) -> bool {
        self.items.iter().any(|item| {
            let instruction = Instruction::decode([item.words[0], item.words[1]]);
            matches!(instruction, Instruction::Transfer(t)
                if t.condition.phase.is_some() && !t.condition.wait)
        })
    }

    /// TEST UNIT READY for each disk, until it has nothing to tell.
    #[must_use]
    pub fn prelude() -> Vec<Action> {
        vec![
            Action::dword(at::DSP, PRELUDE),
            Action::read(at::DSTAT, 1),
            Action::read(at::SIST0, 2),
        ]
    }

    /// What [`Program::prelude`] starts.
    fn prelude_code() -> Vec<u8> {
        let data = PRELUDE + 0x380;
        let mut words = Vec::new();
        for id in [0, 0, 2, 2] {
            words.extend([
                [0x4100_0000 | id << 16, PRELUDE],
                [0x0e00_0001, data],
                [0x0a00_0006, data + 8],
                [0x0b00_0001, data + 0x10],
                [0x0f00_0001, data + 0x11],
                [0x6000_0040, 0],
                [0x4800_0000, 0],
            ]);
        }
        words.push([0x9808_0000, END]);
        let mut bytes: Vec<u8> = words
            .into_iter()
            .flatten()
            .flat_map(u32::to_le_bytes)
            .collect();
        bytes.resize(0x400, 0);
        bytes[0x380] = 0x80;
        bytes
    }

    /// What brings a chip from whatever it did to the beginning.
    #[must_use]
    pub fn reset() -> Vec<Action> {
        use super::chip::istat0::SRST;
        vec![
            Action::byte(at::ISTAT0, SRST),
            Action::byte(at::ISTAT0, 0),
            // The bus, so that its units are alike; the interrupt of it.
            Action::byte(at::SCNTL1, 0x08),
            Action::byte(at::SCNTL1, 0),
            Action::read(at::SIST0, 2),
            Action::byte(at::ISTAT0, SRST),
            Action::byte(at::ISTAT0, 0),
            // QEMU's reset leaves it, but its host can write it.
            Action::byte(at::SFBR, 0),
        ]
    }
}

/// One instruction as text.
#[must_use]
pub fn line(words: &[u32]) -> String {
    let [first, second, rest @ ..] = words else {
        return String::new();
    };
    let text = disassemble(Instruction::decode([*first, *second]));
    let third = rest.iter().map(|word| format!(" {word:#010x}"));
    format!(
        "{first:08x} {second:08x}  {text}{}",
        third.collect::<String>()
    )
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.ready { ", disks ready" } else { "" };
        writeln!(f, "{:?}{ready}", self.model)?;
        for action in &self.setup {
            writeln!(f, "  {action:x?}")?;
        }
        for (address, bytes) in &self.memory {
            writeln!(f, "  {address:08x}: {bytes:02x?}")?;
        }
        for (address, words) in self.laid_out() {
            writeln!(f, "  {address:08x}: {}", line(&words))?;
        }
        if !self.driver.is_empty() {
            writeln!(f, "  waiting: {:?}", self.driver)?;
        }
        Ok(())
    }
}
