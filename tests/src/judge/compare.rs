//! Both chips execute a program, first in single steps, so that a difference has one cause, then freely.

mod commands;
mod pair;
mod registers;

use std::io;
use std::time::Instant;

use outrigger_emulator::lsi::scripts::Instruction;

pub use commands::compare_commands;
use pair::Both;
pub use pair::Pair;
pub use registers::compare_registers;

use super::chip::{Action, SCRIPTS_RAM, Snapshot, at, istat0};
use super::known::{self, REGISTERS, STEPS, Step};
use super::program::{Driver, Program, RAM_BYTES, WINDOW, WINDOW_ABOVE, WINDOW_BYTES, line};
use super::tally::{Difference, Outcome, Tally, differences};

/// Single steps of one program.
const STEPS_MAX: usize = 80;
/// Interrupts of one program after which it goes on.
const RESUMES: u32 = 3;
/// Looks at a QEMU that waits as ours does.
const LOOKS: u32 = 3;

/// DCNTL: single step, start, and what is kept.
const SSM: u8 = 0x10;
const STD: u8 = 0x04;
const KEPT: u8 = 0xab;
/// DSTAT: the INT instruction, and a single step.
const SIR: u8 = 0x04;
const SSI: u8 = 0x08;

/// The comparison of one program.
pub(super) struct Comparison<'a, 'b> {
    pub(super) pair: &'a mut Pair<'b>,
    pub(super) tally: &'a mut Tally,
    pub(super) program: &'a Program,
    /// For each register the bits that some rule lets differ in this step.
    allowed: Vec<u8>,
    /// The same in any step.
    ever: Vec<u8>,
    /// A disk has had something to do.
    uses_medium: bool,
    /// SFBR, which QEMU does not show, differs by a known rule.
    sfbr_differs: Option<&'static str>,
}

/// Compares one program.
///
/// # Errors
/// QEMU has ended.
pub fn compare(pair: &mut Pair<'_>, program: &Program, tally: &mut Tally) -> io::Result<Outcome> {
    let mut comparison = Comparison::new(pair, program, tally);
    match comparison.in_steps()? {
        Some(Outcome::Known(name))
            if STEPS.iter().any(|rule| rule.name == name && rule.free) && !program.uses_sfbr() =>
        {
            // Whatever the rest of it would have been allowed.
            comparison.allow_everything();
            match comparison.freely()? {
                Outcome::Different(difference) => Ok(Outcome::Different(difference)),
                _ => Ok(Outcome::Known(name)),
            }
        }
        Some(outcome) => Ok(outcome),
        None => comparison.freely(),
    }
}

impl<'a, 'b> Comparison<'a, 'b> {
    pub(super) fn new(pair: &'a mut Pair<'b>, program: &'a Program, tally: &'a mut Tally) -> Self {
        Self {
            pair,
            tally,
            program,
            allowed: vec![0; 256],
            ever: vec![0; 256],
            uses_medium: false,
            sfbr_differs: None,
        }
    }

    fn allow_everything(&mut self) {
        for &(first, last, bits) in REGISTERS.iter().flat_map(|rule| rule.registers) {
            for register in usize::from(first)..=usize::from(last) {
                self.ever[register] |= bits;
            }
        }
    }

    /// Both do `actions`, and show everything. Ours says how long QEMU's may take: it knows its own disks.
    pub(super) fn look(&mut self, actions: &[Action]) -> io::Result<Both> {
        let mut ours = Snapshot::take(self.pair.ours, actions)?;
        self.uses_medium |= self.pair.ours.holds();
        if !ours.has_stopped() {
            self.pair.ours.release();
            ours = Snapshot::take(self.pair.ours, &[])?;
        }
        let mut theirs = Snapshot::take(self.pair.theirs, actions)?;
        let begun = Instant::now();
        let mut looks = 0;
        while !theirs.has_stopped() && (looks < LOOKS || ours.has_stopped()) {
            let patient = self.uses_medium && begun.elapsed() < self.pair.patience;
            if looks >= LOOKS && !patient {
                break;
            }
            looks += 1;
            theirs = Snapshot::take(self.pair.theirs, &[])?;
        }
        Ok(Both { ours, theirs })
    }

    fn prepare(&mut self, dcntl: u8) -> io::Result<Both> {
        let window = self.program.window();
        let above = self.program.window_above();
        let ram = self.program.scripts_ram();
        let mut actions = Vec::new();
        if self.program.ready {
            actions.extend(Program::prelude());
        }
        actions.push(Action::byte(at::DCNTL, dcntl));
        actions.extend(&self.program.setup);
        for chip in [&mut *self.pair.ours, &mut *self.pair.theirs] {
            // What went before may write to memory until then.
            chip.act(&Program::reset())?;
            chip.poke(WINDOW, &window)?;
            chip.poke(WINDOW_ABOVE, &above)?;
            if !ram.is_empty() {
                chip.fill(&ram)?;
            }
            chip.act(&actions)?;
        }
        Ok(Both {
            ours: Snapshot::take(self.pair.ours, &[])?,
            theirs: Snapshot::take(self.pair.theirs, &[])?,
        })
    }

