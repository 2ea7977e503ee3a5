//! The main job on real input: a guest's disk on an LSI controller in another process.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::demo::{self, Options};
use outrigger_benches::image::ImageError;

fn main() -> ExitCode {
    match demo::run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outrigger-demo: {error:#}");
            ExitCode::from(if error.is::<ImageError>() { 2 } else { 1 })
        }
    }
}
