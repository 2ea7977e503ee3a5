//! What the process has to say: lines to standard error that never wait and never end the process.
//!
//! A worker must not hang because nobody reads its log, nor die because the disk that takes it is
//! full. So a line that cannot be written at once is lost; the next one that can be written is
//! preceded by how many were. Where the log is a regular file, writing waits for the disk, as for
//! the image's own writes.

mod write_now;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

pub(crate) use write_now::write_now;

/// Has events that pass the filter written to standard error.
pub fn start(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Line)
        .with_ansi(false)
        // It would say so on standard error, and panic where that fails.
        .log_internal_errors(false)
        .init();
}

/// Says one line on standard error, log or not: what ends the process, or keeps it from starting.
pub fn say(text: impl fmt::Display) {
    STDERR.write(io::stderr().as_fd(), format!("{text}\n").as_bytes());
}

/// Says one line on standard output, if that takes it at once.
///
/// # Errors
/// Standard output does not take it.
pub fn announce(text: impl fmt::Display) -> io::Result<()> {
    let line = format!("{text}\n");
    match write_now(io::stdout().as_fd(), line.as_bytes()) {
        (count, None) if count == line.len() => Ok(()),
        (_, Some(error)) => Err(error.into()),
        (_, None) => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Has panics reported in the same way: a thread that panics must not wait for a reader either.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let mut text = describe(panic);
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            // A String takes everything.
            let _ = write!(text, "\n{trace}");
        }
        say(text);
    }));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?");
    let place = panic
        .location()
        .map_or(String::new(), |place| format!(" at {place}"));
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let why = text.or(payload.downcast_ref::<&str>().copied());
    let why = why.unwrap_or("no message");
    format!("outrigger-emulator: thread '{name}' panicked{place}: {why}")
}

static STDERR: Lines = Lines(Mutex::new(State {
    lost: 0,
    cut: false,
}));

/// Lines to one descriptor.
struct Lines(Mutex<State>);

struct State {
    /// Lines that were lost since one was written.
    lost: u64,
    /// Only the beginning of the last one was written.
    cut: bool,
}

impl Lines {
    /// Writes the line if that takes no wait. `line` ends with its newline.
    fn write(&self, to: BorrowedFd<'_>, line: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost > 0 {
            let end = if state.cut { "\n" } else { "" };
            let lines = if state.lost == 1 { "line" } else { "lines" };
            let note = format!(
                "{end}outrigger-emulator: {} {lines} of the log lost: it could not be written\n",
                state.lost
            );
            let (count, _) = write_now(to, note.as_bytes());
            state.cut = count > 0 && count < note.len() || count == 0 && state.cut;
            if count < note.len() {
                state.lost = state.lost.saturating_add(1);
                return;
            }
            state.lost = 0;
        }
        let (count, _) = write_now(to, line);
        if count < line.len() {
            state.lost = 1;
            state.cut = count > 0;
        }
    }
}

/// The log's writer: takes whole events, and everything is well.
#[derive(Clone, Copy, Debug)]
struct Line;

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STDERR.write(io::stderr().as_fd(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
