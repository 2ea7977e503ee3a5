//! What a run found, for machines: `target/reports/*.json`, schema 1.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use outrigger_vmm::kvm_unavailable;
use serde::Serialize;

use crate::noise::Noise;

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
    /// How undisturbed it was, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<Noise>,
}

/// Reports cannot be written where the user wants them.
#[derive(Debug, thiserror::Error)]
#[error("--reports {}: {reason}: give a directory that you may write to", path.display())]
pub struct ReportsError {
    path: PathBuf,
    reason: io::Error,
}

/// Makes the directory for reports and sees that something can be written there, before anything is measured.
///
/// # Errors
/// If it cannot.
pub fn prepare(directory: &Path) -> Result<(), ReportsError> {
    let tried = fs::create_dir_all(directory).and_then(|()| tempfile::tempfile_in(directory));
    tried.map(drop).map_err(|reason| ReportsError {
        path: directory.to_owned(),
        reason,
    })
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
            noise: None,
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
            kvm: kvm_unavailable().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_found_out_before() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("a/b");
        prepare(&new).unwrap();
        assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
        // Root may write everywhere, but not below a file.
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare(&file.join("reports")).unwrap_err().to_string();
        assert!(error.starts_with("--reports ") && error.contains("file/reports"));
        assert!(error.ends_with("give a directory that you may write to"));
        let error = prepare(Path::new("/proc/outrigger")).unwrap_err();
        assert!(!error.to_string().contains('\n'));
    }
}
