//! An assembler for SCRIPTS, the instruction set of the LSI 53C8xx chips (53C895A technical manual, chapter 5).
//!
//! Labels may be used before they are bound. Jumps to a label are relative, so that a program runs wherever it is
//! loaded; addresses of data are absolute and count from the base given at the start.
//!
//! ```
//! use outrigger_vmm::guest::assembler::{Assembler, Condition, Phase};
//!
//! let mut script = Assembler::new(0x1000);
//! let fail = script.label();
//! script.jump(fail, Condition::when_not(Phase::MessageOut));
//! script.move_direct(1, 0x2000, Phase::MessageOut);
//! script.bind(fail);
//! script.interrupt(7, Condition::ALWAYS);
//! let program = script.finish().unwrap();
//! assert_eq!(program.bytes().len(), 24);
//! ```

mod condition;
mod program;

pub use condition::{Condition, Phase};
pub use program::{AssembleError, Program};

/// A place in the program, bound once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(pub(super) usize);

/// The arithmetic of a register instruction (section 5.5.2). The discriminant is the operator field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operator {
    /// Take the data byte as it is.
    Move = 0,
    /// Shift left by one; the carry comes in and goes out.
    ShiftLeft = 1,
    /// Bitwise or.
    Or = 2,
    /// Bitwise exclusive or.
    Xor = 3,
    /// Bitwise and.
    And = 4,
    /// Shift right by one; the carry comes in and goes out.
    ShiftRight = 5,
    /// Add without the carry.
    Add = 6,
    /// Add with the carry.
    AddWithCarry = 7,
}

/// What SET and CLEAR act on; combine with `|`.
pub mod signal {
    /// The SATN/ line.
    pub const ATN: u32 = 0x0000_0008;
    /// The SACK/ line.
    pub const ACK: u32 = 0x0000_0040;
    /// Target mode.
    pub const TARGET: u32 = 0x0000_0200;
    /// The ALU's carry.
    pub const CARRY: u32 = 0x0000_0400;
}

/// Where a word is to be filled in once the labels are known.
#[derive(Clone, Copy, Debug)]
enum Fixup {
    /// The distance from the end of the instruction, 24 bits.
    Relative { word: usize, label: Label },
    /// The label's address plus an offset.
    Absolute {
        word: usize,
        label: Label,
        plus: u32,
    },
}

/// An address operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A bus address.
    Bus(u32),
    /// The address of a label.
    Of(Label),
    /// The address this many bytes after a label.
    After(Label, u32),
}

impl From<u32> for Address {
    fn from(address: u32) -> Self {
        Self::Bus(address)
    }
}

impl From<Label> for Address {
    fn from(label: Label) -> Self {
        Self::Of(label)
    }
}

/// A program in the making.
#[derive(Clone, Debug)]
pub struct Assembler {
    base: u32,
    words: Vec<u32>,
    labels: Vec<Option<u32>>,
    bound_twice: Option<Label>,
    fixups: Vec<Fixup>,
}

const RELATIVE: u32 = 0x0400_0000;
const TABLE: u32 = 0x0200_0000;

impl Assembler {
    /// An empty program that will be loaded at `base`.
    #[must_use]
    pub const fn new(base: u32) -> Self {
        Self {
            base,
            words: Vec::new(),
            labels: Vec::new(),
            bound_twice: None,
            fixups: Vec::new(),
        }
    }

    /// A new label, not bound yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds `label` to the next word.
    pub fn bind(&mut self, label: Label) {
        let here = self.here();
        match self.labels.get_mut(label.0) {
            Some(place @ None) => *place = Some(here),
            _ => self.bound_twice = Some(label),
        }
    }

