//! Step 8, low level mode: arbitration, selection and transfers that the host works by hand, a signal at a time
//! (manual, section 4.2: SCNTL0, SCNTL1, SOCL, SODL, SBCL, SBDL, SIDL, STEST2).
//!
//! What SCRIPTS do with a block move, a diagnostic does with REQ in SBCL, a byte in SODL or SBDL, and ACK in SOCL.
//! Both work the same [`Link`](super::link::Link), so they can take turns on one nexus.

use super::Lsi;
use super::interrupt::Scsi;
use super::phase::{Line, Phase};
use super::registers::{
    SSTAT0_AIP, SSTAT0_LOA, SSTAT0_RST, SSTAT0_SDP0, SSTAT0_WOA, STEST2_SLB, Scntl0, Scntl1,
    Signal, at,
};
use super::scripts::State;
use crate::scsi::Want;

/// What the chip does on the bus beside what SCRIPTS do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LowLevel {
    /// AIP, LOA and WOA of SSTAT0.
    arbitration: u8,
    /// Simple arbitration was won: BSY and the chip's ID are on the bus.
    holds_bus: bool,
}

/// Who drives the data bus, with which byte.
#[derive(Clone, Copy, Debug)]
enum Driver {
    Nobody,
    Chip(u8),
    Target(u8),
}

impl Lsi {
    /// SCNTL0.START was set: the sequence that ARB says.
    pub(super) fn start_sequence(&mut self) {
        if self.link.connected() || self.link.unanswered {
            self.registers.set_scntl0(Scntl0::START, false);
            return;
        }
        let scntl0 = self.registers.scntl0();
        self.low = LowLevel::default();
        if scntl0.contains(Scntl0::ARB) {
            if self.answers_reselection() {
                self.low.arbitration = SSTAT0_LOA;
                self.registers.set_scntl0(Scntl0::START, false);
                return;
            }
            let id = self.registers.byte(at::SDID) & self.model.last_id();
            self.address(id, scntl0.contains(Scntl0::WATN));
            if self.link.connected() {
                self.post_scsi(Scsi::CMP);
            } else {
                self.give_up_selection();
                self.post_scsi(Scsi::STO);
            }
        } else {
            self.registers.set_scntl0(Scntl0::START, false);
            if !scntl0.intersects(Scntl0::ARB) {
                self.low.holds_bus = true;
                self.low.arbitration = SSTAT0_AIP;
                self.post_scsi(Scsi::CMP);
            }
        }
    }

    /// The chip has won full arbitration.
    pub(super) fn won_arbitration(&mut self) {
        self.low = LowLevel {
            arbitration: SSTAT0_WOA,
            holds_bus: false,
        };
    }

    /// The bus is the chip's by simple arbitration: nobody reselects.
    pub(super) fn holds_bus(&self) -> bool {
        self.low.holds_bus
    }

    /// SSTAT0. The FIFO and latch flags are 0: nothing is ever left in them.
    pub(super) fn sstat0(&mut self) -> u8 {
        let reset = self.registers.scntl1().contains(Scntl1::RST);
        let parity = match self.data_bus() {
            Driver::Nobody => false,
            Driver::Chip(byte) => parity(byte) != self.forces_even(),
            Driver::Target(byte) => parity(byte),
        };
        self.low.arbitration
            | if reset { SSTAT0_RST } else { 0 }
            | if parity { SSTAT0_SDP0 } else { 0 }
    }

    /// SOCL: what the chip asserts, by hand or for SCRIPTS.
    pub(super) fn socl(&self) -> Signal {
        let mut socl = Signal::from_bits_retain(self.registers.byte(at::SOCL));
        if !self.loops_back() && self.link.connected() {
            socl.set(Signal::ATN, self.link.atn);
            if self.link.acknowledging() {
                socl.insert(Signal::ACK);
            }
        }
        socl
    }

    /// SOCL is written.
    pub(super) fn write_socl(&mut self, value: u8) {
        let was = self.socl();
        self.registers.write_byte(at::SOCL, value);
        let now = Signal::from_bits_retain(value);
        if self.loops_back() {
            return;
        }
        if !self.link.connected() {
            self.select_by_hand();
            return;
        }
        self.link.atn = now.contains(Signal::ATN);
        if (now - was).contains(Signal::ACK) {
            self.acknowledge();
        } else if (was - now).contains(Signal::ACK) {
            self.lower_ack();
        }
    }

