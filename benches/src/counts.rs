//! Host instructions: what gungraun counted, beside what is recorded in `benches/counts.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The record, in the source tree.
pub const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json");

/// Counts, and what compiled the code that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// As `rustc --version` says it.
    pub rustc: String,
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
        let output = Command::new("rustc").arg("--version").output();
        let rustc = output.map_or_else(
            |_| "unknown".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        );
        Ok(Self {
            rustc,
            instructions,
        })
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

    /// Whether it is as recorded, within a percent.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.moved().is_some_and(|percent| percent.abs() <= 1.0)
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
#[must_use]
pub fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(["work", "host instructions", "recorded", "moved by %"]);
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
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
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
    fn what_moved_shows() {
        let now = counts(&[("less", 980), ("new", 1), ("same", 1009)]);
        let recorded = counts(&[("gone", 1), ("less", 1000), ("same", 1000)]);
        let rows = compare(&now, &recorded);
        let stand: Vec<_> = rows.iter().map(|row| (row.name, row.stands())).collect();
        let expected = [
            ("gone", false),
            ("less", false),
            ("new", false),
            ("same", true),
        ];
        assert_eq!(stand, expected);
        assert!((rows[1].moved().unwrap() + 2.0).abs() < 1e-9);
    }
}
