//! Step 7, I/O instructions: selection, disconnection, reselection, signals (manual, section 5.4).
//!
//! No initiator but the chip itself is on the bus, so in the target role nobody ever answers or selects:
//! RESELECT times out, WAIT SELECT waits until SIGP, DISCONNECT has nothing to disconnect.

use super::{Outcome, Pending, Step};
use crate::lsi::Lsi;
use crate::lsi::interrupt::Scsi;
use crate::lsi::phase::Line;
use crate::lsi::registers::{Dcntl, Istat0, SCID_RRE, SSID_VALID, Scntl0, Scntl1, Scntl2, at};
use crate::lsi::scripts::instruction::{Io, IoOperation, Signals};
use outrigger_device::dma::Gate;

impl Lsi {
    pub(super) fn io(&mut self, gate: &Gate, i: Io) -> Outcome {
        let target_role = self.registers.is_target();
        if matches!(i.operation, IoOperation::Select | IoOperation::WaitReselect) {
            // Section 5.4, RA: the alternate address or its displacement is in DNAD.
            self.registers.set_dword(at::DNAD, i.operand);
        }
        match i.operation {
            IoOperation::Select if self.link.unanswered => self.time_out(),
            IoOperation::Select => self.select(gate, i),
            IoOperation::WaitDisconnect if target_role => Ok(Step::Done),
            IoOperation::WaitDisconnect => self.wait_disconnect(),
            IoOperation::WaitReselect => {
                let alternate = self.alternate(i);
                if target_role {
                    self.wait_select(alternate)
                } else {
                    self.wait_reselect(alternate)
                }
            }
            IoOperation::Set => self.signals(i.signals, true),
            IoOperation::Clear => self.signals(i.signals, false),
        }
    }

    fn alternate(&self, i: Io) -> u32 {
        if i.relative {
            let next = self.registers.dword(at::DSP);
            next.wrapping_add(super::sign_extend(i.operand))
        } else {
            i.operand
        }
    }

    fn select(&mut self, gate: &Gate, i: Io) -> Outcome {
        let id = if i.table {
            let entry = self.read_dword(gate, self.dsa_relative(i.table_offset));
            let [_, sxfer, id, scntl3] = self.checked(entry)?.to_le_bytes();
            self.registers.write_byte(at::SCNTL3, scntl3);
            self.registers.write_byte(at::SXFER, sxfer);
            id
        } else {
            i.id
        } & self.model.last_id();
        self.registers.write_byte(at::SDID, id);
        let alternate = self.alternate(i);
        self.release_ack()?;
        // Arbitration is lost to a nexus that exists already, or to a target that has been waiting longer, unless the
        // chip has arbitrated immediately.
        let immediate = self.registers.scntl1().contains(Scntl1::IARB);
        if self.link.connected() || !immediate && self.reselects() {
            self.registers.set_dword(at::DSP, alternate);
            return Ok(Step::Done);
        }
        self.address(id, i.atn);
        if self.link.connected() {
            self.notify(Scsi::CMP);
        }
        Ok(Step::Done)
    }

    /// The chip has won arbitration and selects or, as a target, reselects.
    pub(in crate::lsi) fn address(&mut self, id: u8, atn: bool) {
        self.won_arbitration();
        if self.registers.is_target() {
            // No initiator is there to answer.
            self.link.unanswered = true;
        } else {
            self.link.select(&self.bus, id, atn);
        }
        if self.link.connected() {
            self.connected();
        }
    }

    /// Arbitration and reselection are part of SCRIPTS, which go on without a word, unless the driver wants one.
    /// A masked condition leaves no bit in SIST here: firmware polls SIST and takes any bit for an error.
    fn notify(&mut self, condition: Scsi) {
        if self.enables().scsi.contains(condition) {
            self.post_scsi(condition);
        }
    }

    /// Lets the next target reselect for an instruction; whether one did.
    fn reselects(&mut self) -> bool {
        let reselected = self.reselected();
        if reselected {
            self.notify(Scsi::RSL);
        }
        reselected
    }

    /// Nothing that SCRIPTS do is under way.
    pub(in crate::lsi) fn watch_bus(&mut self) {
        if self.bus_is_idle() {
            self.answers_reselection();
        }
        self.watch_handshake();
    }