    /// SBCL: the control signals of the bus.
    pub(super) fn control_lines(&mut self) -> u8 {
        let socl = self.socl();
        if self.loops_back() {
            return socl.bits();
        }
        let lines = match self.link.line(&mut self.bus, Some(asked(socl))) {
            // A selection that nobody answers.
            Line::Free if self.link.unanswered && self.link.atn => Signal::SEL | Signal::ATN,
            Line::Free if self.link.unanswered => Signal::SEL,
            // With SEL the arbitration is over, and SOCL says whether BSY stays.
            Line::Free if self.low.holds_bus && socl.contains(Signal::SEL) => {
                socl & (Signal::SEL | Signal::ATN | Signal::BSY)
            }
            Line::Free if self.low.holds_bus => Signal::BSY | socl & Signal::ATN,
            Line::Free => Signal::empty(),
            // The target waits for SEL to fall, or for ACK.
            Line::Request(_) | Line::Quiet if socl.intersects(Signal::SEL | Signal::ACK) => {
                Signal::BSY | socl & (Signal::SEL | Signal::ATN | Signal::ACK)
            }
            Line::Quiet => Signal::BSY | socl & Signal::ATN,
            Line::Request(phase) => {
                Signal::REQ
                    | Signal::BSY
                    | socl & Signal::ATN
                    | Signal::from_bits_retain(phase.bits())
            }
        };
        lines.bits()
    }

    /// SBDL and SIDL: the host reads the byte that a target has put on the bus.
    pub(super) fn read_data_lines(&mut self) -> u8 {
        self.offer_data();
        self.data_lines()
    }

    /// SIDL: latched. Section 4.2: reading it checks its parity.
    pub(super) fn read_sidl(&mut self) -> u8 {
        if !matches!(self.processor.state, State::Halted) {
            return self.registers.byte(at::SIDL);
        }
        if self.loops_back() || self.requests_in() {
            let byte = self.read_data_lines();
            self.registers.set_byte(at::SIDL, byte);
        }
        if self.loops_back() && self.forces_even() && self.registers.scntl0().contains(Scntl0::EPC)
        {
            self.post_scsi(Scsi::PAR);
        }
        self.registers.byte(at::SIDL)
    }

    /// SODL, SCNTL1.ADB or SOCL have changed with the bus in hand: SEL without BSY and a target's ID select it.
    pub(super) fn select_by_hand(&mut self) {
        let socl = Signal::from_bits_retain(self.registers.byte(at::SOCL));
        if !self.low.holds_bus || !socl.contains(Signal::SEL) || socl.contains(Signal::BSY) {
            return;
        }
        if !self.registers.scntl1().contains(Scntl1::ADB) {
            return;
        }
        let [low, high] = [
            self.registers.byte(at::SODL),
            self.registers.byte(at::SODL + 1),
        ];
        let target = u16::from_le_bytes([low, high]) & !self.own_id();
        let id = target.trailing_zeros().to_le_bytes()[0];
        if target.is_power_of_two() && self.bus.responds(id) {
            self.low = LowLevel::default();
            self.address(id, socl.contains(Signal::ATN));
        }
    }

    /// SET and CLEAR with nobody connected: section 5.4.1, the bits of SOCL, and nothing on the bus.
    pub(super) fn latch_signals(&mut self, ack: bool, atn: bool, on: bool) {
        let mut socl = Signal::from_bits_retain(self.registers.byte(at::SOCL));
        for (named, signal) in [(ack, Signal::ACK), (atn, Signal::ATN)] {
            if named {
                socl.set(signal, on);
            }
        }
        self.registers.set_byte(at::SOCL, socl.bits());
    }

    /// The chip's ID as it shows on the bus.
    pub(super) fn own_id(&self) -> u16 {
        1 << (self.registers.byte(at::SCID) & self.model.last_id())
    }

    /// ACK rises: a byte passes.
    fn acknowledge(&mut self) {
        let asked = asked(self.socl());
        let Line::Request(phase) = self.link.line(&mut self.bus, Some(asked)) else {
            return;
        };
        if phase.is_in() {
            self.offer_data();
            if let Some(byte) = self.offered() {
                self.registers.set_byte(at::SIDL, byte);
                self.take(phase);
            }
        } else {
            let byte = self.data_lines();
            self.send(phase, byte);
        }
    }

