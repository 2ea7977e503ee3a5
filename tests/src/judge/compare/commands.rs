//! The same commands for the disks behind both chips.

use std::io;

use super::Pair;
use crate::judge::commands::{Answer, Command, begin, exchange};
use crate::judge::known::{COMMANDS, Exchange};
use crate::judge::tally::{Difference, Outcome, Tally, differences};
use crate::judge::units::DRIVE;

/// Compares what becomes of these commands, and what is on the disks afterwards.
///
/// # Errors
/// QEMU has ended.
pub fn compare_commands(
    pair: &mut Pair<'_>,
    commands: &[Command],
    tally: &mut Tally,
) -> io::Result<Outcome> {
    let mut targets = vec![0, 2];
    if commands.iter().any(|command| command.target == DRIVE) {
        targets = vec![DRIVE];
    }
    begin(pair.ours, &targets)?;
    begin(pair.theirs, &targets)?;
    let check: Vec<_> = targets.into_iter().map(Command::read_all).collect();
    for command in commands.iter().chain(&check) {
        if let Some(mut outcome) = one(pair, command, tally)? {
            if let Outcome::Different(difference) = &mut outcome
                && check.contains(command)
            {
                let all = format!("{commands:02x?}");
                difference
                    .what
                    .push_str(&all.replace("target", "\n  target"));
            }
            return Ok(outcome);
        }
    }
    Ok(Outcome::Same)
}

/// One command, and the sense data if it failed.
fn one(pair: &mut Pair<'_>, command: &Command, tally: &mut Tally) -> io::Result<Option<Outcome>> {
    let ours = exchange(pair.ours, command)?;
    let theirs = exchange(pair.theirs, command)?;
    if let Some(outcome) = judge(command, &ours, &theirs, tally) {
        return Ok(Some(outcome));
    }
    tally.steps += 1;
    if ours.end != "done" {
        // Both alike, but not to go on with.
        return Ok(Some(Outcome::Same));
    }
    let mut sense = Command::request_sense(command.target);
    // A rule may want to know of which command.
    sense.out.clone_from(&command.cdb);
    sense.altered = command.altered;
    match (ours.status, theirs.status) {
        (2, 2) => {
            let ours = exchange(pair.ours, &sense)?;
            let theirs = exchange(pair.theirs, &sense)?;
            return Ok(judge(&sense, &ours, &theirs, tally));
        }
        (2, _) => exchange(pair.ours, &sense).map(drop)?,
        (_, 2) => exchange(pair.theirs, &sense).map(drop)?,
        _ => {}
    }
    Ok(None)
}

fn judge(command: &Command, ours: &Answer, theirs: &Answer, tally: &mut Tally) -> Option<Outcome> {
    if ours == theirs {
        return None;
    }
    let exchange = Exchange {
        command,
        ours,
        theirs,
    };
    if let Some(rule) = COMMANDS.iter().find(|rule| (rule.when)(&exchange)) {
        tally.count(rule.name);
        return rule.ends.then_some(Outcome::Known(rule.name));
    }
    let mut values = vec![(
        format!("{:02x}", command.cdb[0]),
        format!("{ours:02x?}"),
        format!("\n             {theirs:02x?}"),
    )];
    differences(0, &ours.buffer, &theirs.buffer, &mut values);
    Some(Outcome::Different(Difference {
        what: format!("{command:02x?}"),
        values,
    }))
}
