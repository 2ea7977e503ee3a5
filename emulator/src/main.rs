//! The emulator's process: options in, sandbox closed, devices served until a signal or the last client's end.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use outrigger_device::event_loop::{Ended, serve};
use outrigger_device::signals::{self, Signals};
use outrigger_device::{crash, log, sandbox};
use outrigger_emulator::assembly::{Inherited, Opened};
use outrigger_emulator::config::export::Export;
use outrigger_emulator::config::{Answer, CommandLine, Config, OptionError, Switch};

fn main() -> ExitCode {
    log::report_panics();
    match CommandLine::parse_from(std::env::args_os()) {
        Ok(options) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log::say(format_args!("outrigger-emulator: {error:#}"));
                ExitCode::from(if error.is::<OptionError>() { 2 } else { 1 })
            }
        },
        Err(Answer { text, code: 0 }) => match print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            // Who has read enough closes the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                log::say(format_args!(
                    "outrigger-emulator: cannot write to standard output: {error}"
                ));
                ExitCode::FAILURE
            }
        },
        Err(Answer { text, code }) => {
            log::say(text.trim_end());
            ExitCode::from(code)
        }
    }
}

/// Prints what was asked for.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn run(options: &CommandLine) -> anyhow::Result<()> {
    signals::outlive_writes().context("signals")?;
    crash::install().context("signals")?;
    options.log_filter().map(log::start)?;
    let config = Config::new(&options.blockdev, &options.device, &options.export)?;
    let exports: Vec<_> = config
        .exports
        .iter()
        .map(|export| export.socket.to_string())
        .collect();

    let sockets = config.exports.iter().any(Export::has_files);
    // What a parent has left open by mistake is out of a guest's reach too.
    let inherited = Inherited::take(&config)?;
    // With paths in reach. A signal still ends the process at once: what is opened may keep it waiting.
    let opened = Opened::open(config, inherited)?;
    // From here on no thread is started that a signal could kill.
    let signals = Signals::catch().context("signals")?;
    let wake_cost = outrigger_ring::wake_cost();
    let sandboxed = options.sandbox == Switch::On;
    if sandboxed {
        sandbox::leave_the_host().context("sandbox")?.log();
    }

    // Without paths, but with threads and io_uring.
    let workers = opened.start()?;
    let close = || match sandboxed {
        true => sandbox::limit_system_calls().context("sandbox"),
        false => Ok(()),
    };
    // Without anything but what is open.
    let ended = serve(workers, &signals, wake_cost, close, || announce(&exports))?;
    if ended.asked {
        log::say(farewell(&ended, sockets));
    }
    Ok(())
}

/// What to say after a signal. The sandbox has no right to remove files: `assembly::socket` says why.
fn farewell(ended: &Ended, sockets: bool) -> String {
    let mut text = "outrigger-emulator: ended by a signal".to_owned();
    if !ended.cut_off.is_empty() {
        text.push_str(&format!(
            "; connected VMMs have lost {}",
            ended.cut_off.join(", ")
        ));
    }
    if sockets {
        text.push_str("; socket files stay, and the next start replaces them");
    }
    text
}

/// One line per export: clients are served from now on.
fn announce(exports: &[String]) {
    for export in exports {
        if let Err(error) = log::announce(format_args!("listening on {export}")) {
            // Who closed stdout does not want to know.
            tracing::debug!(%error, "cannot say on standard output that {export} is listened on");
        }
    }
}
