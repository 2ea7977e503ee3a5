//! Tries what the sandbox denies, each act in a process of its own that has entered it.
//!
//! The parent starts this program again with the name of an act; the child enters the sandbox, does it on a
//! thread that was started before the filter, and says how it went.

mod sandbox {
    pub(crate) mod acts;
    pub(crate) mod sys;
}

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_device::sandbox as subject;
use sandbox::acts::{ACTS, Act, Expected, Moment, Prepared};

const FLAG: &str = "--act";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == FLAG
    {
        return child(name);
    }
    let filters: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let chosen = ACTS
        .iter()
        .filter(|act| filters.is_empty() || filters.iter().any(|it| act.name.contains(*it)));
    let (mut passed, mut failed) = (0, 0);
    for act in chosen {
        match check(act) {
            Ok(()) => {
                println!("test {} ... ok", act.name);
                passed += 1;
            }
            Err(reason) => {
                println!("test {} ... FAILED: {reason}", act.name);
                failed += 1;
            }
        }
    }
    println!("test result: {passed} passed; {failed} failed;");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs an act in a child and compares how it went with what is expected.
fn check(act: &Act) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    // What it says is counted in lines.
    command.args([FLAG, act.name]).env_remove("RUST_BACKTRACE");
    let output = command.output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.trim();
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some(reason) = said.strip_prefix("skipped: ") {
        outrigger_skip::skipped_as(act.name, reason);
        return Ok(());
    }
    let fits = match act.expected {
        Expected::Works => output.status.success() && said == "works",
        Expected::Fails(errors) => {
            output.status.success() && errors.iter().any(|error| said == format!("errno {error}"))
        }
        Expected::Fatal => output.status.signal() == Some(libc::SIGSYS),
        Expected::Dies(signal, line) => {
            let lines = usize::from(!line.is_empty());
            output.status.signal() == Some(signal)
                && errors.starts_with(line)
                && errors.lines().count() == lines
        }
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "expected {:?}, got {} and '{said}' {errors}",
        act.expected, output.status
    ))
}

fn child(name: &str) -> ExitCode {
    let Some(act) = ACTS.iter().find(|act| act.name == name) else {
        return ExitCode::FAILURE;
    };
    outrigger_device::log::report_panics();
    outrigger_device::crash::install().expect("handlers of faults");
    let prepared = Prepared::new().expect("what is opened before");
    // One that nobody joins, and that takes its time: it must be gone before anything is given up.
    let gone = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&gone);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        ending.store(true, Ordering::Release);
    });
    let surroundings = subject::leave_the_host().expect("the host is left");
    assert!(gone.load(Ordering::Acquire), "another thread was there");
    if let Some(reason) = (act.needs)(&surroundings) {
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    let (closed, wait) = std::sync::mpsc::channel();
    let run = act.run;
    // Named, as the emulator's own: it may not even have begun when the filter comes.
    let thread = std::thread::Builder::new().name("an act".to_owned());
    let thread = thread.spawn(move || {
        wait.recv().expect("the filter is in place");
        run(&prepared)
    });
    let thread = thread.expect("a thread");
    if act.moment == Moment::Closed {
        subject::limit_system_calls().expect("the filter is in place");
    }
    closed.send(()).expect("the thread waits");
    match thread.join().expect("the act does not panic") {
        Ok(()) => println!("works"),
        Err(error) => println!("errno {}", error.raw_os_error().unwrap_or(0)),
    }
    ExitCode::SUCCESS
}
