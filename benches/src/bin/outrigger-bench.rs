//! Every measurement that has an aim, beside its peers, in one run.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::bench::{self, Options};
use outrigger_benches::report::ReportsError;

fn main() -> ExitCode {
    match bench::run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger-bench: {error:#}");
            ExitCode::from(if error.is::<ReportsError>() { 2 } else { 1 })
        }
    }
}
