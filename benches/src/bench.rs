//! The measurements: what each figure is compared with, in one run, and whether its aim is met.
//!
//! Everything is measured once per round, in turn, so that the machine's moods hit all; ratios are taken within a
//! round, and their median is what counts. No outcome is an error: figures inform, they do not gate.

mod both_ends;
mod clock;
mod cpus;
mod device;
mod disk;
mod line;
mod path;
mod present;
mod series;
pub(crate) mod system_calls;
mod transport;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::counts::{Counts, RECORD, compare};
use crate::plot;
use crate::report::{Report, prepare};
use crate::table::fitted;
pub use both_ends::BothEnds;
pub(crate) use clock::median;
use cpus::Cpus;
pub use series::{Bound, Series};

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Messages between two ends.
    Transport,
    /// The device's own work.
    Device,
    /// A guest's accesses under KVM.
    Path,
    /// A guest's disk.
    Disk,
}

/// Measures the transport, the device, a guest's accesses and its disk, beside their peers; prints tables with aims and
/// verdicts and writes bench.json. Figures mean something on an idle machine only.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "outrigger-bench",
    after_help = "Examples:\n  outrigger-bench\n  outrigger-bench --part transport --rounds 9"
)]
pub struct Options {
    /// Only this part; may be given several times.
    #[arg(long, value_enum)]
    pub part: Vec<Part>,

    /// How often everything is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub rounds: u8,

    /// Where bench.json and the plots go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/reports")]
    pub reports: PathBuf,

    /// What gungraun counted, its JSON lines: reported beside the record.
    #[arg(long, value_name = "FILE")]
    pub counts: Option<PathBuf>,
}

/// Measures, prints and writes the report.
///
/// # Errors
/// Something could not be set up or broke; an aim that is missed is no error.
pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    prepare(&options.reports)?;
    let cpus = Cpus::allowed()?;
    // Before threads are bound: a bound thread cannot measure it.
    let wake = outrigger_ring::wake_cost();
    let mut report = Report::new();
    head(cpus, &report);
    say!("a wake costs {wake:?}; {} rounds, medians", options.rounds);

    let rounds = usize::from(options.rounds);
    let wanted = |part| options.part.is_empty() || options.part.contains(&part);
    let mut lines = Vec::new();
    let mut verdicts = Vec::new();
    let mut tables = Vec::new();
    if cpus.are_two() {
        for _ in 0..10 {
            lines.push(line::round_trip(cpus)?);
        }
        say!("{}", present::line(&lines, &mut Report::new()));
    }
    let say = |text: &str| say!("measuring: {text} ({} s)", begin.elapsed().as_secs());
    if wanted(Part::Transport) {
        let found = transport::measure(cpus, rounds, &mut lines, say)?;
        tables.extend(present::transport(&found, &mut report));
        verdicts.extend(verdict::of_transport(&found));
    }
    if wanted(Part::Device) {
        let found = device::measure(cpus, say)?;
        tables.extend(present::device(&found, &mut report));
    }
    match options.counts.as_deref().map(Counts::found).transpose() {
        Ok(Some(found)) => {
            let recorded = Counts::recorded(Path::new(RECORD))?;
            let rows = compare(&found, &recorded);
            tables.push(present::counts(&rows, &mut report));
        }
        Ok(None) => {}
        Err(error) => say!("no counts: {error:#}"),
    }
    if wanted(Part::Path) {
        let found = path::measure(cpus, rounds, say)?;
        if let Some(found) = &found {
            tables.extend(present::path(found, &mut report));
        }
        verdicts.extend(verdict::of_path(found.as_deref()));
    }
    if wanted(Part::Disk) {
        let found = disk::measure(rounds, say)?;
        tables.extend(present::disk(&found, &mut report));
        for missing in &found.missing {
            say!("not measured: {missing}");
        }
        verdicts.extend(verdict::of_disk(&found));
        let path = options.reports.join("bench-iops.svg");
        plot::iops_by_depth(
            &path,
            "4 KiB random reads, disk in memory",
            &present::iops_lines(&found),
        )?;
    }

    say!();
    head(cpus, &report);
    say!("{}\n", present::line(&lines, &mut report));
    for table in tables {
        say!("{}\n", fitted(&table));
    }
    say!("{}", present::verdicts(&verdicts, &mut report));
    let path = options.reports.join("bench.json");
    report.write(&path)?;
    say!("{} ({} s)", path.display(), begin.elapsed().as_secs());
    Ok(())
}

/// The machine and the pinning.
fn head(cpus: Cpus, report: &Report) {
    let host = &report.host;
    say!(
        "machine: {}, {} CPUs, Linux {}, {}",
        host.cpu,
        host.cpus,
        host.kernel,
        if host.kvm { "KVM" } else { "no KVM" }
    );
    say!(
        "pinning: clients and the first vCPU on CPU {}, servers and the emulator on CPU {}; \"same CPU\": both on CPU {}",
        cpus.client,
        cpus.server,
        cpus.client
    );
}
