//! The emulator's process: options in, sandbox closed, devices served until a signal or the last client's end.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use outrigger_emulator::assembly::{Inherited, Opened};
use outrigger_emulator::config::{Answer, CommandLine, Config, OptionError, Switch};
use outrigger_emulator::event_loop::serve;
use outrigger_emulator::sandbox;
use outrigger_emulator::signals::Signals;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let options = match CommandLine::parse_from(std::env::args_os()) {
        Ok(options) => options,
        Err(Answer { text, code }) => {
            // Where it cannot be written there is nobody to tell.
            let _ = match code {
                0 => std::io::stdout().write_all(text.as_bytes()),
                _ => std::io::stderr().write_all(text.as_bytes()),
            };
            return ExitCode::from(code);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outrigger-emulator: {error:#}");
            ExitCode::from(if error.is::<OptionError>() { 2 } else { 1 })
        }
    }
}

fn run(options: &CommandLine) -> anyhow::Result<()> {
    options.log_filter().map(start_log)?;
    let config = Config::new(&options.blockdev, &options.device, &options.export)?;
    let exports: Vec<_> = config
        .exports
        .iter()
        .map(|export| export.socket.to_string())
        .collect();

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
    serve(workers, &signals, wake_cost, close, || announce(&exports))
}

fn start_log(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// One line per export: clients are served from now on.
fn announce(exports: &[String]) {
    let mut stdout = std::io::stdout().lock();
    for export in exports {
        // Who closed stdout does not want to know.
        let _ = writeln!(stdout, "listening on {export}");
    }
    let _ = stdout.flush();
}
