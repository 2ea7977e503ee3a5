//! What `make` offers, and what `make test` says at its end.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every target that a person can ask for stands in the help, and the help fits a terminal.
#[test]
fn help_names_every_target() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let phony: Vec<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY: "))
        .flat_map(|targets| targets.split(' '))
        .collect();
    assert!(phony.contains(&"demo"));
    // As from a shell, whatever make this test may have been started by.
    let make = |arguments: &[&str]| {
        let mut make = Command::new("make");
        for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
            make.env_remove(name);
        }
        make.args(arguments).current_dir(root()).output().unwrap()
    };
    let help = make(&["help"]);
    assert!(help.status.success(), "{}", text(&help.stderr));
    let help = text(&help.stdout);
    let words: Vec<&str> = help
        .split(|c: char| c.is_whitespace() || c == ',')
        .collect();
    // Steps of others.
    let inner = ["count", "runner"];
    for target in phony.iter().filter(|target| !inner.contains(target)) {
        assert!(words.contains(target), "{target} is not in:\n{help}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // The first target is what plain `make` does.
    assert_eq!(text(&make(&[]).stdout), help);
}

/// Runs what prints `said` and exits with `code`.
fn totals(said: &str, code: u8) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("said");
    fs::write(&script, said).unwrap();
    Command::new(root().join("tests/totals.sh"))
        .args(["sh", "-c", "cat \"$1\" >&2; exit \"$2\"", "sh"])
        .arg(&script)
        .arg(code.to_string())
        .output()
        .unwrap()
}

/// The lines after what the command said, without the time that it took.
fn summary(output: &Output, said: &str) -> Vec<String> {
    let text = text(&output.stdout);
    let end = text.strip_prefix(said).expect("all that was said");
    let lines = end.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(", in ") {
            Some((counts, _)) => counts.to_owned(),
            None => line.to_owned(),
        })
        .collect()
}

#[test]
fn totals_add_up() {
    let said = "\
\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m unittests src/lib.rs (target/debug/deps/a-1)
SKIPPED: no /dev/kvm (kvm::tests::reads)
SKIPPED: ext4 has no O_DIRECT (files)
SKIPPED: tmpfs has no O_DIRECT (files)
test kvm::tests::reads ... ok
test result: ok. 10 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/b.rs (target/debug/deps/b-2)
test one ... SKIPPED: no /dev/kvm (one)
ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

   Doc-tests c
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
    let output = totals(said, 0);
    assert_eq!(output.status.code(), Some(0));
    let mut lines = summary(&output, said);
    assert_eq!(
        lines.pop().unwrap(),
        "12 passed, 0 failed, 3 skipped, 1 ignored"
    );
    lines.sort();
    assert_eq!(
        lines,
        [
            "skipped: ext4 has no O_DIRECT (1 test)",
            "skipped: no /dev/kvm (2 tests)",
            "skipped: tmpfs has no O_DIRECT (1 test)",
        ]
    );
}

#[test]
fn totals_name_what_failed() {
    let said = "\
     Running tests/b.rs (target/debug/deps/b-2)
test one ... ok
test two ... FAILED

failures:

---- two stdout ----
thread 'two' panicked at tests/b.rs:1:1:
failures: of this kind

failures:
    two

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";
    let output = totals(said, 101);
    assert_eq!(output.status.code(), Some(101));
    let lines = summary(&output, said);
    assert_eq!(lines, ["failed: two", "1 passed, 1 failed, 0 skipped"]);
}

#[test]
fn totals_tell_of_a_step_that_is_no_test() {
    let said = "error: could not compile\n";
    let output = totals(said, 2);
    assert_eq!(output.status.code(), Some(2));
    let lines = summary(&output, said);
    let last = "and a step ended with an error: see above";
    assert_eq!(lines, ["0 passed, 0 failed, 0 skipped", last]);
}
