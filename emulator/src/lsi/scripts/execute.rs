//! Step 7, execution: instruction after instruction, until the budget, a wait or an interrupt ends it.

mod block_move;
mod half_word;
mod io;
mod load_store;
mod memory_move;
mod register;
mod transfer_control;

use super::instruction::{Instruction, TransferControl};
use crate::lsi::Lsi;
use crate::lsi::first_byte::{FirstByte, uses_sfbr};
use crate::lsi::interrupt::{Dma, Scsi};
use crate::lsi::mirror::looks_at_istat;
use crate::lsi::phase::{Freed, Line, Phase};
use crate::lsi::registers::{
    Dcntl, STEST2_LOW, STIME1_HTHBA, STIME1_HTHSF, Scntl0, Scntl1, Scntl2, at,
};
pub(in crate::lsi) use block_move::Transfer;
pub(in crate::lsi) use half_word::Held;
pub(in crate::lsi) use memory_move::Copy;
use outrigger_device::device::{Mirror, Mirrored, Progress};
use outrigger_device::dma::{Fault, Gate};

/// Steps of one run: instructions, and pieces of long ones.
const BUDGET: u32 = 2048;

/// Bytes that the steps of one run move, if no single one moves more. A step moves up to 16 MiB, so its number alone
/// bounds nothing.
const MOST_MOVED: u32 = 1 << 20;

/// What a byte to or from one of the chip's registers counts as among them: it costs as much as so many in memory.
pub(in crate::lsi) const REGISTER_WEIGHT: u32 = 64;

/// What the SCRIPTS processor is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::lsi) enum State {
    /// Stopped: after reset or an interrupt.
    #[default]
    Halted,
    /// The next instruction is at DSP.
    Running,
    /// In the middle of an instruction.
    Pending(Pending),
}

/// An instruction that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsi) enum Pending {
    /// A block move.
    Move(Transfer),
    /// A transfer control instruction that waits for a phase.
    Transfer(TransferControl),
    /// WAIT DISCONNECT.
    Disconnect,
    /// WAIT RESELECT with its alternate address.
    Reselect(u32),
    /// WAIT SELECT with its alternate address.
    Select(u32),
    /// A memory move.
    Copy(Copy),
    /// An instruction that was fetched, from this address, and waits for the start of a slice.
    Fetched(Instruction, u32),
}

/// The SCRIPTS processor, beside its registers.
#[derive(Debug, Default)]
pub(in crate::lsi) struct Processor {
    pub(in crate::lsi) state: State,
    /// The ALU's carry.
    pub(in crate::lsi) carry: bool,
    /// With SCNTL2.WSR.
    pub(in crate::lsi) held: Option<Held>,
    /// What SFBR will be.
    pub(in crate::lsi) first_byte: Option<FirstByte>,
    /// Steps since the budget was last used up or SCRIPTS came to rest.
    steps: u32,
    /// Bytes that this run has moved.
    pub(in crate::lsi) moved: u32,
}

/// How a step went.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The instruction is done.
    Done,
    /// It made progress and goes on.
    Again(Pending),
    /// It goes on when the driver's accesses have been taken in.
    Yield(Pending),
    /// It goes on when the bus has changed.
    Blocked(Pending),
}

/// An interrupt was posted and stopped SCRIPTS.
#[derive(Debug)]
struct Stop;

type Outcome<T = Step> = Result<T, Stop>;

impl Lsi {
    /// Executes at most a budget's worth of steps. After each ISTAT0 is shown, if it is not as it was `shown` last.
    pub(in crate::lsi) fn run_scripts(
        &mut self,
        gate: &Gate,
        shown: &mut Mirrored,
        mirror: &mut dyn Mirror,
    ) -> Progress {
        if self.registers.byte(at::STEST2) & STEST2_LOW != 0 {
            return Progress::Idle;
        }
        // What a run leaves in front of an instruction that yields, the next one has: yielding wins no time.
        let first = std::mem::take(&mut self.processor.steps);
        self.processor.moved = 0;
        for step in first..BUDGET {
            let outcome = match self.processor.state {
                State::Halted => return Progress::Idle,
                State::Running => self.execute(gate),
                State::Pending(pending) => {
                    self.processor.state = State::Running;
                    self.resume(gate, pending)
                }
            };
            self.show_istat(shown, mirror);
            // A register write of the instruction may have stopped the processor.
            if outcome.is_err() || matches!(self.processor.state, State::Halted) {
                self.timers.handshake();
                return Progress::Idle;
            }
            match outcome {
                Ok(Step::Blocked(pending)) => {
                    self.processor.state = State::Pending(pending);
                    self.watch_handshake();
                    return Progress::Idle;
                }
                Ok(Step::Yield(pending)) => {
                    self.processor.state = State::Pending(pending);
                    self.processor.steps = step + 1;
                    return Progress::More;
                }
                Ok(Step::Again(pending)) => {
                    self.timers.handshake();
                    self.processor.state = State::Pending(pending);
                }
                _ => {
                    self.timers.handshake();
                    if self.registers.dcntl().contains(Dcntl::SSM) {
                        self.post_dma(Dma::SSI);
                    }
                }
            }
            if self.processor.moved >= MOST_MOVED {
                self.processor.steps = step + 1;
                return Progress::More;
            }
        }
        // A script that never looks at the bus must still learn of its selection time-out.
        if self.link.unanswered {
            let _: Outcome = self.time_out();
        }
        Progress::More
    }

