//! README's commands, as a newcomer pastes them: in a fresh directory, with an empty home.
//!
//! Its Rust is compiled as a documentation test of `outrigger-tests`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::binary;
use outrigger_tests::front::{Attached, options};
use outrigger_vmm::kvm_unavailable;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// The fenced blocks of that kind, in order.
fn blocks(kind: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(kind) {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// The one block of shell commands that has this in it.
fn shell_block(part: &str) -> String {
    let found: Vec<_> = blocks("sh")
        .into_iter()
        .filter(|block| block.contains(part))
        .collect();
    assert_eq!(found.len(), 1, "{part}");
    found.into_iter().next().unwrap()
}

/// What a clone looks like after its build: the programs in `target/release`. A `cargo` that has nothing to do.
struct Clone(TempDir);

impl Clone {
    fn new() -> Self {
        let clone = Self(tempfile::tempdir().unwrap());
        let release = clone.0.path().join("target/release");
        let bin = clone.0.path().join("bin");
        fs::create_dir_all(&release).unwrap();
        fs::create_dir_all(&bin).unwrap();
        for program in ["outrigger-emulator", "outrigger"] {
            symlink(binary().with_file_name(program), release.join(program)).unwrap();
        }
        let cargo = bin.join("cargo");
        fs::write(&cargo, "#!/bin/sh\necho \"$@\" >>cargo.log\n").unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        clone
    }

    /// A shell that stops at the first command that fails, and becomes the last one.
    fn shell(&self, commands: &str) -> Command {
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").unwrap();
        let directory = self.0.path();
        command
            .args(["-e", "-c", commands])
            .current_dir(directory)
            .env_clear()
            .env("HOME", directory.join("home"))
            .env("PATH", format!("{}/bin:{path}", directory.display()));
        command
    }
}

#[test]
fn the_daemon_starts_serves_and_is_watched() {
    let clone = Clone::new();
    let commands = shell_block("truncate -s 1G disk.img");
    let commands = commands.replace("\ntarget/release/", "\nexec target/release/");
    let mut daemon = clone
        .shell(&commands)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(daemon.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "listening on lsi0.sock\n");
    let built = fs::read_to_string(clone.0.path().join("cargo.log")).unwrap();
    assert_eq!(built, "build --release --locked -p outrigger-emulator\n");

    let socket = clone.0.path().join("lsi0.sock");
    let client = Attached::connect(Endpoint::Path(socket), options(Transport::Ring));
    let watch = shell_block("outrigger stats") + " --once --json";
    let output = clone.shell(&watch).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("\"requests\""),
        "{said}"
    );
    drop(client);
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn the_example_is_there_and_runs() {
    let block = shell_block("--example embed");
    assert!(block.contains("-p outrigger-proxy --example embed"));
    assert!(root().join("proxy/examples/embed/main.rs").is_file());
    if let Some(reason) = kvm_unavailable() {
        outrigger_skip::skipped(reason);
        return;
    }
    // What cargo would build and run.
    let clone = Clone::new();
    let (_, arguments) = block.split_once("-- \\\n").unwrap();
    let example = binary().with_file_name("examples").join("embed");
    let status = clone
        .shell(&format!("{} {arguments}", example.display()))
        .status();
    assert!(status.unwrap().success());
}

/// What QEMU is given is JSON, names the daemon's socket, and shares the guest's memory.
#[test]
fn qemu_gets_the_daemons_socket() {
    let block = shell_block("qemu-system-x86_64 -machine");
    let device = block.split('\'').nth(1).unwrap();
    let device: serde_json::Value = serde_json::from_str(device).unwrap();
    assert_eq!(device["driver"], "vfio-user-pci");
    let daemon = shell_block("truncate -s 1G disk.img");
    let path = device["socket"]["path"].as_str().unwrap();
    assert!(daemon.contains(&format!("path={path},")), "{path}");
    assert!(block.contains("share=on"));
    for xml in blocks("xml") {
        let device = xml
            .split('\'')
            .find(|part| part.starts_with("{\"driver"))
            .unwrap();
        let device: serde_json::Value = serde_json::from_str(device).unwrap();
        assert_eq!(device["driver"], "vfio-user-pci");
    }
}

/// Each of its commands is of a kind that is tried here, and each target of make is one.
#[test]
fn every_command_is_known() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for block in blocks("sh") {
        for line in block.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("make") => {
                    let target = words.next().unwrap();
                    assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
                }
                Some("cargo" | "truncate" | "qemu-system-x86_64") => {}
                Some(path) if path.starts_with("target/release/") => {}
                // The rest of a command.
                Some(_) if line.starts_with(' ') => {}
                other => panic!("{other:?} of {line:?} is not tried"),
            }
        }
    }
    // A path that a clone beside the user's crate has.
    let toml = blocks("toml").join("\n");
    let (_, path) = toml.split_once("path = \"../outrigger/").unwrap();
    let (path, _) = path.split_once('"').unwrap();
    assert!(root().join(path).join("Cargo.toml").is_file(), "{path}");
}
