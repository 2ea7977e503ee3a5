//! Linux with several controllers of both chips, disks, emulators and vCPUs, on both of QEMU's boards, and across a reboot.

use std::fs::{self, File};
use std::path::PathBuf;

use outrigger_tests::emulator::{Chip, controller_with};
use outrigger_tests::guest::{Board, Emulator, Kit, Machine};
use outrigger_tests::place::Image;
use tempfile::TempDir;

/// Every value but the noted ones is `ok`.
/// Raw disks of 32 MiB, 40 MiB, …
fn disks(place: &TempDir, count: u64) -> Vec<(PathBuf, u64)> {
    (0..count)
        .map(|index| {
            let path = place.path().join(format!("disk{index}.img"));
            let bytes = (32 + 8 * index) << 20;
            File::create(&path).unwrap().set_len(bytes).unwrap();
            (path, bytes)
        })
        .collect()
}

/// Three controllers in two emulators, with two disks on the first; which chips they are.
fn several_controllers(board: Board, vcpus: u32, chips: [Chip; 3]) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let disks = disks(&place, 4);
    let image = |index: usize| Image {
        path: disks[index].0.clone(),
        read_only: false,
    };
    let mut options = controller_with(chips[0], "lsi0", &[image(0), image(1)]);
    options.extend(controller_with(chips[1], "lsi1", &[image(2)]));
    let two = Emulator::start(2, &options).unwrap();
    let one = Emulator::with_chip(chips[2], &[&disks[3].0], false).unwrap();
    let mut machine = Machine::new(board, vcpus);
    for socket in two.sockets().iter().chain(one.sockets()) {
        machine = machine.vfio_user(socket);
    }
    let script = format!("DISKS=4\n{}", include_str!("linux/topology.sh"));
    let transcript = machine.run_script(&kit, &script).unwrap().finish().unwrap();

    let facts = ["controllers", "vcpus", "size"];
    assert_eq!(transcript.verdicts(&facts), 11, "{transcript}");
    assert_eq!(transcript.result("controllers"), Some("3"), "{transcript}");
    assert_eq!(transcript.result("vcpus"), Some(&*vcpus.to_string()));
    let count = |prefix: &str| {
        let named = |(name, _): &(&str, &str)| name.starts_with(prefix);
        transcript.results().filter(named).count()
    };
    assert_eq!(
        (count("verify-"), count("mark-"), count("size")),
        (4, 4, 4),
        "{transcript}"
    );
    for (path, bytes) in &disks {
        let contents = fs::read(path).unwrap();
        let mark = format!("{}\n", bytes / 512);
        let last = contents.len() - 512;
        assert!(
            contents[last..].starts_with(mark.as_bytes()),
            "{} has another's mark",
            path.display()
        );
    }
    assert_eq!(two.log() + &one.log(), "", "an emulator has complained");
}

#[test]
fn several_controllers_on_pc_with_two_vcpus() {
    let chips = [Chip::Lsi53c895a, Chip::Lsi53c810, Chip::Lsi53c895a];
    several_controllers(Board::Pc, 2, chips);
}

#[test]
fn several_controllers_on_q35_with_one_vcpu() {
    let chips = [Chip::Lsi53c810, Chip::Lsi53c895a, Chip::Lsi53c810];
    several_controllers(Board::Q35, 1, chips);
}

/// On Q35 with two vCPUs.
fn a_reboot_under_load(chip: Chip) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let disks = disks(&place, 1);
    let emulator = Emulator::with_chip(chip, &[&disks[0].0], false).unwrap();
    let transcript = Machine::new(Board::Q35, 2)
        .vfio_user(&emulator.socket())
        .reboots()
        .run_script(&kit, include_str!("linux/reboot.sh"))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(transcript.verdicts(&[]), 7, "{transcript}");
    assert_eq!(transcript.result("in-flight"), Some("ok"), "{transcript}");
    let loads = transcript.results().filter(|(name, _)| *name == "load");
    assert_eq!(loads.count(), 2, "{transcript}");
    assert_eq!(transcript.result("verify"), Some("ok"), "{transcript}");
    assert_eq!(emulator.log(), "", "the emulator has complained");
}

#[test]
fn a_reboot_under_load_on_the_53c895a() {
    a_reboot_under_load(Chip::Lsi53c895a);
}

#[test]
fn a_reboot_under_load_on_the_53c810() {
    a_reboot_under_load(Chip::Lsi53c810);
}
