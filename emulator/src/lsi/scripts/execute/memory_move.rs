//! Step 7, memory moves: bytes from memory to memory, also from and to the chip's own registers (manual, section 5.7).

use super::{Outcome, Pending, Step};
use crate::dma::Gate;
use crate::lsi::Lsi;
use crate::lsi::registers::{Dmode, at};
use crate::lsi::scripts::fetch::{Bytes, Reach};
use crate::lsi::scripts::instruction::MemoryMove;

/// Bytes of one step.
const PIECE: usize = 4096;

/// A memory move in progress. DMODE says when it is used in which space the addresses lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsi) struct Copy {
    pub(in crate::lsi) source: u64,
    pub(in crate::lsi) destination: u64,
    pub(in crate::lsi) remaining: u32,
}

impl Lsi {
    pub(super) fn start_copy(&mut self, gate: &Gate, m: MemoryMove) -> Outcome {
        let destination = self.fetch(gate)?;
        self.registers.set_dword(at::TEMP, destination);
        // Section 4.2, DSTAT.IID: source and destination must be equally aligned.
        if (m.source ^ destination) & 3 != 0 {
            return self.illegal();
        }
        self.go_on_copying(
            gate,
            Copy {
                source: self.with_selector(at::MMRS, m.source),
                destination: self.with_selector(at::MMWS, destination),
                remaining: m.count,
            },
        )
    }

    fn reach(&self, io: Dmode) -> Reach {
        if self.registers.dmode().contains(io) {
            Reach::Io
        } else {
            Reach::Registers
        }
    }

    pub(super) fn go_on_copying(&mut self, gate: &Gate, mut copy: Copy) -> Outcome {
        let mut buffer = [0; PIECE];
        let n = copy.remaining.min(buffer.len().try_into().unwrap_or(0));
        let Some(bytes) = buffer.get_mut(..n as usize) else {
            return self.illegal();
        };
        let from = self.reach(Dmode::SIOM);
        let read = self.walk(gate, copy.source, Bytes::In(bytes), from);
        self.checked(read)?;
        let to = self.reach(Dmode::DIOM);
        let written = self.walk(gate, copy.destination, Bytes::Out(bytes), to);
        self.checked(written)?;
        copy.remaining -= n;
        copy.source = copy.source.wrapping_add(u64::from(n));
        copy.destination = copy.destination.wrapping_add(u64::from(n));
        self.registers.set_dbc(copy.remaining);
        if copy.remaining == 0 {
            Ok(Step::Done)
        } else {
            Ok(Step::Again(Pending::Copy(copy)))
        }
    }
}
