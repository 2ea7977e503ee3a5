//! The main job on real input: a guest's disk on an LSI controller in another process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::demo::{self, Options};
use outrigger_benches::image::ImageError;

/// A guest reads and writes a disk whose controller is emulated in a sandboxed process of its own: over the
/// shared-memory ring, over the vfio-user socket and, to compare, in the VMM's own process.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger-demo",
    after_help = "Examples:\n  outrigger-demo\n  outrigger-demo --disk image.raw\n  outrigger-demo --json > demo.json"
)]
struct Arguments {
    /// Read this raw disk image (opened read-only) instead of one made for the occasion.
    #[arg(long, value_name = "PATH")]
    disk: Option<PathBuf>,

    /// Where demo.json and demo.svg go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/reports")]
    reports: PathBuf,

    /// Print the report as JSON and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        disk: arguments.disk,
        reports: arguments.reports,
        json: arguments.json,
    };
    match demo::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outrigger-demo: {error:#}");
            ExitCode::from(if error.is::<ImageError>() { 2 } else { 1 })
        }
    }
}
