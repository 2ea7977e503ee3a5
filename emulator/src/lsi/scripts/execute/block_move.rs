//! Step 7, block moves: bytes between the SCSI bus and memory (manual, section 5.3).
//!
//! The operand is resolved once; then the move goes on as far as the target and the phase allow, and
//! again when the bus has changed. Data between a medium and guest RAM never pass through here:
//! the bus is told where they belong.

use super::{Held, Outcome, Pending, Step, Stop, halves};
use crate::lsi::Lsi;
use crate::lsi::interrupt::Scsi;
use crate::lsi::phase::{Freed, Line, Phase};
use crate::lsi::registers::{Ccntl0, Ccntl1, Dmode, Scntl2, at};
use crate::lsi::scripts::fetch::Place;
use crate::lsi::scripts::instruction::{Addressing, BlockMove};
use crate::scsi::Want;
use outrigger_device::dma::{Fault, Gate};

/// Message bytes that a target takes in one go.
const MESSAGE_PIECE: usize = 512;
/// Command bytes that a target takes in one go: SeaBIOS sends 16 whatever the CDB's length.
const COMMAND_PIECE: usize = 16;

/// A block move in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsi) struct Transfer {
    pub(in crate::lsi) phase: Phase,
    pub(in crate::lsi) chained: bool,
    /// Where the next byte belongs.
    pub(in crate::lsi) address: u64,
    pub(in crate::lsi) remaining: u32,
    /// What RBC shows above the count: DCMD, or the table entry's top byte.
    pub(in crate::lsi) top: u8,
    /// Something has moved.
    pub(in crate::lsi) begun: bool,
}

impl Transfer {
    pub(super) fn advance(&mut self, n: u32) {
        self.address = self.address.wrapping_add(u64::from(n));
        self.remaining = self.remaining.saturating_sub(n);
        self.begun = true;
    }
}

impl Lsi {
    pub(super) fn start_move(&mut self, gate: &Gate, m: BlockMove, dsp: u32) -> Outcome {
        // SeaBIOS leaves two empty Dwords where a command has no data, and relies on their doing nothing.
        if self.registers.dword(at::DBC) == 0 && m.operand == 0 {
            gate.suspect(self.with_selector(at::SFS, dsp));
            return Ok(Step::Done);
        }
        let [_, _, _, command] = self.registers.dword(at::DBC).to_le_bytes();
        let mut top = command;
        let mut count = m.count;
        let mut entry = dsp;
        let address = match m.addressing {
            Addressing::Direct if self.registers.ccntl1().contains(Ccntl1::EN64DBMV) => {
                let upper = self.fetch(gate)?;
                self.registers.set_dword(at::DBMS, upper);
                self.with_selector(at::DBMS, m.operand)
            }
            Addressing::Direct => self.with_selector(at::SBMS, m.operand),
            Addressing::Indirect => {
                // Section 4.3, SFS: indirect fetches too.
                let pointer = self.with_selector(at::SFS, m.operand);
                let low = self.read_dword(gate, pointer);
                let low = self.checked(low)?;
                self.with_selector(at::SBMS, low)
            }
            Addressing::Table => {
                let place = self.dsa_relative(m.operand);
                let entry_bytes = self.read_array::<8>(gate, place);
                let [a, b, c, high, low @ ..] = self.checked(entry_bytes)?;
                count = u32::from_le_bytes([a, b, c, 0]);
                top = high;
                [entry, _] = halves(place);
                self.table_address(high, u32::from_le_bytes(low))?
            }
        };
        self.registers.set_dbc(count);
        if count == 0 {
            return self.illegal();
        }
        self.registers.set_dword(at::IA, dsp);
        self.registers.set_dword(at::ESA, entry);
        self.set_byte_count(0);
        let transfer = Transfer {
            phase: m.phase,
            chained: !m.opcode,
            address,
            remaining: count,
            top,
            begun: false,
        };
        self.registers.set_scntl2(Scntl2::CHM, transfer.chained);
        if self.link.connected() {
            self.registers.set_byte(at::SSTAT2, 0);
        }
        self.show(&transfer);
        self.go_on_moving(gate, transfer)
    }

