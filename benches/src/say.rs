//! Standard output that may be closed or full: no panic, and an exit code that tells.
//!
//! What cannot be printed is remembered and the work goes on: it ends in a report's file, and children
//! and scratch files are put away as ever. `println!` would panic.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Prints a line, as `println!` does.
#[macro_export]
macro_rules! say {
    () => {
        $crate::say::line(::core::format_args!(""))
    };
    ($($text:tt)*) => {
        $crate::say::line(::core::format_args!($($text)*))
    };
}

/// The first error of standard output.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// See [`say!`](crate::say!).
pub fn line(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let Err(error) = printed {
        // A later one says no more.
        let _ = FAILED.set(error);
    }
}

/// A program's exit code: 0 or 1 as its work says, `code` for an error, which is printed; 1 if its
/// output could not be printed. Whoever closes a pipe has read enough: that is no error.
pub fn exit(
    program: &str,
    outcome: anyhow::Result<bool>,
    code: impl FnOnce(&anyhow::Error) -> u8,
) -> ExitCode {
    let complain = |text: fmt::Arguments<'_>| {
        // Where it cannot be printed there is nobody to tell.
        let _ = writeln!(io::stderr(), "{program}: {text}");
    };
    match (outcome, FAILED.get()) {
        (Err(error), _) => {
            complain(format_args!("{error:#}"));
            ExitCode::from(code(&error))
        }
        (Ok(_), Some(error)) if error.kind() != ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        (Ok(true), _) => ExitCode::SUCCESS,
        (Ok(false), _) => ExitCode::FAILURE,
    }
}
