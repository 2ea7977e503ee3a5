//! The measurements: what each figure is compared with, in one run, and whether its aim is met.
//!
//! Everything is measured once per round, in turn, so that the machine's moods hit all; ratios are taken within a
//! round, and their median is what counts. No outcome is an error: figures inform, they do not gate.

mod clock;
mod cpus;
mod device;
mod disk;
mod line;
mod path;
mod present;
mod series;
mod system_calls;
mod transport;
mod verdict;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::plot;
use crate::report::Report;
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

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which parts; none: all.
    pub parts: Vec<Part>,
    /// Rounds: at least 1.
    pub rounds: usize,
    /// Where the report and the plots go.
    pub reports: PathBuf,
}

/// Measures, prints and writes the report.
///
/// # Errors
/// Something could not be set up or broke; an aim that is missed is no error.
pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    let cpus = Cpus::allowed()?;
    // Before threads are bound: a bound thread cannot measure it.
    let wake = outrigger_ring::wake_cost();
    let mut report = Report::new();
    head(cpus, &report);
    println!("a wake costs {wake:?}; {} rounds, medians", options.rounds);

    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut lines = Vec::new();
    let mut verdicts = Vec::new();
    let mut tables = Vec::new();
    if cpus.are_two() {
        for _ in 0..10 {
            lines.push(line::round_trip(cpus)?);
        }
        println!("{}", present::line(&lines, &mut Report::new()));
    }
    let say = |text: &str| println!("measuring: {text} ({} s)", begin.elapsed().as_secs());
    if wanted(Part::Transport) {
        let found = transport::measure(cpus, options.rounds, &mut lines, say)?;
        tables.extend(present::transport(&found, &mut report));
        verdicts.extend(verdict::of_transport(&found));
    }
    if wanted(Part::Device) {
        let found = device::measure(cpus, say)?;
        tables.extend(present::device(&found, &mut report));
    }
    if wanted(Part::Path) {
        let found = path::measure(cpus, options.rounds, say)?;
        if let Some(found) = &found {
            tables.extend(present::path(found, &mut report));
        }
        verdicts.extend(verdict::of_path(found.as_deref()));
    }
    if wanted(Part::Disk) {
        let found = disk::measure(options.rounds, say)?;
        tables.extend(present::disk(&found, &mut report));
        for missing in &found.missing {
            println!("not measured: {missing}");
        }
        verdicts.extend(verdict::of_disk(&found));
        let path = options.reports.join("bench-iops.svg");
        plot::iops_by_depth(&path, &present::iops_lines(&found))?;
    }

    println!();
    head(cpus, &report);
    println!("{}\n", present::line(&lines, &mut report));
    for table in tables {
        println!("{table}\n");
    }
    println!("{}", present::verdicts(&verdicts, &mut report));
    let path = options.reports.join("bench.json");
    report.write(&path)?;
    println!("{} ({} s)", path.display(), begin.elapsed().as_secs());
    Ok(())
}

/// The machine and the pinning.
fn head(cpus: Cpus, report: &Report) {
    let host = &report.host;
    println!(
        "machine: {}, {} CPUs, Linux {}, {}",
        host.cpu,
        host.cpus,
        host.kernel,
        if host.kvm { "KVM" } else { "no KVM" }
    );
    println!(
        "pinning: clients and the first vCPU on CPU {}, servers and the emulator on CPU {}; \"same CPU\": both on CPU {}",
        cpus.client, cpus.server, cpus.client
    );
}
