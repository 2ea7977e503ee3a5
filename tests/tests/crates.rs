//! Which crate may depend on which. Whoever embeds one crate gets what this allows, and no more.

use std::process::Command;

/// The packages that `package` is built from, itself included, as `cargo tree` has them with these arguments.
fn packages(package: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["-p", package])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Our own packages among those, each once, without the one that was asked for.
fn ours(package: &str, arguments: &[&str]) -> Vec<String> {
    let mut ours = packages(package, arguments);
    ours.retain(|name| name.starts_with("outrigger-") && name != package);
    ours.sort();
    ours.dedup();
    ours
}

#[test]
fn arrows_between_crates_have_one_direction() {
    let nothing: [&str; 0] = [];
    assert_eq!(ours("outrigger-ring", &[]), nothing);
    assert_eq!(ours("outrigger-vfio-user", &[]), nothing);
    let wire = ["outrigger-ring", "outrigger-vfio-user"];
    assert_eq!(ours("outrigger-proxy", &[]), wire);
    // The reference VMM has nothing but what any other VMM has.
    assert_eq!(
        ours("outrigger-vmm", &["--depth", "1"]),
        ["outrigger-proxy"]
    );
    // The framework knows no block device, no SCSI and no chip.
    assert_eq!(ours("outrigger-device", &[]), wire);
    assert_eq!(
        ours("outrigger-block", &["--depth", "1"]),
        ["outrigger-device"]
    );
    let emulator = ours("outrigger-emulator", &[]);
    for theirs in ["outrigger-proxy", "outrigger-vmm"] {
        assert!(!emulator.iter().any(|name| name == theirs), "{theirs}");
    }
}

#[test]
fn the_proxy_brings_no_hypervisor_and_vm_memory_by_choice_only() {
    let all = packages("outrigger-proxy", &["--all-features"]);
    for name in &all {
        assert!(!name.starts_with("kvm-"), "{name}");
        assert_ne!(name, "hdrhistogram");
    }
    assert!(all.iter().any(|name| name == "vm-memory"));
    let bare = packages("outrigger-proxy", &["--no-default-features"]);
    assert!(!bare.iter().any(|name| name == "vm-memory"), "{bare:?}");
}
