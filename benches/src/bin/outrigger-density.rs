//! What idle devices cost, beside QEMU's storage daemon.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::density::{self, Options};
use outrigger_benches::say;

fn main() -> ExitCode {
    // An aim that is missed is printed, and gates nothing.
    let measured = density::run(&Options::parse()).map(|_| true);
    say::exit("outrigger-density", measured, |_| 1)
}
