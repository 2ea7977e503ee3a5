//! The commands of sg3_utils, sent by Linux to our disk and CD-ROM drive, on both chips, and to QEMU's own on QEMU's own
//! controller: each difference between the answers is listed, with its reason.

use std::fs::{self, File};
use std::path::Path;

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::answers::{Answers, Differences};
use outrigger_tests::guest::{Board, Emulator, Kit, Machine, Transcript};
use outrigger_tests::random::pattern;

/// A controller with a disk and a drive, in the language that QEMU and the emulator share.
fn options(chip: Chip, disk: &Path, disc: &Path) -> Vec<String> {
    let disk = serde_json::json!({
        "driver": "file", "node-name": "disk", "filename": disk, "discard": "unmap",
    });
    let disc = serde_json::json!({
        "driver": "file", "node-name": "disc", "filename": disc, "read-only": true,
    });
    let unit = |kind: &str, id: u8, node: &str, product: &str| {
        format!(
            "{kind},bus=lsi0.0,scsi-id={id},drive={node},vendor=ACME,product={product},ver=1.50,serial={product}{id},\
             wwn=0x5000c5001234567{id}"
        )
    };
    [
        "--blockdev",
        &disk.to_string(),
        "--blockdev",
        &disc.to_string(),
        "--device",
        &format!("{chip},id=lsi0"),
        "--device",
        &unit("scsi-hd", 0, "disk", "BOOK"),
        "--device",
        &unit("scsi-cd", 1, "disc", "DISC"),
    ]
    .map(str::to_owned)
    .into()
}

/// The answers of a machine, which has nothing to complain about.
fn ask(kit: &Kit, machine: &Machine) -> Answers {
    let transcript: Transcript = machine
        .run_script(kit, include_str!("linux/scsi.sh"))
        .unwrap()
        .finish()
        .unwrap();
    for name in ["load", "no-complaint"] {
        assert_eq!(transcript.result(name), Some("ok"), "{transcript}");
    }
    Answers::of(&transcript)
}

/// What is listed, as it is on this chip.
fn differences(chip: Chip) -> Differences {
    let listed = include_str!("linux/scsi.differences");
    match chip {
        Chip::Lsi53c895a => Differences::parse(listed),
        // SeaBIOS, which does not know this chip, has not taken the first unit attention from the drive.
        Chip::Lsi53c810 => {
            Differences::parse(&listed.replace("SCSI bus reset occurred", "Power on occurred"))
        }
    }
}

#[test]
fn every_difference_to_qemus_disk_and_drive_is_explained() {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("files")).unwrap();
    fs::write(path("files").join("data"), pattern(300_000)).unwrap();
    kit.iso(&path("files"), &path("disc.iso")).unwrap();
    let chips = [Chip::Lsi53c895a, Chip::Lsi53c810];
    let options = |chip: Chip, image: String| {
        let image = path(&image);
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        options(chip, &image, &path("disc.iso"))
    };
    let emulators =
        chips.map(|chip| Emulator::start(1, &options(chip, format!("{chip}.img"))).unwrap());
    let machine = Machine::new(Board::Pc, 1);
    let theirs = options(Chip::Lsi53c895a, "theirs.img".to_owned());
    let theirs = machine.clone().arguments(theirs);
    // At once: each waits more than it works.
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = [0, 1].map(|index: usize| {
            let machine = machine.clone().vfio_user(&emulators[index].socket());
            scope.spawn({
                let kit = &kit;
                move || ask(kit, &machine)
            })
        });
        let theirs = ask(&kit, &theirs);
        (ours.map(std::thread::ScopedJoinHandle::join), theirs)
    });
    for ((chip, emulator), ours) in chips.iter().zip(&emulators).zip(ours) {
        let ours = ours.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert_eq!(
            emulator.log(),
            "",
            "the emulator of the {chip} has complained"
        );
        assert!(ours.len() > 200, "{chip}: only {} answers", ours.len());
        let complaints = differences(*chip).complaints(&ours, &theirs);
        assert!(
            complaints.is_empty(),
            "{chip}: not explained, or not as listed:\n{complaints}"
        );
    }
}
