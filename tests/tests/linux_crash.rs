//! Linux writes and flushes records when the emulator or the machine is killed: those that it has acknowledged are in the images.

use std::fs::{self, File};
use std::path::Path;

use outrigger_tests::emulator::Chip;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine};

const SCRIPT: &str = include_str!("linux/crash.sh");
const RECORD: usize = 4096;
/// How many records are acknowledged, on both disks together, before the kill.
const RECORDS: usize = 30;

/// What the script writes.
fn record(round: usize, number: usize) -> Vec<u8> {
    let line = format!("round {round} record {number}\n");
    line.bytes().cycle().take(RECORD).collect()
}

/// Runs one of QEMU's tools; its exit code.
fn img(kit: &Kit, directory: &Path, arguments: &str) -> Option<i32> {
    let mut command = kit.program("qemu-img").unwrap();
    command.args(arguments.split(' ')).current_dir(directory);
    command.output().unwrap().status.code()
}

#[test]
fn what_linux_has_flushed_survives() {
    let kit = Kit::open().unwrap();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path();
    let raw = directory.join("disk.raw");
    File::create(&raw).unwrap().set_len(16 << 20).unwrap();
    let create = "create -q -f qcow2 disk.qcow2 16M";
    assert_eq!(img(&kit, directory, create), Some(0));
    let qcow2 = directory.join("disk.qcow2");
    let nodes = [
        "--blockdev".to_owned(),
        format!("driver=file,node-name=raw,filename={}", raw.display()),
        "--blockdev".to_owned(),
        format!(
            "driver=qcow2,node-name=qcow2,file.driver=file,file.filename={}",
            qcow2.display()
        ),
    ];
    // One chip for each image, and the other way round in the second round.
    let (wide, narrow) = (Chip::Lsi53c895a, Chip::Lsi53c810);
    for (round, emulator_first, chips) in [(1, true, [wide, narrow]), (2, false, [narrow, wide])] {
        let mut options = nodes.to_vec();
        for (id, (chip, node)) in chips.iter().zip(["raw", "qcow2"]).enumerate() {
            options.extend([
                "--device".to_owned(),
                format!("{chip},id=lsi{id}"),
                "--device".to_owned(),
                format!("scsi-hd,bus=lsi{id}.0,scsi-id={id},drive={node}"),
            ]);
        }
        let emulator = Emulator::start(2, &options).unwrap();
        let mut machine = Machine::new(Board::Pc, 2);
        for socket in emulator.sockets() {
            machine = machine.vfio_user(socket);
        }
        let mut running = machine
            .run_script(&kit, &format!("ROUND={round}\n{SCRIPT}"))
            .unwrap();
        for _ in 0..RECORDS {
            running.wait_for("RESULT acknowledged-").unwrap();
        }
        let transcript = if emulator_first {
            drop(emulator);
            running.cut_power().unwrap()
        } else {
            let transcript = running.cut_power().unwrap();
            drop(emulator);
            transcript
        };

        // 3: clusters that nothing refers to, which is all that a crash may leave.
        let checked = img(&kit, directory, "check -q -f qcow2 disk.qcow2");
        assert!(matches!(checked, Some(0 | 3)), "{checked:?}");
        let convert = "convert -f qcow2 -O raw disk.qcow2 converted.raw";
        assert_eq!(img(&kit, directory, convert), Some(0));
        for (id, image) in ["disk.raw", "converted.raw"].iter().enumerate() {
            let image = fs::read(directory.join(image)).unwrap();
            let name = format!("acknowledged-{id}");
            // The last line may have been cut short.
            let acknowledged = transcript.results().filter(|(found, _)| *found == name);
            let numbers = acknowledged.filter_map(|(_, number)| number.parse::<usize>().ok());
            let last = numbers.max().expect("a record");
            for (number, found) in image.chunks(RECORD).enumerate().take(last + 1) {
                let expected = record(round, number);
                assert!(found == expected, "{round}: {name}: {number} is lost");
            }
        }
    }
}