    /// A new label, bound to the next word.
    pub fn bound_label(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// The address of the next word.
    #[must_use]
    pub fn here(&self) -> u32 {
        let words = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.base.wrapping_add(words.wrapping_mul(4))
    }

    /// A word of data.
    pub fn word(&mut self, value: u32) {
        self.words.push(value);
    }

    fn two(&mut self, first: u32, second: impl Into<Address>) {
        self.words.push(first);
        self.operand(second.into());
    }

    fn operand(&mut self, address: Address) {
        let word = self.words.len();
        match address {
            Address::Bus(address) => return self.words.push(address),
            Address::Of(label) => self.fixups.push(Fixup::Absolute {
                word,
                label,
                plus: 0,
            }),
            Address::After(label, plus) => self.fixups.push(Fixup::Absolute { word, label, plus }),
        }
        self.words.push(0);
    }

    fn branch(&mut self, first: u32, label: Label) {
        self.words.push(first);
        self.fixups.push(Fixup::Relative {
            word: self.words.len(),
            label,
        });
        self.words.push(0);
    }

    // Block moves (section 5.3). Only the low 24 bits of a count exist.

    /// MOVE `count`, `address`, WHEN `phase`.
    pub fn move_direct(&mut self, count: u32, address: impl Into<Address>, phase: Phase) {
        self.two(0x0800_0000 | phase.field() | (count & 0x00ff_ffff), address);
    }

    /// MOVE `count`, PTR `pointer`, WHEN `phase`: the address lies in memory at `pointer`.
    pub fn move_indirect(&mut self, count: u32, pointer: impl Into<Address>, phase: Phase) {
        self.two(0x2800_0000 | phase.field() | (count & 0x00ff_ffff), pointer);
    }

    /// MOVE FROM `offset`, WHEN `phase`: count and address lie at DSA + `offset`.
    pub fn move_table(&mut self, offset: i32, phase: Phase) {
        self.two(0x1800_0000 | phase.field(), offset24(offset));
    }

    /// CHMOV `count`, `address`, WHEN `phase`: an odd byte of a wide transfer is kept for the next move.
    pub fn chained_move_direct(&mut self, count: u32, address: impl Into<Address>, phase: Phase) {
        self.two(phase.field() | (count & 0x00ff_ffff), address);
    }

    /// CHMOV `count`, PTR `pointer`, WHEN `phase`.
    pub fn chained_move_indirect(&mut self, count: u32, pointer: impl Into<Address>, phase: Phase) {
        self.two(0x2000_0000 | phase.field() | (count & 0x00ff_ffff), pointer);
    }

    /// CHMOV FROM `offset`, WHEN `phase`.
    pub fn chained_move_table(&mut self, offset: i32, phase: Phase) {
        self.two(0x1000_0000 | phase.field(), offset24(offset));
    }

    // I/O instructions (section 5.4). The alternate address is where a reselection (SELECT) or a signal from the
    // processor (WAIT RESELECT) leads.

    /// SELECT, with ATN if `atn`, of `id`.
    pub fn select(&mut self, id: u8, atn: bool, alternate: Label) {
        let first = 0x4000_0000 | RELATIVE | u32::from(atn) << 24 | u32::from(id & 0xf) << 16;
        self.branch(first, alternate);
    }

    /// SELECT, with ATN if `atn`, FROM `offset`: SCNTL3, ID and SXFER lie at DSA + `offset`.
    pub fn select_table(&mut self, offset: i32, atn: bool, alternate: Label) {
        self.branch(
            0x4000_0000 | RELATIVE | TABLE | u32::from(atn) << 24 | offset24(offset),
            alternate,
        );
    }

    /// SELECT, with ATN if `atn`, of `id` with an absolute alternate address.
    pub fn select_absolute(&mut self, id: u8, atn: bool, alternate: impl Into<Address>) {
        self.two(
            0x4000_0000 | u32::from(atn) << 24 | u32::from(id & 0xf) << 16,
            alternate,
        );
    }

    /// WAIT DISCONNECT.
    pub fn wait_disconnect(&mut self) {
        self.two(0x4800_0000, 0);
    }

    /// WAIT RESELECT `alternate`.
    pub fn wait_reselect(&mut self, alternate: Label) {
        self.branch(0x5000_0000 | RELATIVE, alternate);
    }

    /// WAIT RESELECT with an absolute alternate address.
    pub fn wait_reselect_absolute(&mut self, alternate: impl Into<Address>) {
        self.two(0x5000_0000, alternate);
    }

    /// SET `signals` (of [`signal`]).
    pub fn set(&mut self, signals: u32) {
        self.two(0x5800_0000 | signals, 0);
    }

    /// CLEAR `signals` (of [`signal`]).
    pub fn clear(&mut self, signals: u32) {
        self.two(0x6000_0000 | signals, 0);
    }

    // Register instructions (section 5.5).

    fn register_instruction(&mut self, first: u32, register: u8, operator: Operator, data: u8) {
        let register = u32::from(register);
        let place = (register & 0x7f) << 16 | (register & 0x80);
        self.two(
            first | u32::from(operator as u8) << 24 | place | u32::from(data) << 8,
            0,
        );
    }

    /// `register` = `register` operator `data`; with [`Operator::Move`], `register` = `data`.
    pub fn modify(&mut self, register: u8, operator: Operator, data: u8) {
        self.register_instruction(0x7800_0000, register, operator, data);
    }

    /// SFBR = `register` operator `data`.
    pub fn to_sfbr(&mut self, register: u8, operator: Operator, data: u8) {
        self.register_instruction(0x7000_0000, register, operator, data);
    }

    /// `register` = SFBR operator `data`.
    pub fn from_sfbr(&mut self, register: u8, operator: Operator, data: u8) {
        self.register_instruction(0x6800_0000, register, operator, data);
    }

    /// `register` = `register` operator SFBR.
    pub fn modify_by_sfbr(&mut self, register: u8, operator: Operator) {
        self.register_instruction(0x7880_0000, register, operator, 0);
    }

    // Transfer control (section 5.6).

    /// JUMP `label`, if `condition`.
    pub fn jump(&mut self, label: Label, condition: Condition) {
        self.branch(0x8080_0000 | condition.bits(), label);
    }

    /// JUMP to an absolute address, if `condition`.
    pub fn jump_absolute(&mut self, address: impl Into<Address>, condition: Condition) {
        self.two(0x8000_0000 | condition.bits(), address);
    }

    /// CALL `label`, if `condition`; the return address goes to TEMP.
    pub fn call(&mut self, label: Label, condition: Condition) {
        self.branch(0x8880_0000 | condition.bits(), label);
    }

    /// CALL an absolute address, if `condition`.
    pub fn call_absolute(&mut self, address: impl Into<Address>, condition: Condition) {
        self.two(0x8800_0000 | condition.bits(), address);
    }

    /// RETURN to the address in TEMP, if `condition`.
    pub fn ret(&mut self, condition: Condition) {
        self.two(0x9000_0000 | condition.bits(), 0);
    }

    /// INT `code`, if `condition`: stops, with the code in DSPS.
    pub fn interrupt(&mut self, code: u32, condition: Condition) {
        self.two(0x9800_0000 | condition.bits(), code);
    }

    /// INTFLY, if `condition`: interrupts and goes on.
    pub fn interrupt_on_the_fly(&mut self, condition: Condition) {
        self.two(0x9810_0000 | condition.bits(), 0);
    }

    // Memory (sections 5.7 and 5.8). Addresses and registers of one instruction must agree in their low two bits.

    /// MOVE MEMORY `count`, `source`, `destination`.
    pub fn move_memory(
        &mut self,
        count: u32,
        source: impl Into<Address>,
        destination: impl Into<Address>,
    ) {
        self.two(0xc000_0000 | (count & 0x00ff_ffff), source);
        self.operand(destination.into());
    }

    /// LOAD `register`, `count`, `address`.
    pub fn load(&mut self, register: u8, count: u8, address: impl Into<Address>) {
        self.two(
            0xe100_0000 | u32::from(register) << 16 | u32::from(count & 7),
            address,
        );
    }

    /// LOAD `register`, `count`, DSAREL(`offset`).
    pub fn load_table(&mut self, register: u8, count: u8, offset: i32) {
        self.two(
            0xf100_0000 | u32::from(register) << 16 | u32::from(count & 7),
            offset24(offset),
        );
    }

    /// STORE `register`, `count`, `address`.
    pub fn store(&mut self, register: u8, count: u8, address: impl Into<Address>) {
        self.two(
            0xe000_0000 | u32::from(register) << 16 | u32::from(count & 7),
            address,
        );
    }

    /// STORE `register`, `count`, DSAREL(`offset`).
    pub fn store_table(&mut self, register: u8, count: u8, offset: i32) {
        self.two(
            0xf000_0000 | u32::from(register) << 16 | u32::from(count & 7),
            offset24(offset),
        );
    }

    /// Fills in the labels.
    ///
    /// # Errors
    /// A label that was used and never bound, or bound more than once.
    pub fn finish(mut self) -> Result<Program, AssembleError> {
        if let Some(label) = self.bound_twice {
            return Err(AssembleError::BoundTwice(label));
        }
        for fixup in std::mem::take(&mut self.fixups) {
            let (Fixup::Relative { word, label } | Fixup::Absolute { word, label, .. }) = fixup;
            let address = self
                .labels
                .get(label.0)
                .copied()
                .flatten()
                .ok_or(AssembleError::Unbound(label))?;
            let value = match fixup {
                Fixup::Absolute { plus, .. } => address.wrapping_add(plus),
                Fixup::Relative { .. } => {
                    let words = u32::try_from(word + 1).unwrap_or(u32::MAX);
                    let end = self.base.wrapping_add(words.wrapping_mul(4));
                    address.wrapping_sub(end) & 0x00ff_ffff
                }
            };
            if let Some(place) = self.words.get_mut(word) {
                *place = value;
            }
        }
        Ok(Program::new(self.base, &self.words, self.labels))
    }
}

/// A table offset or a distance: 24 bits, two's complement.
const fn offset24(offset: i32) -> u32 {
    offset.cast_unsigned() & 0x00ff_ffff
}

#[cfg(test)]
mod tests;
