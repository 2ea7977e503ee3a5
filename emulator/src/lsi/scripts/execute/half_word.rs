//! Step 7, data phases on a wide bus: the half of a word that a move leaves behind (manual, section 4.2, SCNTL2,
//! SWIDE and SODL).

use super::{Outcome, Transfer};
use crate::lsi::Lsi;
use crate::lsi::registers::{SCNTL3_EWS, Scntl2, at};
use crate::scsi::Want;
use outrigger_device::dma::Gate;

/// Where the byte that WSR announces is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsi) enum Held {
    /// In SWIDE.
    Register,
    /// Still with the target: the data of a medium may not have been read yet. The next DATA IN move
    /// fetches it; a script sees no difference.
    Target,
}

impl Lsi {
    fn is_wide(&self) -> bool {
        self.model.is_wide() && self.registers.byte(at::SCNTL3) & SCNTL3_EWS != 0
    }

    /// The byte in SWIDE leads the next receive.
    pub(super) fn unload_swide(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        let byte = self.registers.byte(at::SWIDE);
        let written = self.write_memory(gate, t.address, &[byte]);
        self.checked(written)?;
        t.advance(1);
        self.processor.held = None;
        self.registers.set_scntl2(Scntl2::WSR, false);
        Ok(())
    }

    pub(super) fn data_in(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        self.registers.set_scntl2(Scntl2::WSS, false);
        if self.processor.held == Some(Held::Register) {
            self.unload_swide(gate, t)?;
        }
        self.processor.held = None;
        self.registers.set_scntl2(Scntl2::WSR, false);
        let first = self.registers.dword(at::SBC) & 0x00ff_ffff == 0;
        let address = t.address;
        let moved = self.move_data(gate, t)?;
        if first
            && moved > 0
            && let Some(task) = self.link.connection().and_then(|c| c.task())
        {
            self.note_first_byte(task, address);
        }
        let over = self.data_over();
        let wide = self.is_wide();
        let Some(c) = self.link.connection() else {
            return Ok(());
        };
        c.odd_in ^= moved & 1 == 1;
        if !wide || !c.odd_in {
            c.odd_in &= wide;
            return Ok(());
        }
        if !over {
            // The second byte of the word is the chip's already.
            if t.remaining == 0 {
                self.processor.held = Some(Held::Target);
                self.registers.set_scntl2(Scntl2::WSR, true);
            }
            return Ok(());
        }
        // The target pads its last word and says so.
        c.odd_in = false;
        c.announce_residue();
        if t.remaining == 0 {
            self.registers.set_byte(at::SWIDE, 0);
            self.processor.held = Some(Held::Register);
            self.registers.set_scntl2(Scntl2::WSR, true);
        } else {
            let written = self.write_memory(gate, t.address, &[0]);
            self.checked(written)?;
            t.advance(1);
            self.count(t.phase, 1);
        }
        Ok(())
    }

    pub(super) fn data_out(&mut self, gate: &Gate, t: &mut Transfer) -> Outcome<()> {
        self.processor.held = None;
        self.registers.set_scntl2(Scntl2::WSR | Scntl2::WSS, false);
        let moved = self.move_data(gate, t)?;
        let wide = self.is_wide();
        let Some(c) = self.link.connection() else {
            return Ok(());
        };
        c.odd_out ^= moved & 1 == 1;
        c.odd_out &= wide;
        if t.remaining > 0 || !c.odd_out {
            return Ok(());
        }
        if !t.chained {
            // The word went out with padding.
            c.odd_out = false;
            return Ok(());
        }
        // SODL keeps the byte until its partner comes; to the target it makes no difference.
        let read = self.read_array(gate, t.address.wrapping_sub(1));
        let [byte] = self.checked(read)?;
        self.registers.set_byte(at::SODL, byte);
        self.registers.set_scntl2(Scntl2::WSS, true);
        Ok(())
    }

    /// Whether the connected task has moved all its data. A medium's are whole words: while it is busy, there may be
    /// more.
    fn data_over(&mut self) -> bool {
        let task = self.link.connection().and_then(|c| c.task());
        let want = task.map_or(Want::Gone, |task| self.bus.want(task));
        matches!(want, Want::Status(_) | Want::Gone)
    }

    /// A wide target sends its last word whole: if only the byte that WSR announces is left, it has sent it.
    pub(super) fn take_last_byte(&mut self) {
        if self.processor.held != Some(Held::Target) {
            return;
        }
        let Some(task) = self.link.connection().and_then(|c| c.task()) else {
            return;
        };
        if self.bus.want(task) != Want::DataIn(1) {
            return;
        }
        let mut byte = [0];
        if self.bus.transfer_bytes(task, &mut byte) == 1 {
            self.registers.set_byte(at::SWIDE, byte[0]);
            self.processor.held = Some(Held::Register);
            if let Some(c) = self.link.connection() {
                c.odd_in = false;
            }
        }
    }

    /// SCNTL2.WSR is cleared: the byte it announces is dropped.
    pub(in crate::lsi) fn drop_residue(&mut self) {
        if self.processor.held.take() == Some(Held::Target)
            && let Some(task) = self.link.connection().and_then(|c| c.task())
            && matches!(self.bus.want(task), Want::DataIn(_))
        {
            // A medium's byte that has not been read yet stays: it leads the next move instead of vanishing.
            let _ = self.bus.transfer_bytes(task, &mut [0]);
            if let Some(c) = self.link.connection() {
                c.odd_in = false;
            }
        }
    }
}
