//! Real guests: Linux on an unmodified QEMU runs fio on a disk behind the emulator, and on QEMU's own.

use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::guest::{self, Options};
use outrigger_benches::report::ReportsError;
use outrigger_benches::say;
use outrigger_tests::guest::Refusal;

fn main() -> ExitCode {
    say::exit("outrigger-guest", guest::run(&Options::parse()), |error| {
        let users = error.is::<Refusal>() || error.is::<ReportsError>();
        if users { 2 } else { 1 }
    })
}