    /// Executes the program step by step. `None`: all was alike, to the end.
    fn in_steps(&mut self) -> io::Result<Option<Outcome>> {
        let mut before = self.prepare(SSM)?;
        if !self.program.ready
            && let Some(outcome) = self.judge(None, None, &before.clone(), &before)?
        {
            return Ok(Some(outcome));
        }
        let mut next = vec![Action::dword(at::DSP, self.program.start())];
        let mut place = self.program.start();
        let mut resumes = 0;
        let mut driver = self.program.driver.iter();
        for _ in 0..STEPS_MAX {
            let words = self.fetch(place)?;
            let after = self.look(&next)?;
            let instruction = Some((place, words));
            if let Some(outcome) = self.judge(instruction, None, &before, &after)? {
                return Ok(Some(outcome));
            }
            self.tally.steps += 1;
            let mut now = after;
            // It waits: the driver does something about it, or gives up.
            while !now.ours.has_stopped() {
                let action = match driver.next() {
                    Some(Driver::Signal) => istat0::SIGP,
                    Some(Driver::Release) => continue,
                    None => istat0::ABRT,
                };
                let aborted = action == istat0::ABRT;
                let action = Action::byte(at::ISTAT0, action);
                let later = self.look(&[action])?;
                if let Some(outcome) = self.judge(None, Some(action), &now, &later)? {
                    return Ok(Some(outcome));
                }
                now = later;
                if aborted {
                    return self.ram_is_alike();
                }
            }
            let dstat = now.ours.byte(at::DSTAT);
            if dstat & SIR != 0 {
                return self.ram_is_alike();
            }
            if dstat & SSI == 0 {
                resumes += 1;
                if resumes > RESUMES {
                    return self.ram_is_alike();
                }
            }
            place = now.ours.dword(at::DSP);
            let dcntl = now.ours.byte(at::DCNTL) & KEPT | SSM | STD;
            next = vec![Action::byte(at::DCNTL, dcntl)];
            before = now;
        }
        // It may go on for ever.
        Ok(Some(Outcome::Same))
    }

    /// Executes the program without a stop, after the steps were alike.
    fn freely(&mut self) -> io::Result<Outcome> {
        self.prepare(0)?;
        if self.program.ready {
            // The registers have seen the prelude.
            self.allow_everything();
        }
        let mut now = self.look(&[Action::dword(at::DSP, self.program.start())])?;
        let driver = self.program.driver.clone();
        for driver in driver {
            if now.ours.has_stopped() {
                break;
            }
            if driver == Driver::Signal {
                now = self.look(&[Action::byte(at::ISTAT0, istat0::SIGP)])?;
            }
        }
        if let Some(name) = known::explains_end(&now.ours, &now.theirs) {
            return Ok(self.known(name));
        }
        let ever = std::mem::take(&mut self.ever);
        let mut values = self.unexplained(&now, &ever);
        self.compare_memory(&mut values)?;
        if values.is_empty() {
            return Ok(Outcome::Same);
        }
        if self.uses_medium && self.program.looks_at_phases() {
            return Ok(self.known(known::RACE));
        }
        let what = "in a free run".to_owned();
        Ok(Outcome::Different(Difference { what, values }))
    }

    fn ram_is_alike(&mut self) -> io::Result<Option<Outcome>> {
        if self.program.scripts_ram().is_empty() {
            return Ok(None);
        }
        let read = Action::Read {
            bar: 2,
            at: 0,
            bytes: u16::try_from(RAM_BYTES).unwrap_or(0),
        };
        let ours = self.pair.ours.act(&[read])?;
        let theirs = self.pair.theirs.act(&[read])?;
        let mut values = Vec::new();
        differences(SCRIPTS_RAM, &ours[0], &theirs[0], &mut values);
        if values.is_empty() {
            return Ok(None);
        }
        let what = "SCRIPTS RAM at the end".to_owned();
        Ok(Some(Outcome::Different(Difference { what, values })))
    }

    /// The instruction at an address, as ours has it.
    fn fetch(&mut self, address: u32) -> io::Result<[u32; 3]> {
        let mut bytes = [0; 12];
        let offset = address.wrapping_sub(SCRIPTS_RAM);
        if offset < 0x2000 - 12 {
            let read = Action::Read {
                bar: 2,
                at: u16::try_from(offset).unwrap_or(0),
                bytes: 12,
            };
            bytes.copy_from_slice(&self.pair.ours.act(&[read])?[0]);
        } else if self.pair.ours.peek(address, &mut bytes).is_err() {
            return Ok([0; 3]);
        }
        let (words, _) = bytes.as_chunks::<4>();
        Ok([words[0], words[1], words[2]].map(u32::from_le_bytes))
    }

