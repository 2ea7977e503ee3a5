//! Step 7, LOAD and STORE: one to four bytes between registers and memory (manual, section 5.8).

use super::{Outcome, Step};
use crate::lsi::register_access::Origin;
use crate::lsi::registers::{Dmode, at};
use crate::lsi::scripts::fetch::Place;
use crate::lsi::scripts::instruction::LoadStore;
use crate::lsi::{Lsi, Model};
use outrigger_device::dma::{Fault, Gate};

impl Lsi {
    pub(super) fn load_store(&mut self, gate: &Gate, l: LoadStore) -> Outcome {
        let address = match (l.dsa_relative, l.load) {
            (true, _) => self.dsa_relative(l.operand),
            (false, true) => self.with_selector(at::MMRS, l.operand),
            (false, false) => self.with_selector(at::MMWS, l.operand),
        };
        // Section 4.2, DSTAT.IID: within one Dword, equally aligned, and not the chip's own registers.
        let within = (l.register & 3) + l.count <= 4;
        let aligned = address.to_le_bytes()[0] & 3 == l.register & 3;
        // Section 5.8: DMODE says in which space memory is.
        let io = if l.load { Dmode::SIOM } else { Dmode::DIOM };
        let io = self.registers.dmode().contains(io);
        let own = if io {
            self.io_place(address).is_ok()
        } else {
            matches!(self.place(address, l.count.into()).0, Place::Register(_))
        };
        if self.model == Model::Lsi53c810 || !within || !aligned || own {
            return self.illegal();
        }
        if io {
            return self.checked(Err(Fault::Unmapped(address)));
        }
        if l.count == 4 && self.is_stored(l.register) {
            let moved = if l.load {
                let word = self.read_dword(gate, address);
                word.map(|word| self.registers.set_dword(l.register, word))
            } else {
                let word = self.registers.dword(l.register);
                self.write_memory(gate, address, &word.to_le_bytes())
            };
            self.checked(moved)?;
            return Ok(Step::Done);
        }
        let registers = l.register..=u8::MAX;
        let mut bytes = [0; 4];
        let Some(bytes) = bytes.get_mut(..usize::from(l.count)) else {
            return self.illegal();
        };
        if l.load {
            let read = self.read_memory(gate, address, bytes);
            self.checked(read)?;
            for (register, &byte) in registers.zip(&*bytes) {
                // Section 4.2, SFBR: LOAD does not write it.
                if register != at::SFBR {
                    self.write_register(register, byte, Origin::Scripts);
                }
            }
        } else {
            for (register, byte) in registers.zip(&mut *bytes) {
                *byte = self.read_register(register);
            }
            let written = self.write_memory(gate, address, bytes);
            self.checked(written)?;
        }
        Ok(Step::Done)
    }
}
