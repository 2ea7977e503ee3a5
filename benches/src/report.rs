//! What a run found, for machines: `target/reports/*.json`, schema 1.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// A whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this layout: 1.
    pub schema: u32,
    /// Where it ran.
    pub host: Host,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// What was measured.
    pub measures: Vec<Measure>,
}

/// The machine a report comes from.
#[derive(Debug, Serialize)]
pub struct Host {
    /// Model name of the first CPU.
    pub cpu: String,
    /// CPUs this process may use.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Whether `/dev/kvm` could be opened.
    pub kvm: bool,
}

/// Something that had to hold.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it held.
    pub ok: bool,
}

/// One figure.
#[derive(Debug, Serialize)]
pub struct Measure {
    /// What was measured.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// Under which circumstances.
    pub context: BTreeMap<&'static str, serde_json::Value>,
}

impl Report {
    /// An empty report about this machine.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schema: 1,
            host: Host::here(),
            checks: Vec::new(),
            measures: Vec::new(),
        }
    }

    /// Notes that `name` held or did not.
    pub fn check(&mut self, name: impl Into<String>, ok: bool) {
        self.checks.push(Check {
            name: name.into(),
            ok,
        });
    }

    /// Whether all checks held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Writes the report to `path`, making its directory.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    fn here() -> Self {
        let model = fs::read_to_string("/proc/cpuinfo")
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")
                    .and_then(|rest| rest.split_once(':'))
            })
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        Self {
            cpu: model,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            kvm: fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .is_ok(),
        }
    }
}
