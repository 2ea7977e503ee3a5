//! Real guests: Linux on an unmodified QEMU runs fio on a disk behind the emulator, and on QEMU's own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use outrigger_benches::guest::{self, Options};

/// Boots Linux on an unmodified QEMU and runs fio in it: on a disk whose controller is a sandboxed process behind
/// vfio-user-pci, and on QEMU's own lsi53c895a, in turn. Fetches QEMU, kernel and tools into target/guest first.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger-guest",
    after_help = "Environment:\n  QEMU    a qemu-system-x86_64 (10.1 or later) to use instead\n  KERNEL  a kernel image to use instead; its modules are looked for beside it and in /lib/modules\n\nExamples:\n  outrigger-guest\n  outrigger-guest --disk image.raw\n  QEMU=/usr/bin/qemu-system-x86_64 outrigger-guest --rounds 5"
)]
struct Arguments {
    /// Read this raw disk image (opened read-only, no job writes) instead of one made for the occasion.
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(disk) = &arguments.disk
        && let Err(error) = std::fs::File::open(disk)
    {
        eprintln!(
            "--disk {}: {error}: give a raw disk image that you may read",
            disk.display()
        );
        return ExitCode::from(2);
    }
    let options = Options {
        disk: arguments.disk,
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        reports: arguments.reports,
    };
    match guest::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outrigger-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