    fn take(&mut self, phase: Phase) {
        match phase {
            Phase::MessageIn => {
                let _ = self.link.message_in();
            }
            Phase::Status => self.link.status_taken(),
            _ => {
                if let Some(c) = self.link.connection() {
                    c.offered = None;
                    c.data_moved();
                }
            }
        }
    }

    fn send(&mut self, phase: Phase, byte: u8) {
        match phase {
            Phase::MessageOut => {
                let atn = self.link.atn;
                if let Some(freed) = self.link.message_out(&mut self.bus, &[byte]) {
                    self.bus_freed(freed);
                } else {
                    self.link.atn = atn;
                }
            }
            Phase::Command => self.link.command(&mut self.bus, &[byte]),
            _ => {
                if let Some(c) = self.link.connection()
                    && let Some(task) = c.task()
                {
                    c.data_moved();
                    // The backend may take it later; the target has it.
                    let _ = self.bus.transfer_bytes(task, &mut [byte]);
                }
            }
        }
    }

    /// A target in DATA IN puts its next byte on the bus, once somebody looks; SCRIPTS take it from there too.
    fn offer_data(&mut self) {
        if self.loops_back() || self.line_now() != Line::Request(Phase::DataIn) {
            return;
        }
        let Some(c) = self.link.connection() else {
            return;
        };
        let (None, Some(task)) = (c.offered, c.task()) else {
            return;
        };
        let mut byte = [0];
        if self.bus.transfer_bytes(task, &mut byte) == 1
            && let Some(c) = self.link.connection()
        {
            c.offered = Some(byte[0]);
        }
    }

    /// The byte that the target has on the bus.
    fn offered(&mut self) -> Option<u8> {
        let Line::Request(phase) = self.line_now() else {
            return None;
        };
        let c = self.link.connection()?;
        match phase {
            Phase::MessageIn => c.next_message_byte(),
            Phase::Status => match self.bus.want(c.task()?) {
                Want::Status(status) => Some(status),
                _ => None,
            },
            Phase::DataIn => c.offered,
            _ => None,
        }
    }

    fn line_now(&mut self) -> Line {
        let asked = asked(self.socl());
        self.link.line(&mut self.bus, Some(asked))
    }

    fn requests_in(&mut self) -> bool {
        !self.socl().contains(Signal::ACK)
            && matches!(self.line_now(), Line::Request(phase) if phase.is_in())
    }

    /// What is on the data bus, without asking a target for more.
    fn data_bus(&mut self) -> Driver {
        let socl = self.socl();
        let adb = self.registers.scntl1().contains(Scntl1::ADB);
        let sodl = self.registers.byte(at::SODL);
        if self.low.holds_bus && !self.loops_back() {
            let id = self.own_id().to_le_bytes()[0];
            return Driver::Chip(if adb { sodl | id } else { id });
        }
        if self.loops_back() && adb {
            return Driver::Chip(sodl);
        }
        if self.loops_back() || !self.link.connected() {
            return Driver::Nobody;
        }
        if socl.contains(Signal::ACK) && self.link.latched.is_in() {
            return Driver::Target(self.registers.byte(at::SIDL));
        }
        match self.line_now() {
            Line::Request(phase) if phase.is_in() => {
                self.offered().map_or(Driver::Nobody, Driver::Target)
            }
            // Section 4.2, SCNTL1.ADB: driven only in the phase that SOCL names.
            Line::Request(phase) if adb && phase == asked(socl) => Driver::Chip(sodl),
            _ => Driver::Nobody,
        }
    }

    fn data_lines(&mut self) -> u8 {
        match self.data_bus() {
            Driver::Nobody => 0,
            Driver::Chip(byte) | Driver::Target(byte) => byte,
        }
    }

    /// STEST2.SLB: the chip sees its own signals, and nobody else's.
    fn loops_back(&self) -> bool {
        self.registers.byte(at::STEST2) & STEST2_SLB != 0
    }

    /// SCNTL1.AESP: bytes go out with wrong parity.
    pub(super) fn forces_even(&self) -> bool {
        self.registers.scntl1().contains(Scntl1::AESP)
    }
}

/// The phase that SOCL names.
fn asked(socl: Signal) -> Phase {
    Phase::from_bits(socl.bits())
}

/// The parity signal of a byte on a bus with odd parity.
fn parity(byte: u8) -> bool {
    byte.count_ones().is_multiple_of(2)
}
