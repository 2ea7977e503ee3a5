//! What the kernel says about a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use crate::PATIENCE;

fn proc(id: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{id}/{name}"))
}

/// Its open descriptors: number and what it leads to. One that is closed meanwhile is left out.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn descriptors(id: u32) -> BTreeMap<u32, String> {
    fs::read_dir(proc(id, "fd"))
        .expect("a running process")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// The names of its mappings, one for each mapping that has one.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn mappings(id: u32) -> Vec<String> {
    let maps = fs::read_to_string(proc(id, "maps")).expect("a running process");
    let name = |line: &str| Some(line.splitn(6, ' ').nth(5)?.trim().to_owned());
    maps.lines().filter_map(name).collect()
}

/// A field of its status, such as `NoNewPrivs`.
///
/// # Panics
/// If there is no such process or field.
#[must_use]
pub fn status(id: u32, field: &str) -> String {
    let status = fs::read_to_string(proc(id, "status")).expect("a running process");
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {field} in {status}"));
    value.trim().to_owned()
}

/// What the kernel says in the `stat` of each of its threads, from the state on. One that ends meanwhile is left out.
fn stats(id: u32) -> impl Iterator<Item = String> {
    let threads = fs::read_dir(proc(id, "task")).expect("a running process");
    threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        // The state follows the name, which is in parentheses.
        Some(stat.rsplit_once(") ")?.1.to_owned())
    })
}

/// Waits until all its threads are in this state, as ps shows it: `S` sleeping, `T` stopped.
///
/// # Panics
/// If they do not come to it, or there is no such process.
pub fn wait_until(id: u32, state: char) {
    let start = Instant::now();
    while !stats(id).all(|stat| stat.starts_with(state)) {
        assert!(start.elapsed() < PATIENCE, "not all are in state {state}");
        thread::yield_now();
    }
}

/// How many threads it has. One that was joined is not among them, though the kernel may still have it.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn threads(id: u32) -> usize {
    /// A thread has it from before it can be joined on.
    const PF_EXITING: u32 = 4;
    let goes_on = |stat: &String| {
        let flags = stat.split(' ').nth(6).expect("the flags");
        flags.parse::<u32>().expect("a number") & PF_EXITING == 0
    };
    stats(id).filter(goes_on).count()
}
