//! A worker's counts as others read them: what is on its page, and how a reader gets it.
//!
//! The worker writes the page when it looks at its sockets (every 100 microseconds under load) and before it sleeps; that
//! is all that being watched costs it. `docs/statistics.md` describes page and socket for other readers.

mod page;
mod report;

use outrigger_ring::PageCounters;

pub use page::{Page, PageError};
pub use report::{Report, Style};

/// One counter: a `u64` that only grows, but for `thread`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its line on the page.
    line: usize,
    /// Its place in the line.
    column: usize,
    /// What it counts.
    pub meaning: &'static str,
}

/// The counters, in the order in which they are printed.
pub const FIELDS: &[Field] = {
    const fn field(name: &'static str, line: usize, column: usize, meaning: &'static str) -> Field {
        Field {
            name,
            line,
            column,
            meaning,
        }
    }
    &[
        field("thread", 0, 0, "the worker's thread id"),
        field("clients", 0, 1, "connections of VMMs"),
        field("requests", 3, 0, "SCSI requests ended"),
        field("bytes", 3, 1, "bytes of their data"),
        field("posted_writes", 2, 0, "writes posted by vCPUs"),
        field("crossings", 2, 1, "accesses that waited for the worker"),
        field("mirrored_reads", 2, 2, "reads answered from the mirror"),
        field(
            "vcpu_doorbells_sent",
            2,
            3,
            "times that vCPUs woke the worker",
        ),
        field(
            "vcpu_doorbells_suppressed",
            2,
            4,
            "times that they need not",
        ),
        field("vcpu_spins", 2, 5, "waits of vCPUs longer than a look"),
        field("vcpu_sleeps", 2, 6, "times that vCPUs slept for the worker"),
        field(
            "posted_writes_applied",
            1,
            0,
            "posted writes that took effect",
        ),
        field("crossings_answered", 1, 1, "crossings answered"),
        field("doorbells_sent", 1, 2, "times that the worker woke vCPUs"),
        field("doorbells_suppressed", 1, 3, "times that it need not"),
        field("interrupts", 3, 2, "interrupts signalled"),
        field(
            "interrupts_unmasked",
            3,
            3,
            "interrupts that the guest has seen",
        ),
        field("sleeps", 0, 2, "times that the worker slept"),
        field("looks", 0, 3, "looks at sockets without a sleep"),
        field("spins", 0, 4, "spells of polling with nothing to do"),
        field("spin_nanoseconds", 0, 5, "time spent so"),
    ]
};

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    values: Vec<u64>,
}

impl Sample {
    /// What a page says.
    #[must_use]
    pub fn new(page: &PageCounters) -> Self {
        let value = |field: &Field| {
            let line = page.get(field.line)?;
            line.get(field.column).copied()
        };
        Self {
            values: FIELDS.iter().map(|it| value(it).unwrap_or(0)).collect(),
        }
    }

    /// The counter of this name; 0 if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        let place = FIELDS.iter().position(|field| field.name == name);
        let value = place.and_then(|place| self.values.get(place));
        value.copied().unwrap_or(0)
    }

    /// Accesses of guests, through rings or as messages: each is an exit of a vCPU.
    #[must_use]
    pub fn accesses(&self) -> u64 {
        let parts = ["posted_writes", "crossings", "mirrored_reads"];
        parts
            .into_iter()
            .fold(0, |sum: u64, name| sum.wrapping_add(self.get(name)))
    }

    /// System calls that the loop made to wait, to wake and to interrupt. Those of a block engine are not in it.
    #[must_use]
    pub fn loop_system_calls(&self) -> u64 {
        // Wakes and interrupts look at the eventfd's flags first.
        ["sleeps", "looks", "interrupts_unmasked"]
            .into_iter()
            .map(|name| self.get(name))
            .chain(
                ["doorbells_sent", "interrupts"]
                    .into_iter()
                    .map(|name| self.get(name).wrapping_mul(2)),
            )
            .fold(0, u64::wrapping_add)
    }
}

/// Bytes of the one message that a reader gets.
pub const GREETING_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"OUTRSTA1";

/// The message: `OUTRSTA1`, then how often the page had been written when the reader came (u64, little-endian).
pub(crate) fn greeting(updates: u64) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    for (to, from) in bytes
        .iter_mut()
        .zip(MAGIC.into_iter().chain(updates.to_le_bytes()))
    {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_places_are_taken_once() {
        let names: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
        let places: BTreeSet<_> = FIELDS.iter().map(|it| (it.line, it.column)).collect();
        assert_eq!((names.len(), places.len()), (FIELDS.len(), FIELDS.len()));
    }

    #[test]
    fn golden_greeting() {
        assert_eq!(greeting(0x0102), *b"OUTRSTA1\x02\x01\0\0\0\0\0\0");
    }
}
