//! What comparisons came to.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::known;

/// A difference that no rule explains.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What was done.
    pub what: String,
    /// What differs: name, ours, QEMU's.
    pub values: Vec<(String, String, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (name, ours, theirs) in &self.values {
            writeln!(f, "  {name:<10} ours {ours}, QEMU's {theirs}")?;
        }
        Ok(())
    }
}

/// How a program went.
#[derive(Debug)]
pub enum Outcome {
    /// The same to its end.
    Same,
    /// The same up to something that is known.
    Known(&'static str),
    /// Not the same.
    Different(Difference),
}

/// What has been compared so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Programs.
    pub programs: u64,
    /// Single steps in them, whose results were alike.
    pub steps: u64,
    /// Programs that were alike to their end.
    pub same: u64,
    /// Programs that differed as no rule says.
    pub new: u64,
    /// Ends of QEMU, by its last line.
    pub ends: BTreeMap<String, u64>,
    /// Uses of each rule.
    pub rules: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// QEMU has ended.
    pub(super) fn end(&mut self, error: &io::Error, words: Option<String>) {
        let words = words.unwrap_or_default();
        let last = words.lines().last().map(str::to_owned);
        let last = last.unwrap_or_else(|| error.to_string());
        *self.ends.entry(last).or_default() += 1;
    }

    pub(super) fn count(&mut self, rule: &'static str) {
        *self.rules.entry(rule).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            programs,
            steps,
            same,
            new,
            ends,
            rules,
        } = self;
        writeln!(
            f,
            "{programs} programs, {same} alike to their end, {new} new; {steps} instructions alike"
        )?;
        for (rule, count) in rules {
            let (right, section) = known::about(rule);
            writeln!(f, "| {rule} | {right} | {section} | {count} |")?;
        }
        for (words, count) in ends {
            writeln!(f, "{count:>9}  QEMU ended: {words}")?;
        }
        Ok(())
    }
}

/// Notes the first bytes that differ.
pub(super) fn differences(
    from: u32,
    ours: &[u8],
    theirs: &[u8],
    values: &mut Vec<(String, String, String)>,
) {
    if ours == theirs {
        return;
    }
    let differing = (from..).zip(ours.iter().zip(theirs));
    let differing = differing.filter(|(_, (ours, theirs))| ours != theirs);
    values.extend(differing.take(8).map(|(address, (ours, theirs))| {
        (
            format!("{address:08x}"),
            format!("{ours:#04x}"),
            format!("{theirs:#04x}"),
        )
    }));
}