    /// The address of a table entry (section 4.2, CCNTL1): 32 bits, 40 bits, or 64 with a selector.
    fn table_address(&mut self, high: u8, low: u32) -> Outcome<u64> {
        let mode = self.registers.ccntl1();
        if !mode.contains(Ccntl1::EN64TIBMV) {
            return Ok(self.with_selector(at::SBMS, low));
        }
        let upper = if mode.contains(Ccntl1::TIMOD64) {
            u32::from(high)
        } else {
            let selector = match high & 0x1f {
                n @ 0..=0x0f => at::SCRATCHC + 4 * n,
                0x10 => at::MMRS,
                0x11 => at::MMWS,
                0x12 => at::SFS,
                0x13 => at::DRS,
                0x14 => at::SBMS,
                0x15 => at::DBMS,
                _ => return self.illegal(),
            };
            self.registers.dword(selector)
        };
        // Section 4.3: DBMS is for direct moves only; what a table entry chooses shows in DNAD64.
        Ok(u64::from(upper) << 32 | u64::from(low))
    }

    /// DBC and DNAD follow the transfer.
    fn show(&mut self, t: &Transfer) {
        let [low, high] = halves(t.address);
        self.registers.set_dbc(t.remaining);
        self.registers.set_dword(at::DNAD, low);
        self.registers.set_dword(at::DNAD64, high);
    }

    fn set_byte_count(&mut self, count: u32) {
        let top = self.registers.dword(at::SBC) & 0xff00_0000;
        self.registers.set_dword(at::SBC, top | count & 0x00ff_ffff);
    }

    /// SBC and, for data, CSBC count what crosses the SCSI bus.
    pub(super) fn count(&mut self, phase: Phase, n: u32) {
        let sbc = self.registers.dword(at::SBC) & 0x00ff_ffff;
        self.set_byte_count(sbc.wrapping_add(n));
        if phase.is_data() {
            let csbc = self.registers.dword(at::CSBC);
            self.registers.set_dword(at::CSBC, csbc.wrapping_add(n));
        }
    }

    pub(super) fn go_on_moving(&mut self, gate: &Gate, mut t: Transfer) -> Outcome {
        // A target waits for an initiator to be connected to: there is no other.
        if self.registers.is_target() {
            if self.link.unanswered {
                return self.time_out();
            }
            return Ok(Step::Blocked(Pending::Move(t)));
        }
        // A byte in SWIDE needs no bus.
        let last = t.phase == Phase::DataIn && t.remaining == 1 && !self.link.unanswered;
        if last && self.processor.held == Some(Held::Register) {
            self.unload_swide(gate, &mut t)?;
            self.show(&t);
            return Ok(Step::Done);
        }
        match self.observe(Some(t.phase), true)? {
            Line::Free | Line::Quiet => return Ok(Step::Blocked(Pending::Move(t))),
            Line::Request(phase) if phase != t.phase => return self.mismatch(&t),
            Line::Request(_) => {}
        }
        // Data go to memory only: in I/O space nothing answers them, the chip's registers least of all.
        let io = if t.phase.is_in() {
            Dmode::DIOM
        } else {
            Dmode::SIOM
        };
        if self.registers.dmode().contains(io) {
            return self.checked(Err(Fault::Unmapped(t.address)));
        }
        if !t.phase.is_in() && self.forces_even() {
            // A target that sees bad parity lets the bus go.
            self.link.abandon(&mut self.bus);
            self.became_free(Freed::Abrupt)?;
            return Ok(Step::Again(Pending::Move(t)));
        }
        let outcome = match t.phase {
            Phase::MessageOut => self.send_messages(gate, &mut t),
            Phase::MessageIn => self.receive_message(gate, &mut t),
            Phase::Command => self.send_command(gate, &mut t),
            Phase::Status => self.receive_status(gate, &mut t),
            Phase::DataIn => self.data_in(gate, &mut t),
            Phase::DataOut => self.data_out(gate, &mut t),
            Phase::ReservedIn | Phase::ReservedOut => Ok(()),
        };
        self.show(&t);
        outcome?;
        if t.remaining == 0 {
            Ok(Step::Done)
        } else {
            Ok(Step::Again(Pending::Move(t)))
        }
    }

    /// The target asks for another phase: the mismatch jump (895A), or the MA interrupt.
    fn mismatch(&mut self, t: &Transfer) -> Outcome {
        // A byte in SWIDE counts as received, although it is not in memory.
        let held = t.phase == Phase::DataIn && self.processor.held == Some(Held::Register);
        let left = t.remaining - u32::from(held && !t.begun);
        let [low, high] = halves(t.address);
        self.registers
            .set_dword(at::RBC, u32::from(t.top) << 24 | left);
        self.registers.set_dword(at::UA, low);
        self.registers.set_dword(at::DNAD64, high);
        let control = self.registers.ccntl0();
        if !control.contains(Ccntl0::ENPMJ)
            || !t.phase.is_data() && !control.contains(Ccntl0::ENNDJ)
        {
            self.post_scsi(Scsi::MA);
            return Err(Stop);
        }
        let second = if control.contains(Ccntl0::PMJCTL) {
            t.phase.is_in()
        } else {
            self.registers.scntl2().contains(Scntl2::WSR)
        };
        let target = self
            .registers
            .dword(if second { at::PMJAD2 } else { at::PMJAD1 });
        self.registers.set_dword(at::DSP, target);
        Ok(Step::Done)
    }