    #[inline]
    fn execute(&mut self, gate: &Gate) -> Outcome {
        let dsp = self.registers.dword(at::DSP);
        let words = self.read_array(gate, self.with_selector(at::SFS, dsp));
        let [first, second] = halves(u64::from_le_bytes(self.checked(words)?));
        self.registers.set_dword(at::DSP, dsp.wrapping_add(8));
        self.registers.set_dword(at::DBC, first);
        self.registers.set_dword(at::DSPS, second);
        let instruction = Instruction::decode([first, second]);
        tracing::trace!(dsp, text = %super::disassemble(instruction), "SCRIPTS");
        if looks_at_istat(instruction) {
            return Ok(Step::Yield(Pending::Fetched(instruction, dsp)));
        }
        self.begin(gate, instruction, dsp)
    }

    #[inline]
    fn begin(&mut self, gate: &Gate, instruction: Instruction, dsp: u32) -> Outcome {
        if self.processor.first_byte.is_some()
            && uses_sfbr(instruction)
            && !self.fetch_first_byte(gate)
        {
            return Ok(Step::Blocked(Pending::Fetched(instruction, dsp)));
        }
        match instruction {
            Instruction::BlockMove(m) => self.start_move(gate, m, dsp),
            Instruction::Io(i) => self.io(gate, i),
            Instruction::Register(r) => Ok(self.register_move(r)),
            Instruction::Transfer(t) => self.transfer_control(t),
            Instruction::MemoryMove(m) => self.start_copy(gate, m),
            Instruction::LoadStore(l) => self.load_store(gate, l),
            Instruction::Illegal(_) => self.illegal(),
        }
    }

    fn resume(&mut self, gate: &Gate, pending: Pending) -> Outcome {
        match pending {
            Pending::Move(transfer) => self.go_on_moving(gate, transfer),
            Pending::Transfer(transfer) => self.transfer_control(transfer),
            Pending::Disconnect => self.wait_disconnect(),
            Pending::Reselect(alternate) => self.wait_reselect(alternate),
            Pending::Select(alternate) => self.wait_select(alternate),
            Pending::Copy(copy) => self.go_on_copying(gate, copy),
            Pending::Fetched(instruction, dsp) => self.begin(gate, instruction, dsp),
        }
    }

    /// An instruction's third Dword, at DSP, which advances.
    fn fetch(&mut self, gate: &Gate) -> Outcome<u32> {
        let dsp = self.registers.dword(at::DSP);
        let address = self.with_selector(at::SFS, dsp);
        let word = self.read_dword(gate, address);
        let word = self.checked(word)?;
        self.registers.set_dword(at::DSP, dsp.wrapping_add(4));
        Ok(word)
    }

    /// A 64-bit address: its upper half is in the selector register.
    fn with_selector(&self, selector: u8, low: u32) -> u64 {
        u64::from(self.registers.dword(selector)) << 32 | u64::from(low)
    }

    /// An address relative to DSA, by a signed 24-bit offset.
    fn dsa_relative(&self, offset: u32) -> u64 {
        let dsa = self.registers.dword(at::DSA);
        self.with_selector(at::DRS, dsa.wrapping_add(sign_extend(offset)))
    }

    /// What memory cannot do is a bus fault.
    fn checked<T>(&mut self, result: Result<T, Fault>) -> Outcome<T> {
        result.map_err(|fault| {
            tracing::trace!(%fault, "bus fault");
            self.post_dma(Dma::BF);
            Stop
        })
    }

