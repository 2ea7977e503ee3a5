//! What the kernel says that a process has.

use std::fs;
use std::ops::AddAssign;

use anyhow::{Context as _, Result};

/// What processes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes in memory.
    pub(super) resident: u64,
    /// The same, where what several processes share is shared out among them.
    pub(super) proportional: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
}

impl Usage {
    /// Of one process, now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let count = |name: &str| -> Result<u64> {
            let entries = fs::read_dir(format!("/proc/{pid}/{name}"))?;
            Ok(entries.count() as u64)
        };
        Ok(Self {
            resident: field(&text, "Rss:")?,
            proportional: field(&text, "Pss:")?,
            threads: count("task")?,
            descriptors: count("fd")?,
        })
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.proportional += other.proportional;
        self.threads += other.threads;
        self.descriptors += other.descriptors;
    }
}

/// A field of `smaps_rollup`, which is in KiB, as bytes.
fn field(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    let kib: u64 = value
        .with_context(|| format!("no {name}"))?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident >= usage.proportional && usage.proportional > 0);
        assert!(usage.threads >= 1 && usage.descriptors >= 3);
        let text = "00400000-7fff [rollup]\nRss:                1234 kB\nPss:  7 kB\n";
        assert_eq!(field(text, "Rss:").unwrap(), 1234 * 1024);
        assert_eq!(field(text, "Pss:").unwrap(), 7 * 1024);
        assert!(field(text, "Swap:").is_err());
    }
}
