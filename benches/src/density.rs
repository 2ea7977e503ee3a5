//! What an idle device costs: memory, start-up, threads, descriptors, wake-ups; beside QEMU's storage daemon.

mod process;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};

use crate::report::{Measure, Report};
use process::Usage;
use server::{Server, Servers};

/// Measures what idle devices cost: 1, 10 and 100 in one process, and 100 in as many processes.
#[derive(Clone, Debug, Parser)]
#[command(name = "outrigger-density")]
pub struct Options {
    /// The emulator; the one beside this program by default.
    #[arg(long)]
    emulator: Option<PathBuf>,

    /// Seconds for which wake-ups are counted.
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// How often each start is timed; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Write the figures as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Processes, and devices in each.
const SHAPES: [(usize, usize); 4] = [(1, 1), (1, 10), (1, 100), (100, 1)];

/// What one device in a process of its own may cost.
const MAX_RESIDENT: f64 = 8.0 * 1024.0 * 1024.0;
const MAX_START: Duration = Duration::from_millis(10);

/// What was found of one server in one shape.
#[derive(Clone, Copy, Debug)]
struct Found {
    server: Server,
    processes: usize,
    devices: usize,
    /// Of one process, from its start until it serves all its devices: the median.
    start: Duration,
    /// Of all processes together.
    usage: Usage,
    /// A second, of all processes together.
    wakeups: f64,
}

/// Measures, prints a table, and says which aims are met; whether all are.
///
/// # Errors
/// If a server cannot be started.
pub fn run(options: &Options) -> Result<bool> {
    let emulator = match &options.emulator {
        Some(path) => path.clone(),
        None => beside("outrigger-emulator")?,
    };
    let daemon = server::storage_daemon();
    if let Err(error) = &daemon {
        crate::say!("no qemu-storage-daemon to compare with: {error:#}");
    }
    let servers = [
        Some((Server::Emulator, emulator)),
        daemon.ok().map(|it| (Server::StorageDaemon, it)),
    ];
    let mut all = Vec::new();
    for (processes, devices) in SHAPES {
        for (server, program) in servers.iter().flatten() {
            all.push(measure(*server, program, processes, devices, options)?);
        }
    }
    crate::say!("{}", table(&all));
    let mut report = Report::new();
    for found in &all {
        found.note(&mut report);
    }
    if let Some(alone) = all.first() {
        let resident = alone.usage.resident as f64;
        report.check("at most 8 MiB for one device", resident <= MAX_RESIDENT);
        report.check("at most 10 ms to start", alone.start <= MAX_START);
    }
    let awake = all.iter().filter(|it| it.server == Server::Emulator);
    let still = awake.into_iter().all(|it| it.wakeups == 0.0);
    report.check("no wake-up of an idle device", still);
    for check in &report.checks {
        crate::say!(
            "{}: {}",
            check.name,
            if check.ok { "met" } else { "missed" }
        );
    }
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    Ok(report.passed())
}

fn measure(
    server: Server,
    program: &Path,
    processes: usize,
    devices: usize,
    options: &Options,
) -> Result<Found> {
    let context = || format!("{server}: {processes} processes, {devices} devices in each");
    let mut starts = Vec::new();
    // Many processes are many starts by themselves.
    for _ in 1..if processes == 1 { options.rounds } else { 1 } {
        let once = Servers::start(server, program, processes, devices).with_context(context)?;
        starts.extend(once.starts());
    }
    let servers = Servers::start(server, program, processes, devices).with_context(context)?;
    starts.extend(servers.starts());
    starts.sort_unstable();
    let seconds = options.seconds.max(1);
    let wakeups = servers.wakeups(Duration::from_secs(seconds));
    Ok(Found {
        server,
        processes,
        devices,
        start: starts.get(starts.len() / 2).copied().unwrap_or_default(),
        usage: servers.usage().with_context(context)?,
        wakeups: wakeups as f64 / seconds as f64,
    })
}

impl Found {
    fn note(&self, report: &mut Report) {
        let context = BTreeMap::from([
            ("server", self.server.to_string().into()),
            ("processes", self.processes.into()),
            ("devices", self.devices.into()),
        ]);
        for (name, value, unit) in [
            ("start", self.start.as_secs_f64() * 1e3, "ms"),
            ("resident", self.usage.resident as f64, "bytes"),
            ("proportional", self.usage.proportional as f64, "bytes"),
            ("threads", self.usage.threads as f64, "threads"),
            ("descriptors", self.usage.descriptors as f64, "descriptors"),
            ("wakeups", self.wakeups, "per second"),
        ] {
            report.measures.push(Measure {
                name,
                value,
                unit,
                context: context.clone(),
            });
        }
    }
}

fn table(all: &[Found]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "devices",
        "server",
        "start, ms",
        "RSS, MiB",
        "PSS, MiB",
        "threads",
        "descriptors",
        "wake-ups/s",
    ]);
    for found in all {
        let devices = match found.processes {
            1 => format!("{} in one process", found.devices),
            processes => format!("{processes} in {processes} processes"),
        };
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0 / 1024.0);
        table.add_row([
            devices,
            found.server.to_string(),
            format!("{:.1}", found.start.as_secs_f64() * 1e3),
            mib(found.usage.resident),
            mib(found.usage.proportional),
            found.usage.threads.to_string(),
            found.usage.descriptors.to_string(),
            format!("{:.1}", found.wakeups),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A program in this one's directory.
fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "there is no {}: build it, or name it by --emulator",
        path.display()
    );
    Ok(path)
}
