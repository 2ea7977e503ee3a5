//! Linux on a disk whose image runs out of space: its writes wait, longer than it has patience, and are done in the end.

use std::fs::{self, File};

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

const SCRIPT: &str = include_str!("linux/full.sh");

fn linux_waits_for_space(chip: Chip) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk.img");
    File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let emulator = Emulator::with_chip(chip, &[&disk], false).unwrap();
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: getrlimit(Resource::Fsize).maximum,
        };
        let id = Pid::from_raw(emulator.id().try_into().unwrap());
        prlimit(id, Resource::Fsize, limit).unwrap();
    };
    limit(Some(4 << 20));
    let mut running = Machine::new(Board::Pc, 2)
        .vfio_user(&emulator.socket())
        .run_script(&kit, SCRIPT)
        .unwrap();
    running.next_result("room").unwrap();
    limit(None);
    let transcript = running.finish().unwrap();
    assert_eq!(transcript.verdicts(&["room"]), 6, "{transcript}");
    let log = emulator.log();
    assert!(log.contains("requests are held back"), "{log}");
    assert_eq!(fs::metadata(&disk).unwrap().len(), 16 << 20);
}

#[test]
fn linux_waits_for_space_on_the_53c895a() {
    linux_waits_for_space(Chip::Lsi53c895a);
}

#[test]
fn linux_waits_for_space_on_the_53c810() {
    linux_waits_for_space(Chip::Lsi53c810);
}
