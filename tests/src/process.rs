//! What the kernel says about a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

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

/// Its state as ps shows it: `S` sleeping, `T` stopped.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn state(id: u32) -> char {
    status(id, "State").chars().next().unwrap_or('?')
}
