//! What a user of the demo and the measurements sees at a terminal.

use std::process::Command;

use outrigger_tests::terminal::Terminal;

#[test]
fn help_fits_a_terminal() {
    for program in [
        env!("CARGO_BIN_EXE_outrigger-demo"),
        env!("CARGO_BIN_EXE_outrigger-bench"),
        env!("CARGO_BIN_EXE_outrigger-counts"),
        env!("CARGO_BIN_EXE_outrigger-guest"),
    ] {
        for help in ["-h", "--help"] {
            let mut command = Command::new(program);
            command.arg(help);
            let help = Terminal::new(80).run(command);
            assert!(help.contains("Usage:"), "{help}");
        }
    }
}

/// What cannot be written is found out before anything is measured, in one line.
#[test]
fn reports_that_cannot_be_written_are_refused_at_once() {
    for program in [
        env!("CARGO_BIN_EXE_outrigger-demo"),
        env!("CARGO_BIN_EXE_outrigger-bench"),
        env!("CARGO_BIN_EXE_outrigger-guest"),
    ] {
        let output = Command::new(program)
            .args(["--reports", "/proc/version/reports"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--reports /proc/version/reports: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}
