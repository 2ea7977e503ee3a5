//! A program whose output goes nowhere ends with an exit code, not with a panic.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Starts `program`, its standard output and error there.
fn run(program: &str, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(program);
    let child = command
        .args(arguments)
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    child.unwrap().wait_with_output().unwrap()
}

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// A pipe that nobody reads any more.
fn unread() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

#[test]
fn tables_that_cannot_be_printed_are_an_error() {
    let mut counted = tempfile::NamedTempFile::new().unwrap();
    let line = r#"{"function_name":"a","id":"b","profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":5}}}}}}]}"#;
    writeln!(counted, "{line}").unwrap();
    let program = env!("CARGO_BIN_EXE_outrigger-counts");
    let file = counted.path().to_str().unwrap();
    let output = run(program, &[file], full(), Stdio::piped());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let expected = "outrigger-counts: cannot write to standard output: No space left on device";
    assert!(errors.starts_with(expected), "{errors}");
    assert_eq!(run(program, &[file], full(), full()).status.code(), Some(1));
    // Who has gone has read enough: the code is that of the comparison.
    for stderr in [Stdio::piped(), unread(), full()] {
        let output = run(program, &[file], unread(), stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn errors_keep_their_exit_codes() {
    for (program, arguments, code) in [
        (env!("CARGO_BIN_EXE_outrigger-counts"), &["/none"][..], 2),
        (
            env!("CARGO_BIN_EXE_outrigger-demo"),
            &["--disk", "/none"],
            2,
        ),
        (env!("CARGO_BIN_EXE_outrigger-demo"), &["--colour"], 2),
        (
            env!("CARGO_BIN_EXE_outrigger-bench"),
            &["--part", "none"],
            2,
        ),
        (
            env!("CARGO_BIN_EXE_outrigger-guest"),
            &["--rounds", "none"],
            2,
        ),
    ] {
        for stderr in [full(), unread()] {
            let output = run(program, arguments, unread(), stderr);
            assert_eq!(output.status.code(), Some(code), "{program} {arguments:?}");
        }
    }
}
