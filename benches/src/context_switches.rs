//! Context switches of a process, as the kernel counts them: exact, and without disturbing the run.

use std::collections::BTreeMap;
use std::fs;

/// Voluntary and involuntary context switches of all threads of `pid` so far. Threads that have ended are not
/// counted.
#[must_use]
pub fn of_process(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    threads
        .filter_map(Result::ok)
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|status| switches(&status))
        .sum()
}

/// The context switches of a process's threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(BTreeMap<String, u64>);

impl Snapshot {
    /// Those of `pid` now.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Self::default();
        };
        let of_thread = |thread: fs::DirEntry| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let id = thread.file_name().to_string_lossy().into_owned();
            Some((id, switches(&status)))
        };
        Self(
            threads
                .filter_map(Result::ok)
                .filter_map(of_thread)
                .collect(),
        )
    }

    /// Switches since `before`. What a thread did that has ended meanwhile does not count.
    #[must_use]
    pub fn since(&self, before: &Self) -> u64 {
        self.0
            .iter()
            .map(|(thread, count)| {
                count.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
            })
            .sum()
    }
}

/// Voluntary and involuntary context switches of thread `tid` of this process so far; 0 once it has ended.
#[must_use]
pub fn of_thread(tid: i32) -> u64 {
    fs::read_to_string(format!("/proc/self/task/{tid}/status"))
        .map_or(0, |status| switches(&status))
}

fn switches(status: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.ends_with("voluntary_ctxt_switches"))
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(switches(status), 42);
    }

    #[test]
    fn a_thread_that_has_ended_takes_nothing_away() {
        let snapshot = |threads: &[(&str, u64)]| {
            Snapshot(
                threads
                    .iter()
                    .map(|(id, n)| ((*id).to_owned(), *n))
                    .collect(),
            )
        };
        let before = snapshot(&[("1", 10), ("2", 1000)]);
        let after = snapshot(&[("1", 15), ("3", 7)]);
        assert_eq!(after.since(&before), 12);
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(of_process(u32::MAX), 0);
    }
}
