//! Linux with disks of several block sizes, with and without a write cache, beyond 2 TiB, and with CD-ROM drives.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine, Transcript};
use outrigger_tests::random::pattern;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Targets 0 to 3: bytes, and what is special about them.
const DISKS: [(u64, &str); 4] = [
    (64 * MIB, ""),
    (
        48 * MIB,
        ",logical_block_size=4096,physical_block_size=4096,serial=S-4096,wwn=0x5000c50012345671,vendor=ACME,product=FOUR K,ver=4.09",
    ),
    (32 * MIB, ",physical_block_size=4096,write-cache=off"),
    (3 * TIB, ",wwn=0x5000c50012345673"),
];

fn options(chip: Chip, disks: &[impl AsRef<Path>], disc: &Path) -> Vec<String> {
    let mut options = vec!["--device".to_owned(), format!("{chip},id=lsi0")];
    let mut add = |kind: &str, target: usize, image: Option<(&Path, bool)>, more: &str| {
        let mut unit = format!("{kind},bus=lsi0.0,scsi-id={target}{more}");
        if let Some((path, read_only)) = image {
            let node = format!("node{target}");
            unit += &format!(",drive={node}");
            let file = serde_json::json!({
                "driver": "file", "node-name": node, "filename": path, "read-only": read_only, "discard": "unmap",
            });
            options.extend(["--blockdev".to_owned(), file.to_string()]);
        }
        options.extend(["--device".to_owned(), unit]);
    };
    for (target, (path, (_, more))) in disks.iter().zip(DISKS).enumerate() {
        add("scsi-hd", target, Some((path.as_ref(), false)), more);
    }
    add("scsi-cd", 4, Some((disc, true)), "");
    add("scsi-cd", 5, None, "");
    options
}

/// What is in the image there.
fn read(image: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open(image)
        .unwrap()
        .read_exact_at(&mut bytes, offset)
        .unwrap();
    bytes
}

/// How the names of those results begin that are facts, not verdicts.
const FACTS: [&str; 7] = [
    "blocks-",
    "write-cache-",
    "depth-",
    "names-",
    "wwid-",
    "serial",
    "empty-sense",
];

fn expect_facts(transcript: &Transcript) {
    for (name, value) in [
        ("blocks-0", "131072 512 512"),
        ("blocks-1", "98304 4096 4096"),
        ("blocks-2", "65536 512 4096"),
        ("blocks-3", "6442450944 512 512"),
        ("write-cache-0", "write back"),
        ("write-cache-1", "write back"),
        ("write-cache-2", "write through"),
        ("write-cache-3", "write back"),
        ("write-cache-type", "write through"),
        ("names-0", "OUTRIGGR|SCSI DISK|1|"),
        ("names-1", "ACME|FOUR K|4.09|"),
        ("serial", "S-4096"),
        ("wwid-1", "naa.5000c50012345671"),
        ("wwid-3", "naa.5000c50012345673"),
        (
            "empty-sense",
            "Additional sense: Medium not present - tray closed",
        ),
    ] {
        assert_eq!(
            transcript.result(name),
            Some(value.trim_end()),
            "{name}:\n{transcript}"
        );
    }
    for target in 0..DISKS.len() {
        let depth = transcript.result(&format!("depth-{target}"));
        assert_eq!(depth, Some("64"), "{transcript}");
    }
}

fn linux_uses_units_of_all_kinds(chip: Chip) {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let disks = DISKS.map(|(bytes, _)| {
        let path = path(&format!("disk-{bytes}.img"));
        File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    });
    let files = path("files");
    fs::create_dir_all(files.join("deep/er")).unwrap();
    let contents = [
        ("readme", b"a disc with three files\n".to_vec()),
        ("A long name, with spaces.data", pattern(3_000_000)),
        ("deep/er/file", b"at the end of a path\n".to_vec()),
    ];
    for (name, bytes) in &contents {
        fs::write(files.join(name), bytes).unwrap();
    }
    fs::copy(files.join("readme"), files.join("copy")).unwrap();
    let disc = path("disc.iso");
    kit.iso(&files, &disc).unwrap();

    let emulator = Emulator::start(1, &options(chip, &disks, &disc)).unwrap();
    let transcript = Machine::new(Board::Q35, 1)
        .vfio_user(&emulator.socket())
        .run_script(&kit, include_str!("linux/units.sh"))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(transcript.verdicts(&FACTS), 38, "{transcript}");
    expect_facts(&transcript);

    for (target, block) in [(1, 4096), (3, 512)] {
        let end = read(&disks[target], DISKS[target].0 - block, 11);
        assert_eq!(end, b"the end of ", "disk {target}");
    }
    assert_eq!(
        read(&disks[3], 2 * TIB - 512, 1024),
        "edge\n".repeat(205).as_bytes()[..1024]
    );
    let written = fs::metadata(&disks[3]).unwrap().blocks() * 512;
    assert!(written < 64 * MIB, "{written} bytes of a sparse image");
    let zeroes = vec![0; 8 << 20];
    assert!(
        read(&disks[0], 4 * MIB, 8 << 20) == zeroes,
        "what was given back is there"
    );
    let held = fs::metadata(&disks[0]).unwrap().blocks() * 512;
    assert!(
        held <= 56 * MIB,
        "{held} of 64 MiB are held after 8 were given back"
    );

    let wanted = contents.map(|(_, bytes)| bytes).concat();
    assert!(
        read(&disks[0], 32 * MIB, wanted.len()) == wanted,
        "the files differ"
    );
    let wanted = fs::read(&disc).unwrap();
    assert!(
        read(&disks[0], 48 * MIB, wanted.len()) == wanted,
        "the disc differs"
    );
    assert_eq!(emulator.log(), "", "the emulator has complained");
}

#[test]
fn linux_uses_units_of_all_kinds_on_the_53c895a() {
    linux_uses_units_of_all_kinds(Chip::Lsi53c895a);
}

#[test]
fn linux_uses_units_of_all_kinds_on_the_53c810() {
    linux_uses_units_of_all_kinds(Chip::Lsi53c810);
}