    fn illegal<T>(&mut self) -> Outcome<T> {
        self.post_dma(Dma::IID);
        Err(Stop)
    }

    fn jump(&mut self, relative: bool, operand: u32) {
        let target = if relative {
            let next = self.registers.dword(at::DSP);
            let sum = next.wrapping_add(sign_extend(operand));
            self.registers.set_dword(at::ADDER, sum);
            sum
        } else {
            operand
        };
        self.registers.set_dword(at::DSP, target);
    }

    /// Nobody answers a selection: its initiator takes SEL and ATN back.
    pub(in crate::lsi) fn give_up_selection(&mut self) {
        self.link.unanswered = false;
        self.link.atn = false;
        self.end_sequence();
    }

    /// A selection or reselection has ended, well or not.
    pub(in crate::lsi) fn end_sequence(&mut self) {
        self.registers.set_scntl0(Scntl0::START, false);
        let immediate = self.registers.scntl1() - Scntl1::IARB;
        self.registers.set_byte(at::SCNTL1, immediate.bits());
    }

    /// ACK falls by hand.
    pub(in crate::lsi) fn lower_ack(&mut self) {
        let _: Outcome<()> = self.release_ack();
    }

    /// The bus has become free by hand.
    pub(in crate::lsi) fn bus_freed(&mut self, freed: Freed) {
        let _: Outcome<()> = self.became_free(freed);
    }

    /// An instruction needs the target of a selection that nobody answers. The bus knows at once who is there, so
    /// STIME0's time is not waited for: a driver's scan of the empty IDs would take seconds of the guest's start.
    fn time_out<T>(&mut self) -> Outcome<T> {
        self.give_up_selection();
        self.post_scsi(Scsi::STO);
        Err(Stop)
    }

    /// An instruction that depends on the bus looks at it: a selection ends first, and ACK falls.
    fn observe(&mut self, asked: Option<Phase>, moving: bool) -> Outcome<Line> {
        if self.link.unanswered {
            return self.time_out();
        }
        self.release_ack()?;
        if !(moving && asked == Some(Phase::DataIn)) {
            self.take_last_byte();
        }
        let line = self.link.line(&mut self.bus, asked);
        if line == Line::Free && self.link.connected() {
            // The task is gone: its target lets go.
            self.link.free();
            self.became_free(Freed::Abrupt)?;
        }
        Ok(line)
    }

    /// ACK falls after a message, and the target acts on it.
    fn release_ack(&mut self) -> Outcome<()> {
        match self.link.release(&mut self.bus) {
            Some(freed) => self.became_free(freed),
            None => Ok(()),
        }
    }

    /// The bus is free now; UDC if nothing announced it and SCNTL2.SDU says that it must not be.
    fn became_free(&mut self, freed: Freed) -> Outcome<()> {
        if self.processor.held == Some(Held::Target) {
            self.processor.held = None;
            self.registers.set_scntl2(Scntl2::WSR, false);
        }
        self.registers
            .set_byte(at::SSTAT2, crate::lsi::registers::SSTAT2_LDSC);
        let unexpected = self.registers.scntl2().contains(Scntl2::SDU);
        self.registers.set_scntl2(Scntl2::SDU, false);
        if freed == Freed::Abrupt {
            // Section 4.2, SCNTL1.IARB: it arbitrates after an expected disconnect only.
            self.end_sequence();
        }
        if freed == Freed::Abrupt && unexpected {
            self.post_scsi(Scsi::UDC);
            return Err(Stop);
        }
        Ok(())
    }

    /// HTH runs while a connected target keeps the chip waiting; with HTHBA also while the chip itself does
    /// nothing about a connection.
    pub(in crate::lsi) fn watch_handshake(&mut self) {
        let stime1 = self.registers.byte(at::STIME1);
        let waits = matches!(
            self.processor.state,
            State::Pending(Pending::Move(_) | Pending::Transfer(_))
        );
        if !self.link.connected() || !waits && stime1 & STIME1_HTHBA == 0 {
            self.timers.handshake();
            return;
        }
        let field = self.registers.byte(at::STIME0) >> 4;
        self.timers
            .await_handshake(self.period(field, stime1 & STIME1_HTHSF != 0));
    }
}

/// The low 24 bits as a signed number.
fn sign_extend(offset: u32) -> u32 {
    let offset = offset & 0x00ff_ffff;
    if offset & 0x0080_0000 == 0 {
        offset
    } else {
        offset | 0xff00_0000
    }
}

/// The low and the high Dword.
fn halves(address: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}
