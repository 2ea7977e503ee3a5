//! Step 7, SFBR after DATA IN: the first byte of a move, looked for when somebody asks (manual, section 4.2, SFBR).
//!
//! Data go from the medium straight into memory, often after the move has ended for SCRIPTS. So a move only
//! notes where its first byte will be. Who uses SFBR before another byte replaces it fetches it from there:
//! an instruction waits until the data have come, the host sees the old byte until then.

use super::Lsi;
use super::registers::{SXFER_OFFSET, at};
use super::scripts::{Instruction, RegisterOperation};
use crate::scsi::TaskId;
use outrigger_device::dma::Gate;

/// Where the first byte of the last DATA IN move is, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstByte {
    task: TaskId,
    address: u64,
}

impl Lsi {
    /// A DATA IN move begins to bring bytes of `task` to `address`. A synchronous transfer leaves SFBR alone.
    pub(super) fn note_first_byte(&mut self, task: TaskId, address: u64) {
        if self.registers.byte(at::SXFER) & SXFER_OFFSET == 0 {
            self.processor.first_byte = Some(FirstByte { task, address });
        }
    }

    /// SFBR is loaded with something else.
    pub(super) fn set_sfbr(&mut self, value: u8) {
        self.processor.first_byte = None;
        self.registers.set_byte(at::SFBR, value);
    }

    /// The host reads SFBR.
    pub(super) fn read_sfbr(&mut self, gate: &Gate) -> u8 {
        let _ = self.fetch_first_byte(gate);
        self.registers.byte(at::SFBR)
    }

    /// Fetches the byte if its data have come; `false`: they have not, and are on their way now.
    pub(super) fn fetch_first_byte(&mut self, gate: &Gate) -> bool {
        let Some(FirstByte { task, address }) = self.processor.first_byte else {
            return true;
        };
        if !self.bus.land(task) {
            return false;
        }
        // Memory that has gone meanwhile leaves the old byte.
        let old = [self.registers.byte(at::SFBR)];
        let [byte] = self.read_array(gate, address).unwrap_or(old);
        self.set_sfbr(byte);
        true
    }
}

/// Whether an instruction uses SFBR. A memory move may read it through the register window, and looks for itself.
pub(super) fn uses_sfbr(instruction: Instruction) -> bool {
    match instruction {
        Instruction::Register(r) => {
            r.sfbr_data || r.operation == RegisterOperation::FromSfbr || r.register == at::SFBR
        }
        Instruction::Transfer(t) => t.condition.data.is_some(),
        Instruction::LoadStore(l) => {
            (l.register..l.register.saturating_add(l.count)).contains(&at::SFBR)
        }
        _ => false,
    }
}
