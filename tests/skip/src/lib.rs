//! How a test says that it could not run, so that nobody takes it for one that passed.

use std::fmt::Display;
use std::io::Write;

/// Writes `SKIPPED: why (test)` to standard error, where the test harness does not swallow it. `make test` adds these up, and
/// CI fails on them. For what every machine that runs the tests should have; what is absent on ordinary machines is no skip.
pub fn skipped(why: impl Display) {
    // The harness names each test's thread. The process's own thread is called main.
    match std::thread::current().name() {
        Some(test) if test != "main" => skipped_as(test, why),
        _ => say(&format!("SKIPPED: {why}\n")),
    }
}

/// The same for a test that has no thread of its own.
pub fn skipped_as(test: &str, why: impl Display) {
    say(&format!("SKIPPED: {why} ({test})\n"));
}

fn say(line: &str) {
    // Not with eprintln, whose output the harness captures; at once, as others write too. Without a standard error there is
    // nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
