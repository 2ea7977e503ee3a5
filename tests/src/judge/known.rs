//! The differences between the two chips that are understood: what differs, who is right, and where the manual says so.
//!
//! What no rule explains is a new difference, and fails.

mod commands;
mod conditions;
mod registers;
mod scripts;

use std::fmt;

use outrigger_emulator::lsi::scripts::Instruction;
use outrigger_emulator::lsi::{Model, register_name};

use super::chip::{Action, Snapshot};

/// Who does as the manual says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Ours; QEMU's does less, or something else.
    Ours,
    /// Nobody: the manual leaves it open.
    Open,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Open => "open",
        })
    }
}

/// What both chips have just done, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Which chip.
    pub model: Model,
    /// The instruction; none for a driver's access.
    pub instruction: Option<Instruction>,
    /// Its Dwords.
    pub words: [u32; 3],
    /// The driver's access, if it is none.
    pub action: Option<Action>,
    /// Ours before.
    pub before: &'a Snapshot,
    /// QEMU's before.
    pub before_theirs: &'a Snapshot,
    /// Ours after.
    pub ours: &'a Snapshot,
    /// QEMU's after.
    pub theirs: &'a Snapshot,
}

/// A rule about registers that may differ from some step on. Nothing else follows from it.
#[derive(Debug)]
pub struct RegisterRule {
    /// Its name.
    pub name: &'static str,
    /// Who is right.
    pub right: Right,
    /// The manual's section.
    pub section: &'static str,
    /// The first and the last register, and the bits of each that may differ.
    pub registers: &'static [(u8, u8, u8)],
    /// When it applies.
    pub when: fn(&Step<'_>) -> bool,
}

/// A rule about an instruction or an access that the chips take differently: no comparison makes sense after it.
#[derive(Debug)]
pub struct StepRule {
    /// Its name.
    pub name: &'static str,
    /// Who is right.
    pub right: Right,
    /// The manual's section.
    pub section: &'static str,
    /// Only single steps differ: what comes of the whole program can be compared.
    pub free: bool,
    /// When it applies.
    pub when: fn(&Step<'_>) -> bool,
}

pub use commands::{COMMANDS, CommandRule, Exchange};
pub use registers::REGISTERS;
pub use scripts::{STEPS, explains_end, is_hidden, sfbr_after, uses_sfbr, uses_what_differs};

/// The name of the rule for an instruction that reads a register which differs by another rule.
pub const FOLLOWS: &str = "an instruction reads a register that differs";

/// The name of the rule for a look at the bus whose result depends on how fast a disk is.
pub const RACE: &str = "IF a phase while a disk is at work: at once, in QEMU when it has answered";

/// What follows from other rules, and what QEMU does not show: SFBR.
pub const CONSEQUENCES: [(&str, Right, &str); 5] = [
    (FOLLOWS, Right::Ours, "-"),
    (RACE, Right::Open, "5.6"),
    ("SFBR after DATA IN", Right::Ours, "4.2, SFBR"),
    (
        "SFBR after COMMAND and MESSAGE OUT",
        Right::Ours,
        "4.2, SFBR",
    ),
    ("SFBR after a reselection", Right::Ours, "4.2, SFBR"),
];

/// Who is right by a rule, and the manual's section.
#[must_use]
pub fn about(name: &str) -> (Right, &'static str) {
    let registers = REGISTERS
        .iter()
        .map(|rule| (rule.name, rule.right, rule.section));
    let steps = STEPS
        .iter()
        .map(|rule| (rule.name, rule.right, rule.section));
    let commands = COMMANDS
        .iter()
        .map(|rule| (rule.name, rule.right, rule.section));
    let rule = registers
        .chain(steps)
        .chain(commands)
        .chain(CONSEQUENCES)
        .find(|(known, ..)| *known == name);
    rule.map_or((Right::Ours, "-"), |(_, right, section)| (right, section))
}

/// The manual's name of a register.
#[must_use]
pub fn name(register: u8) -> String {
    register_name(register)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_in_the_documentation() {
        let page = include_str!("../../../docs/chip.md");
        let registers = REGISTERS.iter().map(|rule| rule.name);
        let steps = STEPS.iter().map(|rule| rule.name);
        let commands = COMMANDS.iter().map(|rule| rule.name);
        let consequences = CONSEQUENCES.iter().map(|(name, ..)| *name);
        for name in registers.chain(steps).chain(commands).chain(consequences) {
            let (right, section) = about(name);
            let row = format!("| {name} | {right} | {section} |");
            assert!(page.contains(&row), "docs/chip.md has no row {row}");
        }
    }
}
