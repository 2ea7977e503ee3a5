//! Time on a CPU, as the kernel's scheduler counts it: without disturbing the run.

use std::fs;
use std::path::Path;

/// Nanoseconds that all threads of `pid` have been on a CPU so far, in the kernel and out of it. Threads that have ended
/// are not counted.
#[must_use]
pub fn of_process(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    threads
        .filter_map(Result::ok)
        .map(|thread| of_task(&thread.path()))
        .sum()
}

/// The same of thread `tid` of this process; 0 once it has ended.
#[must_use]
pub fn of_thread(tid: i32) -> u64 {
    of_task(Path::new(&format!("/proc/self/task/{tid}")))
}

fn of_task(task: &Path) -> u64 {
    fs::read_to_string(task.join("schedstat")).map_or(0, |text| nanoseconds(&text))
}

/// The first field of `schedstat`; 0 where the kernel keeps none.
fn nanoseconds(schedstat: &str) -> u64 {
    let first = schedstat.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_counts() {
        assert_eq!(nanoseconds("718962 12 6\n"), 718_962);
        assert_eq!(nanoseconds(""), 0);
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(of_process(u32::MAX), 0);
    }
}
