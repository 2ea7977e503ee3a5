//! The device's own work: times, and instruction counts, which do not depend on the machine's mood.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::clock::time;
use super::cpus::Cpus;
use crate::chip::{Chip, INSTRUCTIONS};

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// 1024 SCRIPTS instructions.
    Scripts,
    /// TEST UNIT READY: selection, message, command parse, status.
    TestUnitReady,
    /// READ (10) of 4 KiB from memory into guest RAM.
    Read,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Scripts, Self::TestUnitReady, Self::Read];

    /// As `outrigger-count` knows it.
    const fn argument(self) -> &'static str {
        match self {
            Self::Scripts => "scripts",
            Self::TestUnitReady => "test-unit-ready",
            Self::Read => "read",
        }
    }

    /// What one of it is, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scripts => "SCRIPTS instruction",
            Self::TestUnitReady => "TEST UNIT READY",
            Self::Read => "READ (10), 4 KiB",
        }
    }

    /// So many are done in one go.
    const fn pieces(self) -> u32 {
        match self {
            Self::Scripts => INSTRUCTIONS,
            Self::TestUnitReady | Self::Read => 1,
        }
    }
}

/// What one piece costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) work: Work,
    pub(crate) nanoseconds: f64,
    /// Host instructions; `None` where valgrind is not installed.
    pub(crate) instructions: Option<f64>,
}

const BUDGET: Duration = Duration::from_millis(300);

/// Measures each piece of work.
pub(crate) fn measure(cpus: Cpus, mut say: impl FnMut(&str)) -> Result<Vec<Found>> {
    let valgrind = works();
    Work::ALL
        .into_iter()
        .map(|work| {
            say(&format!("device, {}", work.name()));
            let timed = cpus.alone(|| {
                let mut chip = Chip::new()?;
                match work {
                    Work::Scripts => chip.prepare_scripts()?,
                    Work::TestUnitReady => chip.prepare_test_unit_ready()?,
                    Work::Read => chip.prepare_read()?,
                }
                time(BUDGET, || match work {
                    Work::Scripts => chip.scripts(),
                    Work::TestUnitReady | Work::Read => chip.command(),
                })
            })?;
            let instructions = if valgrind {
                Some(instructions(work)? / f64::from(work.pieces()))
            } else {
                None
            };
            Ok(Found {
                work,
                nanoseconds: timed.nanoseconds / f64::from(work.pieces()),
                instructions,
            })
        })
        .collect()
}

fn works() -> bool {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Instructions of one go: the difference of two runs, so that the start does not count.
fn instructions(work: Work) -> Result<f64> {
    const FEW: u32 = 20;
    const MANY: u32 = 120;
    let directory = tempfile::tempdir()?;
    let few = total(work, FEW, directory.path())?;
    let many = total(work, MANY, directory.path())?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
    Ok(many.saturating_sub(few) as f64 / f64::from(MANY - FEW))
}

fn total(work: Work, times: u32, directory: &Path) -> Result<u64> {
    let program = std::env::current_exe()?.with_file_name("outrigger-count");
    let file = directory.join(format!("{times}.callgrind"));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&program)
        .args([work.argument(), &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("cannot run valgrind")?;
    if !output.status.success() {
        bail!(
            "valgrind {}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    callgrind_total(&std::fs::read_to_string(file)?).context("no total in callgrind's file")
}

/// The line `totals:` (or `summary:`) of a callgrind profile.
fn callgrind_total(profile: &str) -> Option<u64> {
    profile.lines().rev().find_map(|line| {
        let rest = line
            .strip_prefix("totals:")
            .or_else(|| line.strip_prefix("summary:"))?;
        rest.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_parsed() {
        assert_eq!(
            callgrind_total("events: Ir\nfn=(1)\n1 2\ntotals: 4711\n"),
            Some(4711)
        );
        assert_eq!(callgrind_total("events: Ir\n"), None);
    }
}
