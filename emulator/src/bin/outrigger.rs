//! A user's command: how a running emulator is doing.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use outrigger_device::statistics::{FIELDS, Field, Page, PageError, Report, Style};

/// Looks after emulators that are running.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what a device's worker counts, without disturbing it
    ///
    /// At a terminal a table that is drawn anew; into a pipe a line each time. The emulator must have been started with stats=SOCKET in the
    /// device's --export. Ends when the emulator does.
    #[command(
        after_help = EXAMPLES,
        after_long_help = format!("{EXAMPLES}\n\n{}", meanings())
    )]
    Stats {
        /// The socket of --export …,stats=SOCKET (not the one of path=)
        socket: PathBuf,
        /// Print JSON, an object to a line
        #[arg(long)]
        json: bool,
        /// Print once, what was counted since the emulator started, and end
        #[arg(long)]
        once: bool,
        /// Seconds from one print to the next
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        interval: Duration,
    },
}

const EXAMPLES: &str =
    "Examples:\n  outrigger stats /run/lsi0.stats\n  outrigger stats /run/lsi0.stats --once --json";

/// What each counter counts.
fn meanings() -> String {
    let line = |field: &Field| format!("\n  {:<26} {}", field.name, field.meaning);
    let lines: String = FIELDS.iter().map(line).collect();
    format!("Counters (a table leaves out those that are zero):{lines}")
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.01..=3600.0).contains(&seconds) {
        return Err("from 0.01 to 3600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn main() -> ExitCode {
    let Command::Stats {
        socket,
        json,
        once,
        interval,
    } = Arguments::parse().command;
    match stats(&socket, json, (!once).then_some(interval)) {
        Ok(()) => ExitCode::SUCCESS,
        // Who has read enough closes the pipe.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where it cannot be written there is nobody to tell.
            let _ = writeln!(io::stderr(), "outrigger: {error:#}");
            match error.downcast_ref() {
                Some(PageError::Absent | PageError::Silent(_) | PageError::Answer) => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn stats(socket: &std::path::Path, json: bool, interval: Option<Duration>) -> anyhow::Result<()> {
    let page = Page::open(socket).with_context(|| socket.display().to_string())?;
    let mut stdout = io::stdout();
    let mut last = Report::total(page.read());
    let mut begin = Instant::now();
    let Some(interval) = interval else {
        let style = if json { Style::Json } else { Style::Table };
        stdout.write_all(last.print(style).as_bytes())?;
        stdout.flush()?;
        return Ok(());
    };
    let terminal = stdout.is_terminal();
    let style = match (json, terminal) {
        (true, _) => Style::Json,
        (false, true) => Style::Table,
        (false, false) => Style::Line,
    };
    loop {
        std::thread::sleep(interval);
        let now = Instant::now();
        let report = Report::since(page.read(), &last, now - begin);
        let mut text = report.print(style);
        if style == Style::Table {
            // From the top, over what stands there: nothing scrolls.
            text = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        }
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        if report.is_last() {
            return Ok(());
        }
        last = report;
        begin = now;
    }
}
