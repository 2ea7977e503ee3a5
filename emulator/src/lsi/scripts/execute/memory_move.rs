//! Step 7, memory moves: bytes from memory to memory, also from and to the chip's own registers (manual, section 5.7).

use super::{Outcome, Pending, Step};
use crate::lsi::Lsi;
use crate::lsi::mirror::SHOWS_SIGP;
use crate::lsi::registers::{Dmode, Shadows, at};
use crate::lsi::scripts::fetch::Reach;
use crate::lsi::scripts::instruction::MemoryMove;
use outrigger_device::dma::Gate;

/// Bytes of one step.
const PIECE: usize = 4096;

/// A memory move in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsi) struct Copy {
    pub(in crate::lsi) source: u64,
    pub(in crate::lsi) destination: u64,
    pub(in crate::lsi) remaining: u32,
    /// The next piece is the first step of a slice.
    pub(in crate::lsi) first: bool,
}

impl Lsi {
    pub(super) fn start_copy(&mut self, gate: &Gate, m: MemoryMove) -> Outcome {
        let destination = self.fetch(gate)?;
        // Section 5.2: the third Dword goes to the shadow of TEMP, which keeps what CALL has left there.
        self.registers.set_shadows(Shadows {
            temp: destination,
            dsa: m.source,
        });
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
                first: false,
            },
        )
    }

    /// DMODE says when it is used in which space the addresses lie.
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
        let (from, to) = (self.reach(Dmode::SIOM), self.reach(Dmode::DIOM));
        let looks_at_istat = self.reaches(copy.source, n, from, SHOWS_SIGP)
            || self.reaches(copy.destination, n, to, SHOWS_SIGP);
        if looks_at_istat && !copy.first {
            return Ok(Step::Yield(Pending::Copy(Copy {
                first: true,
                ..copy
            })));
        }
        if self.processor.first_byte.is_some()
            && self.reaches(copy.source, n, from, [at::SFBR])
            && !self.fetch_first_byte(gate)
        {
            return Ok(Step::Blocked(Pending::Copy(copy)));
        }
        let read = self.copy_in(gate, copy.source, from, bytes);
        self.checked(read)?;
        let written = self.copy_out(gate, copy.destination, to, bytes);
        self.checked(written)?;
        self.processor.moved = self.processor.moved.saturating_add(n);
        copy.remaining -= n;
        copy.source = copy.source.wrapping_add(u64::from(n));
        copy.destination = copy.destination.wrapping_add(u64::from(n));
        copy.first = false;
        self.registers.set_dbc(copy.remaining);
        if copy.remaining == 0 {
            Ok(Step::Done)
        } else {
            Ok(Step::Again(Pending::Copy(copy)))
        }
    }
}