    fn bus_is_idle(&self) -> bool {
        !self.link.connected() && !self.link.unanswered && !self.holds_bus()
    }

    /// Whether [`Lsi::watch_bus`] is about to answer a reselection.
    pub(in crate::lsi) fn awaits_reselection(&self) -> bool {
        self.bus_is_idle() && self.may_be_reselected() && self.bus.wants_reselection()
    }

    /// Section 4.2, SCID: with RRE, and its ID in RESPID, the chip answers reselections without SCRIPTS; whether it
    /// did.
    pub(in crate::lsi) fn answers_reselection(&mut self) -> bool {
        let answered = self.may_be_reselected() && self.reselected();
        if answered {
            self.post_scsi(Scsi::RSL);
        }
        answered
    }

    fn may_be_reselected(&self) -> bool {
        let scid = self.registers.byte(at::SCID);
        let respid = u16::from_le_bytes([
            self.registers.byte(at::RESPID),
            self.registers.byte(at::RESPID + 1),
        ]);
        scid & SCID_RRE != 0 && respid >> (scid & 15) & 1 != 0
    }

    /// Lets the next target reselect; whether one did.
    fn reselected(&mut self) -> bool {
        let Some(id) = self.link.reselect(&mut self.bus) else {
            return false;
        };
        let ssid = SSID_VALID | id;
        self.registers.set_byte(at::SSID, ssid);
        // Section 4.2, SFBR: what the data bus shows, the IDs of both.
        if !self.registers.dcntl().contains(Dcntl::COM) {
            let [ids, _] = (1 << id | self.own_id()).to_le_bytes();
            self.set_sfbr(ids);
        }
        self.connected();
        true
    }

    /// Section 4.2, SCNTL2.SDU: set by the chip at each connection, which takes over SOCL.
    fn connected(&mut self) {
        self.latch_signals(true, true, false);
        self.registers.set_scntl2(Scntl2::SDU, true);
        self.end_sequence();
    }

    pub(super) fn wait_disconnect(&mut self) -> Outcome {
        match self.observe(None, false)? {
            Line::Free => Ok(Step::Done),
            Line::Quiet => Ok(Step::Blocked(Pending::Disconnect)),
            // Section 4.2, DSTAT.IID: REQ without a disconnect.
            Line::Request(_) => self.illegal(),
        }
    }

    pub(super) fn wait_reselect(&mut self, alternate: u32) -> Outcome {
        if self.link.unanswered {
            return self.time_out();
        }
        self.release_ack()?;
        if self.link.connected() || self.reselects() {
            return Ok(Step::Done);
        }
        Ok(self.wait_for_signal(alternate, Pending::Reselect(alternate)))
    }

    /// A reselection ends it at the alternate address.
    pub(super) fn wait_select(&mut self, alternate: u32) -> Outcome {
        if self.link.unanswered {
            return self.time_out();
        }
        if !self.link.connected() && self.reselects() {
            self.registers.set_dword(at::DSP, alternate);
            return Ok(Step::Done);
        }
        Ok(self.wait_for_signal(alternate, Pending::Select(alternate)))
    }

    fn wait_for_signal(&mut self, alternate: u32, pending: Pending) -> Step {
        if self.registers.istat0().contains(Istat0::SIGP) {
            self.registers.set_dword(at::DSP, alternate);
            Step::Done
        } else {
            Step::Blocked(pending)
        }
    }

    fn signals(&mut self, signals: Signals, on: bool) -> Outcome {
        if signals.carry {
            self.processor.carry = on;
        }
        if signals.target {
            let role = self.registers.byte(at::SCNTL0) & !Scntl0::TRG.bits();
            let role = role | if on { Scntl0::TRG.bits() } else { 0 };
            self.registers.set_byte(at::SCNTL0, role);
        }
        let connected = self.link.connected();
        if signals.atn && connected {
            self.link.atn = on;
        }
        if !connected {
            self.latch_signals(signals.ack, signals.atn, on);
        }
        // ATN first: a target that sees ACK fall looks at ATN.
        if signals.ack && !on {
            self.release_ack()?;
        }
        Ok(Step::Done)
    }
}
