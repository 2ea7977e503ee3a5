//! Step 7, transfer control: jumps, calls, returns, interrupts (manual, section 5.6).

use super::{Outcome, Pending, Step, Stop};
use crate::lsi::Lsi;
use crate::lsi::interrupt::Dma;
use crate::lsi::phase::Line;
use crate::lsi::registers::at;
use crate::lsi::scripts::instruction::{Condition, TransferControl, TransferOperation};

impl Lsi {
    pub(super) fn transfer_control(&mut self, t: TransferControl) -> Outcome {
        let c = t.condition;
        if self.registers.is_target() && (c.wait || c.phase.is_some() && c.data.is_some()) {
            return self.illegal();
        }
        if c.wait {
            match self.observe(c.phase, false)? {
                Line::Request(_) => {}
                Line::Free | Line::Quiet => return Ok(Step::Blocked(Pending::Transfer(t))),
            }
        } else if c.phase.is_some() {
            if self.link.unanswered {
                return self.time_out();
            }
            // IF looks at the phase of the last REQ.
            self.link.line(&mut self.bus, c.phase);
        }
        if !self.holds(c) {
            return Ok(Step::Done);
        }
        match t.operation {
            TransferOperation::Jump => self.jump(t.relative, t.operand),
            TransferOperation::Call => {
                let next = self.registers.dword(at::DSP);
                self.registers.set_dword(at::TEMP, next);
                self.jump(t.relative, t.operand);
            }
            TransferOperation::Return => {
                let temp = self.registers.dword(at::TEMP);
                self.registers.set_dword(at::DSP, temp);
            }
            TransferOperation::Interrupt => {
                self.post_dma(Dma::SIR);
                return Err(Stop);
            }
            TransferOperation::InterruptOnTheFly => self.interrupt_on_the_fly(),
        }
        Ok(Step::Done)
    }

    /// All comparisons true, or all false: which, says bit 19. Without any, bit 19 decides alone.
    fn holds(&self, c: Condition) -> bool {
        let sfbr = self.registers.byte(at::SFBR);
        let carry = c.carry.then_some(self.processor.carry);
        let phase = c.phase.map(|phase| phase == self.link.latched);
        let data = c.data.map(|d| (sfbr ^ d.value) & !d.mask == 0);
        let mut comparisons = [carry, phase, data].into_iter().flatten().peekable();
        if comparisons.peek().is_none() {
            return c.when_true;
        }
        comparisons.all(|holds| holds == c.when_true)
    }
}