    /// What became of an instruction, or of an access. `None`: both did the same.
    pub(super) fn judge(
        &mut self,
        instruction: Option<(u32, [u32; 3])>,
        action: Option<Action>,
        before: &Both,
        after: &Both,
    ) -> io::Result<Option<Outcome>> {
        let words = instruction.map_or([0; 3], |(_, words)| words);
        let decoded = instruction.map(|_| Instruction::decode([words[0], words[1]]));
        let step = Step {
            model: self.program.model,
            instruction: decoded,
            words,
            action,
            before: &before.ours,
            before_theirs: &before.theirs,
            ours: &after.ours,
            theirs: &after.theirs,
        };
        // Bits that differ already and are as they were: they may stay so. At the start nothing differs yet.
        let begun = instruction.is_some() || action.is_some();
        let stays: Vec<u8> = (0..=u8::MAX)
            .map(|register| {
                if !begun {
                    return 0;
                }
                let ours = before.ours.byte(register) ^ after.ours.byte(register);
                let theirs = before.theirs.byte(register) ^ after.theirs.byte(register);
                !(ours | theirs)
            })
            .collect();
        let mut used = Vec::new();
        self.allowed.fill(0);
        for rule in REGISTERS {
            if !(rule.when)(&step) {
                continue;
            }
            let mut needed = false;
            for &(first, last, bits) in rule.registers {
                for register in first..=last {
                    let differs = after.ours.byte(register) ^ after.theirs.byte(register);
                    let register = usize::from(register);
                    needed |= differs & bits & !stays[register] != 0;
                    self.allowed[register] |= bits;
                    self.ever[register] |= bits;
                }
            }
            if needed {
                used.push(rule.name);
            }
        }
        for name in used {
            self.tally.count(name);
        }
        // A rule about the whole step: something differs, or will.
        let uses = known::uses_what_differs(&step);
        if let Some(name) = self.sfbr_differs
            && decoded.is_some_and(known::uses_sfbr)
        {
            return Ok(Some(self.known(name)));
        }
        if uses {
            return Ok(Some(self.known(known::FOLLOWS)));
        }
        let mut values = self.unexplained(after, &stays);
        self.compare_memory(&mut values)?;
        let rule = STEPS.iter().find(|rule| (rule.when)(&step));
        if let Some(rule) = rule
            && (!values.is_empty() || known::is_hidden(&step))
        {
            return Ok(Some(self.known(rule.name)));
        }
        if !values.is_empty() {
            let what = match (instruction, action) {
                (Some((place, words)), _) => format!("{place:08x}: {}", line(&words)),
                (_, Some(action)) => format!("{action:x?}"),
                _ => "at the start".to_owned(),
            };
            return Ok(Some(Outcome::Different(Difference { what, values })));
        }
        self.sfbr_differs = known::sfbr_after(&step, self.sfbr_differs);
        Ok(None)
    }

    fn known(&mut self, name: &'static str) -> Outcome {
        self.tally.count(name);
        Outcome::Known(name)
    }

    /// Registers that differ in bits that no rule lets differ.
    fn unexplained(&self, both: &Both, stays: &[u8]) -> Vec<(String, String, String)> {
        let mut values = Vec::new();
        for register in 0..=u8::MAX {
            let index = usize::from(register);
            let (ours, theirs) = (both.ours.registers[index], both.theirs.registers[index]);
            let explained = self.allowed[index] | stays.get(index).copied().unwrap_or(0);
            if (ours ^ theirs) & !explained != 0 {
                values.push((
                    known::name(register),
                    format!("{ours:#04x}"),
                    format!("{theirs:#04x}"),
                ));
            }
        }
        if both.ours.line != both.theirs.line {
            let text = |line: bool| if line { "asserted" } else { "quiet" };
            values.push((
                "INTA".to_owned(),
                text(both.ours.line).to_owned(),
                text(both.theirs.line).to_owned(),
            ));
        }
        values
    }

    fn compare_memory(&mut self, values: &mut Vec<(String, String, String)>) -> io::Result<()> {
        let mut memories = [vec![0; WINDOW_BYTES], vec![0; WINDOW_BYTES]];
        let [ours, theirs] = &mut memories;
        let windows: &[u32] = if self.program.long {
            &[WINDOW, WINDOW_ABOVE]
        } else {
            &[WINDOW]
        };
        for &window in windows {
            self.pair.ours.peek(window, ours)?;
            self.pair.theirs.peek(window, theirs)?;
            differences(window, ours, theirs, values);
        }
        Ok(())
    }
}
