//! What a process or a thread has spent, as the kernel counts it: exact, and without disturbing the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Context switches and time on a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Voluntary and involuntary ones.
    pub context_switches: u64,
    /// Nanoseconds on a CPU, in the kernel and out of it.
    pub nanoseconds: u64,
}

/// What each of some threads had spent at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(BTreeMap<String, Spent>);

impl Snapshot {
    /// The threads of `pid` now; none if it is gone.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        let threads = threads.into_iter().flatten().filter_map(Result::ok);
        Self(
            threads
                .filter_map(|thread| {
                    let id = thread.file_name().to_string_lossy().into_owned();
                    Some((id, of_task(&thread.path())?))
                })
                .collect(),
        )
    }

    /// Thread `tid` of this process now; none once it has ended.
    #[must_use]
    pub fn of_thread(tid: i32) -> Self {
        let spent = of_task(Path::new(&format!("/proc/self/task/{tid}")));
        Self(
            spent
                .map(|spent| (tid.to_string(), spent))
                .into_iter()
                .collect(),
        )
    }

    /// What was spent since `before`. What a thread did that has ended meanwhile does not count.
    #[must_use]
    pub fn since(&self, before: &Self) -> Spent {
        let mut sum = Spent::default();
        for (thread, now) in &self.0 {
            let then = before.0.get(thread).copied().unwrap_or_default();
            sum.context_switches += now.context_switches.saturating_sub(then.context_switches);
            sum.nanoseconds += now.nanoseconds.saturating_sub(then.nanoseconds);
        }
        sum
    }
}

fn of_task(task: &Path) -> Option<Spent> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    // Not every kernel keeps it.
    let schedstat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    Some(Spent {
        context_switches: context_switches(&status),
        nanoseconds: nanoseconds(&schedstat),
    })
}

fn context_switches(status: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.ends_with("voluntary_ctxt_switches"))
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

/// The first field of `schedstat`.
fn nanoseconds(schedstat: &str) -> u64 {
    let first = schedstat.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(context_switches(status), 42);
        assert_eq!(nanoseconds("718962 12 6\n"), 718_962);
        assert_eq!(nanoseconds(""), 0);
    }

    #[test]
    fn a_process_that_is_gone_has_spent_nothing() {
        let gone = Snapshot::of_process(u32::MAX);
        assert_eq!(gone.since(&Snapshot::default()), Spent::default());
    }

    #[test]
    fn threads_come_and_go() {
        let at = |threads: &[(&str, u64)]| {
            let spent = |&(name, count): &(&str, u64)| {
                let spent = Spent {
                    context_switches: count,
                    nanoseconds: 10 * count,
                };
                (name.to_owned(), spent)
            };
            Snapshot(threads.iter().map(spent).collect())
        };
        let before = at(&[("1", 5), ("2", 100)]);
        let after = at(&[("1", 7), ("3", 1)]);
        let spent = after.since(&before);
        assert_eq!((spent.context_switches, spent.nanoseconds), (3, 30));
    }
}
