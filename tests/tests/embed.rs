//! The proxy's example for embedders runs: a guest under KVM, its device in a process of its own.

use std::process::Command;

use outrigger_tests::emulator::binary;
use outrigger_vmm::kvm_unavailable;

#[test]
fn the_example_runs() {
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    let emulator = binary();
    let example = emulator.with_file_name("examples").join("embed");
    assert!(
        example.is_file(),
        "{} is missing: build it with `cargo build -p outrigger-proxy --examples`",
        example.display()
    );
    let output = Command::new(example).arg(emulator).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"printed: [00, c0]"), "{text}");
    // ISTAT0 in memory, answered from the mirror; the store to SCRIPTS RAM did not exit.
    assert_eq!(
        lines.get(1),
        Some(&"exits: 1 to memory, 1 to ports"),
        "{text}"
    );
    let last = Some(&"SCRIPTS RAM as the emulator has it: true [5a]");
    assert_eq!(lines.get(2), last, "{text}");
}
