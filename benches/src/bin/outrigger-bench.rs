//! Every measurement that has an aim, beside its peers, in one run.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::bench::{self, Options};
use outrigger_benches::report::ReportsError;
use outrigger_benches::say;

fn main() -> ExitCode {
    let outcome = bench::run(&Options::parse());
    say::exit("outrigger-bench", outcome.map(|()| true), |error| {
        if error.is::<ReportsError>() { 2 } else { 1 }
    })
}
