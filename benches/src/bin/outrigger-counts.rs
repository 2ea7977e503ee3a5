//! Compares what gungraun counted with what is recorded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use outrigger_benches::counts::{Counts, RECORD, verdict};
use outrigger_benches::say;

/// Compares the instructions that gungraun counted with those that are recorded. Exit code 1: a piece of work takes over a
/// percent more, is new, or is gone, by the same compiler and C library.
#[derive(Debug, Parser)]
#[command(name = "outrigger-counts")]
struct Options {
    /// What gungraun counted: its JSON lines.
    found: PathBuf,

    /// Make what was counted the record.
    #[arg(long)]
    accept: bool,
}

fn main() -> ExitCode {
    say::exit("outrigger-counts", run(&Options::parse()), |_| 2)
}

/// Whether everything is as recorded, or is so now.
fn run(options: &Options) -> Result<bool> {
    let found = Counts::found(&options.found)?;
    let recorded = Counts::recorded(Path::new(RECORD))?;
    let (text, fine) = verdict(&found, &recorded);
    say!("{text}");
    if options.accept {
        found.record(Path::new(RECORD))?;
        say!("{RECORD}: written");
    }
    Ok(options.accept || fine)
}
