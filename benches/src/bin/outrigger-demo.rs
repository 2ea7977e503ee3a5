//! The main job on real input: a guest's disk on an LSI controller in another process.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::demo::{self, Options};
use outrigger_benches::image::ImageError;
use outrigger_benches::report::ReportsError;
use outrigger_benches::say;

fn main() -> ExitCode {
    say::exit("outrigger-demo", demo::run(&Options::parse()), |error| {
        let users = error.is::<ImageError>() || error.is::<ReportsError>();
        if users { 2 } else { 1 }
    })
}
