//! The two chips side by side, and what they are given.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use outrigger_emulator::lsi::Model;

use super::chip::Action;
use super::commands::Command;
use super::compare::{Pair, compare, compare_commands, compare_registers};
use super::ours::Ours;
use super::program::Program;
use super::qtest::Qemu;
use super::tally::{Difference, Outcome, Tally};
use super::units::Disks;
use crate::guest::Kit;

/// How long a disk of QEMU's may take.
const QUICK: Duration = Duration::from_millis(50);
/// The same when that was too short.
const PATIENT: Duration = Duration::from_secs(3);

/// A chip of ours, QEMU's of the same model, and what came of their comparison.
#[derive(Debug)]
pub struct Bench<'a> {
    kit: &'a Kit,
    model: Model,
    disks: fn() -> Disks,
    ours: Ours,
    theirs: Qemu,
    /// What has been compared so far.
    pub tally: Tally,
    /// What no rule explains, one of each kind.
    pub findings: Vec<Finding>,
    /// The same of commands.
    pub complaints: Vec<Difference>,
}

/// A difference that no rule explains, with the smallest program that shows it.
#[derive(Debug)]
pub struct Finding {
    /// The program.
    pub program: Program,
    /// What it shows.
    pub difference: Difference,
}

impl Finding {
    /// Whether the same kind of instruction differs in the same thing.
    fn is_like(&self, other: &Difference) -> bool {
        kind(&self.difference) == kind(other)
    }
}

/// What an instruction or an access is, and the first thing that differs.
fn kind(difference: &Difference) -> (Option<&str>, Option<&str>) {
    let first = difference.values.first();
    (
        difference.what.split_ascii_whitespace().nth(3),
        first.map(|(name, ..)| name.trim_end_matches(char::is_numeric)),
    )
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.program, self.difference)
    }
}

impl<'a> Bench<'a> {
    /// Starts QEMU.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn new(kit: &'a Kit, model: Model) -> Result<Self> {
        Self::with_disks(kit, model, Disks::new)
    }

    /// The same with these disks.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn with_disks(kit: &'a Kit, model: Model, disks: fn() -> Disks) -> Result<Self> {
        let made = disks();
        Ok(Self {
            kit,
            model,
            disks,
            ours: Ours::new(model, &made),
            theirs: Qemu::start(kit, model, &made)?,
            tally: Tally::default(),
            findings: Vec::new(),
            complaints: Vec::new(),
        })
    }

    /// Both chips do what the `comparison` says. `None`: QEMU ended thereby, and is there again.
    ///
    /// # Errors
    /// QEMU cannot be started again.
    fn with<T>(
        &mut self,
        patience: Duration,
        comparison: impl FnOnce(&mut Pair<'_>, &mut Tally) -> io::Result<T>,
    ) -> Result<Option<T>> {
        let mut pair = Pair {
            ours: &mut self.ours,
            theirs: &mut self.theirs,
            patience,
        };
        match comparison(&mut pair, &mut self.tally) {
            Ok(result) => Ok(Some(result)),
            Err(error) => {
                self.tally.end(&error, self.theirs.last_words());
                self.start_again()?;
                Ok(None)
            }
        }
    }

    /// Compares one program. What is new becomes a finding, made as small as it can be.
    ///
    /// # Errors
    /// QEMU cannot be started again.
    pub fn judge(&mut self, program: Program) -> Result<()> {
        self.tally.programs += 1;
        let outcome = self.with(QUICK, |pair, tally| compare(pair, &program, tally))?;
        match outcome {
            Some(Outcome::Different(difference))
                if self.findings.iter().any(|known| known.is_like(&difference)) =>
            {
                self.tally.new += 1;
            }
            Some(Outcome::Different(_)) => {
                // It may have been a disk that took its time.
                let again = self.with(PATIENT, |pair, tally| compare(pair, &program, tally))?;
                if let Some(Outcome::Different(difference)) = again {
                    self.tally.new += 1;
                    if !self.findings.iter().any(|known| known.is_like(&difference)) {
                        let finding = self.shrink(program, difference)?;
                        self.findings.push(finding);
                    }
                }
            }
            Some(Outcome::Same) => self.tally.same += 1,
            Some(Outcome::Known(_)) => {}
            // Where it cannot be printed, the number of the tally still tells.
            None => drop(writeln!(
                io::stdout(),
                "QEMU ended with this program:\n{program}"
            )),
        }
        Ok(())
    }

    /// Compares what the disks make of these commands.
    ///
    /// # Errors
    /// QEMU cannot be started again.
    pub fn judge_commands(&mut self, commands: &[Command]) -> Result<()> {
        let outcome = self.with(PATIENT, |pair, tally| {
            compare_commands(pair, commands, tally)
        })?;
        self.note(outcome)
    }

    /// Compares what these accesses do to the registers.
    ///
    /// # Errors
    /// QEMU cannot be started again.
    pub fn judge_registers(&mut self, actions: &[Action]) -> Result<()> {
        let model = self.model;
        let outcome = self.with(QUICK, |pair, tally| {
            compare_registers(pair, model, actions, tally)
        })?;
        self.note(outcome)
    }

    fn note(&mut self, outcome: Option<Outcome>) -> Result<()> {
        self.tally.programs += 1;
        match outcome {
            Some(Outcome::Same) => self.tally.same += 1,
            Some(Outcome::Known(_)) => self.start_again()?,
            Some(Outcome::Different(difference)) => {
                self.tally.new += 1;
                let is_new = self
                    .complaints
                    .iter()
                    .all(|known| kind(known) != kind(&difference));
                if is_new {
                    self.complaints.push(difference);
                }
                self.start_again()?;
            }
            None => {}
        }
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        let disks = (self.disks)();
        self.ours = Ours::new(self.model, &disks);
        self.theirs = Qemu::start(self.kit, self.model, &disks)?;
        Ok(())
    }

    /// Leaves out what is not needed for a difference.
    fn shrink(&mut self, program: Program, difference: Difference) -> Result<Finding> {
        let mut finding = Finding {
            program,
            difference,
        };
        loop {
            let mut smaller = None;
            for program in finding.program.without_one() {
                let outcome = self.with(QUICK, |pair, _| {
                    compare(pair, &program, &mut Tally::default())
                })?;
                if let Some(Outcome::Different(difference)) = outcome
                    && finding.is_like(&difference)
                {
                    smaller = Some(Finding {
                        program,
                        difference,
                    });
                    break;
                }
            }
            let Some(smaller) = smaller else {
                return Ok(finding);
            };
            finding = smaller;
        }
    }
}
