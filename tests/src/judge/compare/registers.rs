//! The same accesses of a driver, and all registers after each.

use std::fmt::Write as _;
use std::io;

use outrigger_emulator::lsi::Model;

use super::{Both, Comparison, Pair};
use crate::judge::chip::{Action, Snapshot};
use crate::judge::program::Program;
use crate::judge::tally::{Outcome, Tally};

/// Compares what becomes of the registers.
///
/// # Errors
/// QEMU has ended.
pub fn compare_registers(
    pair: &mut Pair<'_>,
    model: Model,
    actions: &[Action],
    tally: &mut Tally,
) -> io::Result<Outcome> {
    let program = Program::empty(model);
    let mut comparison = Comparison::new(pair, &program, tally);
    let mut before = comparison.prepare(0)?;
    if let Some(outcome) = comparison.judge(None, None, &before.clone(), &before)? {
        return Ok(outcome);
    }
    for (done, &action) in (1..).zip(actions) {
        let after = Both {
            ours: Snapshot::take(comparison.pair.ours, &[action])?,
            theirs: Snapshot::take(comparison.pair.theirs, &[action])?,
        };
        match comparison.judge(None, Some(action), &before, &after)? {
            Some(Outcome::Different(mut difference)) => {
                for action in &actions[..done] {
                    // Writing to a string cannot fail.
                    let _ = write!(difference.what, "\n  after {action:x?}");
                }
                return Ok(Outcome::Different(difference));
            }
            Some(outcome) => return Ok(outcome),
            None => comparison.tally.steps += 1,
        }
        before = after;
    }
    Ok(Outcome::Same)
}