    fn send_messages(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        let mut buffer = [0; MESSAGE_PIECE];
        let bytes = self.bytes_out(gate, t, &mut buffer)?;
        match self.link.message_out(&mut self.bus, bytes) {
            Some(freed) => self.became_free(freed),
            None => Ok(()),
        }
    }

    fn send_command(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        let mut buffer = [0; COMMAND_PIECE];
        let bytes = self.bytes_out(gate, t, &mut buffer)?;
        self.link.command(&mut self.bus, bytes);
        Ok(())
    }

    /// The move's next bytes, as many as fit.
    fn bytes_out<'a>(
        &mut self,
        gate: &Gate,
        t: &mut Transfer,
        buffer: &'a mut [u8],
    ) -> Outcome<&'a [u8]> {
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let n = t.remaining.min(room);
        let bytes = buffer.get_mut(..n as usize).unwrap_or_default();
        let read = self.read_memory(gate, t.address, bytes);
        self.checked(read)?;
        t.advance(n);
        self.count(t.phase, n);
        Ok(bytes)
    }

    fn receive_message(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        while t.remaining > 0
            && let Some(byte) = self.link.message_in()
        {
            self.receive_byte(gate, t, byte)?;
            if self.link.acknowledging() {
                break;
            }
        }
        Ok(())
    }

    fn receive_status(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        let task = self.link.connection().and_then(|c| c.task());
        if let Some(Want::Status(status)) = task.map(|task| self.bus.want(task)) {
            self.receive_byte(gate, t, status)?;
            self.link.status_taken();
        }
        Ok(())
    }

    /// An asynchronous byte: SIDL has the last, SFBR the first of a move.
    fn receive_byte(&mut self, gate: &Gate, t: &mut Transfer, byte: u8) -> Outcome<()> {
        self.registers.set_byte(at::SIDL, byte);
        if !t.begun {
            self.set_sfbr(byte);
        }
        let written = self.write_memory(gate, t.address, &[byte]);
        self.checked(written)?;
        t.advance(1);
        self.count(t.phase, 1);
        Ok(())
    }

    /// Bytes that the connected task can move now.
    fn data_left(&mut self) -> u32 {
        let task = self.link.connection().and_then(|c| c.task());
        task.map_or(0, |task| match self.bus.want(task) {
            Want::DataIn(left) | Want::DataOut(left) => left,
            Want::Status(_) | Want::Wait | Want::Gone => 0,
        })
    }

    /// Moves what lies together in memory; returns how much.
    pub(super) fn move_data(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<u32> {
        let Some(task) = self.link.connection().and_then(|c| c.task()) else {
            return Ok(0);
        };
        if let Some(byte) = self.link.connection().and_then(|c| c.offered.take()) {
            let written = self.write_memory(gate, t.address, &[byte]);
            self.checked(written)?;
            t.advance(1);
            self.count(t.phase, 1);
            return Ok(1);
        }
        let wanted = self.data_left().min(t.remaining);
        if wanted == 0 {
            return Ok(0);
        }
        let (place, n) = self.place(t.address, wanted);
        let moved = match place {
            Place::Guest => {
                let result = self.bus.transfer(gate, task, t.address, n);
                self.checked(result)?;
                n
            }
            Place::Ram(range) => {
                let mut bytes = vec![0; range.len()];
                self.ram.read(range.start, &mut bytes);
                let moved = self.bus.transfer_bytes(task, &mut bytes);
                if t.phase == Phase::DataIn {
                    // These and no others: the driver may be at work beside them.
                    self.ram
                        .write(range.start, bytes.get(..moved).unwrap_or(&bytes));
                }
                u32::try_from(moved).unwrap_or(n)
            }
            Place::Register(_) => {
                return self.checked(Err(Fault::Unmapped(t.address)));
            }
        };
        self.processor.moved = self.processor.moved.saturating_add(moved);
        t.advance(moved);
        self.count(t.phase, moved);
        if let Some(c) = self.link.connection() {
            c.data_moved();
        }
        Ok(moved)
    }
}
