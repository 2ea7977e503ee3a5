//! The main job on real input: a guest's disk on an LSI controller in another process.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::demo::{self, Options};
use outrigger_benches::image::ImageError;
use outrigger_benches::report::ReportsError;

fn main() -> ExitCode {
    match demo::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outrigger-demo: {error:#}");
            let users = error.is::<ImageError>() || error.is::<ReportsError>();
            ExitCode::from(if users { 2 } else { 1 })
        }
    }
}
