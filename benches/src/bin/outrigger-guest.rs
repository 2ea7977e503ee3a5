//! Real guests: Linux on an unmodified QEMU runs fio on a disk behind the emulator, and on QEMU's own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::guest::{self, Options};
use outrigger_tests::guest::Refusal;

/// Boots Linux on an unmodified QEMU and runs fio in it: on a disk whose controller is a sandboxed process behind
/// vfio-user-pci, and on QEMU's own lsi53c895a, in turn. Fetches QEMU, kernel and tools into target/guest first.
///
/// Prints IOPS, latency, interrupts, system calls and context switches of both, and whether the aims are met; writes
/// guest.json and guest.svg. Takes five minutes; figures mean something on an idle machine only.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger-guest",
    after_help = "Environment:\n  QEMU    a qemu-system-x86_64 (10.1 or later) to use instead\n  KERNEL  a kernel image (bzImage) to use instead; its modules are looked for in lib/modules\n          beside its directory, and in /lib/modules\n\nExamples:\n  outrigger-guest\n  outrigger-guest --rounds 1 --seconds 1          a quick look\n  outrigger-guest --disk image.raw                reads only: the image is never written\n  QEMU=/usr/bin/qemu-system-x86_64 outrigger-guest --rounds 5\n  taskset -c 1 outrigger-guest                    all on one CPU: wake-ups are cheaper there\n  outrigger-guest --json | jq '.measures[] | select(.name == \"fio_iops_ratio\")'\n\nExit status: 0 all went well (an aim may be missed), 1 something failed, 2 a value will not do."
)]
struct Arguments {
    /// Read this raw disk image or block device instead of an image made for the occasion. It is opened
    /// read-only, and the jobs that write are left out.
    #[arg(long, value_name = "PATH")]
    disk: Option<PathBuf>,

    /// How many times each of the two is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How long each job runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,

    /// Where guest.json and guest.svg go.
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
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        reports: arguments.reports,
        json: arguments.json,
    };
    match guest::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outrigger-guest: {error:#}");
            ExitCode::from(if error.is::<Refusal>() { 2 } else { 1 })
        }
    }
}
