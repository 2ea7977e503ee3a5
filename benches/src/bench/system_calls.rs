//! System calls of another process, counted by the kernel's tracepoint (`perf stat`), else by `strace -c`.
//!
//! perf leaves the process alone; strace stops it at each call, so that a process which would spin may come to sleep: its
//! count is an upper bound.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// `perf stat -e raw_syscalls:sys_enter`.
    Perf,
    /// `strace -c -f`.
    Strace,
}

impl Counter {
    /// The better of those that work here.
    pub(crate) fn find() -> Option<Self> {
        let works = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).arg("true").stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if works("perf", &["stat", "-e", "raw_syscalls:sys_enter"]) {
            Some(Self::Perf)
        } else if works("strace", &["-c"]) {
            Some(Self::Strace)
        } else {
            None
        }
    }

    /// Its name, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf, raw_syscalls:sys_enter",
            Self::Strace => "strace -c",
        }
    }

    /// Counts what `pid` and its threads call while `work` runs. Work that is done in the first or the last instant may be
    /// missed: let it be long.
    pub(crate) fn during<T>(self, pid: u32, work: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
        let file = tempfile::NamedTempFile::new()?;
        let pid = pid.to_string();
        let mut command = match self {
            Self::Perf => Command::new("perf"),
            Self::Strace => Command::new("strace"),
        };
        match self {
            Self::Perf => command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p"]),
            Self::Strace => command.args(["-c", "-f", "-p"]),
        };
        let child = command
            .arg(&pid)
            .arg("-o")
            .arg(file.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the counter of system calls")?;
        let mut counting = Counting(Some(child));
        // Neither tool says when it has begun.
        std::thread::sleep(Duration::from_millis(300));
        let result = work()?;
        counting.end()?;
        let text = std::fs::read_to_string(file.path())?;
        let count = match self {
            Self::Perf => perf_count(&text),
            Self::Strace => strace_count(&text),
        };
        Ok((
            count.with_context(|| format!("no count in what {} says", self.name()))?,
            result,
        ))
    }
}

/// The running tool; ended if the work fails.
struct Counting(Option<Child>);

impl Counting {
    /// Both tools write their counts when they are interrupted.
    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.0.take() else {
            return Ok(());
        };
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            bail!("a process without an id");
        };
        kill_process(pid, Signal::INT)?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Only after a failure, which is what is reported.
        let _ = self.end();
    }
}

fn perf_count(text: &str) -> Option<u64> {
    text.lines()
        .filter(|line| line.contains("sys_enter"))
        .find_map(|line| line.split(',').next()?.trim().parse().ok())
}

/// The calls of the line "total": its fourth column, or the third of the rest where seconds are missing.
fn strace_count(text: &str) -> Option<u64> {
    let total = text
        .lines()
        .rev()
        .find(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_parsed() {
        let perf = "# started on Mon\n\n4711,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(perf_count(perf), Some(4711));
        assert_eq!(perf_count("<not counted>,,raw_syscalls:sys_enter"), None);
        let strace = "% time seconds usecs/call calls errors syscall\n 99.1 0.01 2 40 3 write\n------\n100.00 0.010000 2 43 3 total\n";
        assert_eq!(strace_count(strace), Some(43));
        assert_eq!(strace_count(""), None);
    }
}
