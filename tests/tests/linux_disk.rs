//! Linux's own driver, file system and tools on a disk behind an unmodified QEMU's vfio-user client.

use std::fs::File;

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine};

const SCRIPT: &str = include_str!("linux/disk.sh");

fn linux_uses_a_disk(chip: Chip) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk.img");
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let emulator = Emulator::with_chip(chip, &[&disk], false).unwrap();
    // With a single vCPU Linux completes requests in the driver's interrupt handler, which holds the host's lock; a reset by
    // ioctl at that moment makes the completion take the lock again, and the guest hangs (docs/qemu.md).
    let running = Machine::new(Board::Pc, 2)
        .vfio_user(&emulator.socket())
        .run_script(&kit, SCRIPT)
        .unwrap();
    let transcript = running.finish().unwrap();
    assert_eq!(transcript.verdicts(&["depth"]), 18, "{transcript}");
    assert_eq!(transcript.result("depth"), Some("64"), "{transcript}");
    assert_eq!(emulator.log(), "", "the emulator has complained");
}

#[test]
fn linux_uses_a_disk_on_the_53c895a() {
    linux_uses_a_disk(Chip::Lsi53c895a);
}

#[test]
fn linux_uses_a_disk_on_the_53c810() {
    linux_uses_a_disk(Chip::Lsi53c810);
}
