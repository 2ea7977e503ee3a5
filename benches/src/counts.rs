//! Host instructions: what gungraun counted, beside what is recorded in `benches/counts.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use comfy_table::Table;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::table::{fitted, table};

/// The record, in the source tree.
pub const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json");

/// Counts, and what compiled the code that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// As `rustc --version` says it.
    pub rustc: String,
    /// As `ldd --version` says it: the C library copies and allocates.
    #[serde(default)]
    pub libc: String,
    /// Instructions of each piece of work.
    pub instructions: BTreeMap<String, u64>,
}

impl Counts {
    /// What gungraun counted: a file of its JSON lines (`--output-format=json`). The compiler is taken to be the one in use.
    ///
    /// # Errors
    /// The file cannot be read, is not gungraun's, or is empty, as gungraun leaves it when it could not count.
    pub fn found(path: &Path) -> Result<Self> {
        let context = || path.display().to_string();
        let instructions =
            parse(&fs::read_to_string(path).with_context(context)?).with_context(context)?;
        if instructions.is_empty() {
            bail!("{}: nothing was counted", path.display());
        }
        Ok(Self {
            rustc: version("rustc"),
            libc: version("ldd"),
            instructions,
        })
    }

    /// Whether the same tools made both.
    fn same_tools(&self, other: &Self) -> bool {
        (&self.rustc, &self.libc) == (&other.rustc, &other.libc)
    }

    /// What was written by [`Counts::record`].
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub fn recorded(path: &Path) -> Result<Self> {
        let context = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(context)?;
        serde_json::from_str(&text).with_context(context)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }
}

/// The first line of what it says.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    said.lines().next().unwrap_or("unknown").to_owned()
}

/// One line per piece of work.
fn parse(lines: &str) -> Result<BTreeMap<String, u64>> {
    let one = |line| {
        let summary: Value = serde_json::from_str(line)?;
        let count = summary
            .pointer("/profiles/0/data/total/metrics/Ir/values/new")
            .and_then(Value::as_u64);
        let name = ["function_name", "id"]
            .map(|key| summary.get(key).and_then(Value::as_str))
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        Ok((
            name,
            count.context("no instructions in a line of gungraun's")?,
        ))
    };
    lines.lines().map(one).collect()
}

/// One piece of work, now and in the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// Its name.
    pub name: &'a str,
    /// Instructions now; `None` if it is not counted any more.
    pub now: Option<u64>,
    /// Instructions in the record; `None` if it is new.
    pub recorded: Option<u64>,
}

/// A piece of work beside its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As recorded, within [`BOUND`].
    AsRecorded,
    /// It takes fewer instructions.
    Less,
    /// It takes more.
    More,
    /// It is not in the record.
    New,
    /// It is in the record only.
    Gone,
}

/// Percent that a count may move.
pub const BOUND: f64 = 1.0;

impl Row<'_> {
    /// By how much it moved, in percent.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "far fewer than 2^52 instructions"
    )]
    pub fn moved(&self) -> Option<f64> {
        Some(100.0 * (self.now? as f64 / self.recorded? as f64 - 1.0))
    }

    /// How it compares.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.moved(), self.now) {
            (Some(moved), _) if moved > BOUND => Standing::More,
            (Some(moved), _) if moved < -BOUND => Standing::Less,
            (Some(_), _) => Standing::AsRecorded,
            (None, Some(_)) => Standing::New,
            (None, None) => Standing::Gone,
        }
    }

    /// What there is to say about it, and what to do; nothing if it is as recorded.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let Self {
            name,
            now,
            recorded,
        } = self;
        let [now, recorded] = [now, recorded].map(|count| count.unwrap_or(0));
        let percent = self.moved().unwrap_or(0.0).abs();
        match self.standing() {
            Standing::AsRecorded => None,
            Standing::More => Some(format!(
                "{name} takes {percent:.2} % more instructions than recorded, {now} instead of {recorded}: find out why, \
                 or record it with `make counts RECORD=1`"
            )),
            Standing::Less => Some(format!(
                "{name} takes {percent:.2} % fewer instructions than recorded, {now} instead of {recorded}: \
                 `make counts RECORD=1` records that"
            )),
            Standing::New => Some(format!(
                "{name} is not in the record ({now} instructions): `make counts RECORD=1` records it"
            )),
            Standing::Gone => Some(format!(
                "{name} is in the record ({recorded} instructions) and was not counted: `make counts RECORD=1` drops it"
            )),
        }
    }
}

/// Everything that is in either of them.
#[must_use]
pub fn compare<'a>(now: &'a Counts, recorded: &'a Counts) -> Vec<Row<'a>> {
    let names: BTreeSet<&String> = now
        .instructions
        .keys()
        .chain(recorded.instructions.keys())
        .collect();
    let row = |name: &'a String| Row {
        name,
        now: now.instructions.get(name).copied(),
        recorded: recorded.instructions.get(name).copied(),
    };
    names.into_iter().map(row).collect()
}

