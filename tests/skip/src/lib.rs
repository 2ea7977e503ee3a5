//! How a test says that it could not run, so that nobody takes it for one that passed.

use std::fmt::Display;
use std::io::Write;

/// Writes `SKIPPED: why` to standard error, where the test harness does not swallow it, and CI fails on it. For what
/// every machine that runs the tests should have; what is absent on ordinary machines is no skip.
pub fn skipped(why: impl Display) {
    // Not with eprintln, whose output the harness captures. Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {why}");
}
