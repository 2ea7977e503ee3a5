//! Every measurement that has an aim, beside its peers, in one run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::bench::{self, Options, Part};

/// Measures the transport, the device, a guest's accesses and its disk, beside their peers; prints tables with aims and
/// verdicts and writes bench.json. Figures mean something on an idle machine only.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger-bench",
    after_help = "Examples:\n  outrigger-bench\n  outrigger-bench --part transport --rounds 9"
)]
struct Arguments {
    /// Only this part; may be given several times.
    #[arg(long, value_enum)]
    part: Vec<Part>,

    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,

    /// Where bench.json and the plots go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/reports")]
    reports: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        parts: arguments.part,
        rounds: arguments.rounds.into(),
        reports: arguments.reports,
    };
    match bench::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