/// The comparison, for people.
pub(crate) fn compared(rows: &[Row<'_>]) -> Table {
    let head = ["work", "host\ninstructions", "recorded", "moved\nby %"];
    let mut table = table(&head, 1);
    let count =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    for row in rows {
        let moved = row
            .moved()
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.2}"));
        table.add_row([
            row.name.to_owned(),
            count(row.now),
            count(row.recorded),
            moved,
        ]);
    }
    table
}

/// The table and a sentence for each row that is not as recorded; whether that is all right. Fewer instructions are. What
/// another compiler or C library made is not judged.
#[must_use]
pub fn verdict(found: &Counts, recorded: &Counts) -> (String, bool) {
    let rows = compare(found, recorded);
    let mut text = fitted(&compared(&rows));
    let sentences: Vec<String> = rows.iter().filter_map(Row::sentence).collect();
    for sentence in &sentences {
        text = format!("{text}\n{sentence}");
    }
    if !found.same_tools(recorded) {
        text = format!(
            "{text}\nrecorded with {}, {}; counted with {}, {}: not judged",
            recorded.rustc, recorded.libc, found.rustc, found.libc
        );
        return (text, true);
    }
    if sentences.is_empty() {
        text = format!(
            "{text}\nall {} are as recorded, within {BOUND} %",
            rows.len()
        );
    }
    let fine = |row: &Row<'_>| matches!(row.standing(), Standing::AsRecorded | Standing::Less);
    (text, rows.iter().all(fine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gungraun_says_is_parsed() {
        let line = |head: &str, count: u32| {
            format!(
                r#"{{{head},"profiles":[{{"data":{{"parts":[],"total":{{"metrics":{{"Ir":{{"values":{{"new":{count},"old":1}}}}}}}}}}}}]}}"#
            )
        };
        let lines = [
            line(r#""function_name":"scripts""#, 7),
            line(r#""function_name":"parse","id":"read_10""#, 8),
        ];
        let found = parse(&lines.join("\n")).unwrap();
        let expected = [("parse read_10", 8), ("scripts", 7)];
        assert_eq!(
            found,
            expected
                .map(|(name, count)| (name.to_owned(), count))
                .into()
        );
        assert!(parse("{}").is_err());
        assert!(parse("").unwrap().is_empty());
    }

    fn counts(all: &[(&str, u64)]) -> Counts {
        let own = |&(name, count): &(&str, u64)| (name.to_owned(), count);
        Counts {
            rustc: "rustc 1".to_owned(),
            libc: "libc 1".to_owned(),
            instructions: all.iter().map(own).collect(),
        }
    }

    #[test]
    fn a_record_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counts.json");
        let counts = counts(&[("scripts", 7)]);
        counts.record(&path).unwrap();
        assert_eq!(Counts::recorded(&path).unwrap(), counts);
    }

    #[test]
    fn what_moved_is_named_in_a_sentence() {
        let now = counts(&[("less", 980), ("more", 1011), ("new", 1), ("same", 1009)]);
        let recorded = counts(&[("gone", 1), ("less", 1000), ("more", 1000), ("same", 1000)]);
        let rows = compare(&now, &recorded);
        let standing: Vec<_> = rows.iter().map(|row| (row.name, row.standing())).collect();
        let expected = [
            ("gone", Standing::Gone),
            ("less", Standing::Less),
            ("more", Standing::More),
            ("new", Standing::New),
            ("same", Standing::AsRecorded),
        ];
        assert_eq!(standing, expected);
        assert!((rows[1].moved().unwrap() + 2.0).abs() < 1e-9);
        let (text, fine) = verdict(&now, &recorded);
        assert!(!fine);
        for part in [
            "\nless takes 2.00 % fewer instructions than recorded, 980 instead of 1000: ",
            "\nmore takes 1.10 % more instructions than recorded, 1011 instead of 1000: ",
            "\nnew is not in the record (1 instructions): ",
            "\ngone is in the record (1 instructions) and was not counted: ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.matches("make counts RECORD=1").count(), 4);
    }

    #[test]
    fn fewer_instructions_are_fine_and_other_tools_are_not_judged() {
        let recorded = counts(&[("scripts", 1000)]);
        let (text, fine) = verdict(&counts(&[("scripts", 900)]), &recorded);
        assert!(fine && text.contains("fewer"), "{text}");
        let (text, fine) = verdict(&recorded, &recorded);
        assert!(fine && text.contains("all 1 are as recorded"), "{text}");
        let mut other = counts(&[("scripts", 2000)]);
        other.libc = "libc 2".to_owned();
        let (text, fine) = verdict(&other, &recorded);
        assert!(fine && text.ends_with("counted with rustc 1, libc 2: not judged"));
    }
}
