//! What idle devices cost, beside QEMU's storage daemon.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::density::{self, Options};

fn main() -> ExitCode {
    match density::run(&Options::parse()) {
        // An aim that is missed is printed, and gates nothing.
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger-density: {error:#}");
            ExitCode::FAILURE
        }
    }
}
