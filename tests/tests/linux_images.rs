//! Linux on images in several formats, which QEMU's own tools then find sound and equal to their raw twins.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use outrigger_tests::guest::{Board, Emulator, Kit, Machine};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const SCRIPT: &str = include_str!("linux/images.sh");
const SIZE: usize = 16 << 20;
/// The last disk's size at the end.
const GROWN: u64 = 24 << 20;

/// A directory of images, and QEMU's tools.
struct Images<'a> {
    kit: &'a Kit,
    place: TempDir,
}

impl Images<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.kit.program(program).unwrap();
        command.args(arguments).current_dir(&self.place);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn img(&self, arguments: &str) {
        self.run("qemu-img", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// Two images on a compressed one, each with data of its own; the checksum of what they make together.
    fn make_chain(&self) -> String {
        let mut text = String::new();
        for number in 0..SIZE / 16 {
            writeln!(text, "sector {number:08x}").unwrap();
        }
        fs::write(self.path("text.raw"), &text.as_bytes()[..SIZE]).unwrap();
        self.img("convert -c -f raw -O qcow2 text.raw compressed.qcow2");
        let file = fs::metadata(self.path("compressed.qcow2")).unwrap();
        assert!(file.len() < SIZE as u64 / 2, "it is not compressed");
        self.img("create -q -f qcow2 -b compressed.qcow2 -F qcow2 middle.qcow2");
        let write = [
            "-f",
            "qcow2",
            "-c",
            "write -P 0x5a 1000k 3M",
            "middle.qcow2",
        ];
        self.run("qemu-io", &write);
        self.img("create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2");
        self.img("convert -f qcow2 -O raw top.qcow2 expected.raw");
        let digest = Sha256::digest(fs::read(self.path("expected.raw")).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The options of two controllers, one of each chip, with the disks between them, in each of the forms that nodes can be given in.
    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let chain = serde_json::json!({
            "driver": "qcow2",
            "node-name": "chain",
            "file": {"driver": "file", "filename": path("top.qcow2")},
            "backing": {
                "driver": "qcow2",
                "file": {"driver": "file", "filename": path("middle.qcow2")},
            },
        });
        let nodes = [
            format!("driver=file,node-name=twin,filename={}", path("twin.raw")),
            format!(
                "driver=qcow2,node-name=plain,file.driver=file,file.filename={}",
                path("plain.qcow2")
            ),
            chain.to_string(),
            format!("driver=file,node-name=below,filename={}", path("own.qcow2")),
            "driver=qcow2,node-name=own,file=below".to_owned(),
            format!(
                "driver=raw,node-name=trimmed,file.driver=file,file.filename={}",
                path("trimmed.raw")
            ),
        ];
        let units = (0..).zip(["twin", "plain", "chain", "own", "trimmed"]);
        let devices = units
            .map(|(id, name)| format!("scsi-hd,bus=lsi{}.0,scsi-id={id},drive={name}", id % 2));
        let mut options: Vec<_> = (nodes.into_iter())
            .flat_map(|node| ["--blockdev".to_owned(), node])
            .collect();
        let controllers = ["lsi53c810,id=lsi0", "lsi53c895a,id=lsi1"].map(str::to_owned);
        let devices = controllers.into_iter().chain(devices);
        options.extend(devices.flat_map(|device| ["--device".to_owned(), device]));
        options
    }
}

/// Bytes that the file takes on the host's disk.
fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn linux_uses_images_of_every_format() {
    let kit = Kit::open().unwrap();
    let images = Images {
        kit: &kit,
        place: tempfile::tempdir().unwrap(),
    };
    let sum = images.make_chain();
    images.img("create -q -f qcow2 plain.qcow2 16M");
    images.img("convert -c -f raw -O qcow2 text.raw own.qcow2");
    let twin = File::create(images.path("twin.raw")).unwrap();
    twin.set_len(3 * SIZE as u64).unwrap();
    let trimmed = images.path("trimmed.raw");
    fs::write(&trimmed, vec![0xee; SIZE]).unwrap();
    assert!(allocated(&trimmed) >= SIZE as u64);

    let emulator = Emulator::start(2, &images.options()).unwrap();
    let script = format!("CHAIN={sum}\nGROWN={}\n{SCRIPT}", GROWN / 512);
    let mut machine = Machine::new(Board::Pc, 2);
    for socket in emulator.sockets() {
        machine = machine.vfio_user(socket);
    }
    let mut running = machine.run_script(&kit, &script).unwrap();
    running.next_result("grow").unwrap();
    let file = File::options().write(true).open(&trimmed).unwrap();
    file.set_len(GROWN).unwrap();
    let id = Pid::from_raw(emulator.id().try_into().unwrap()).unwrap();
    kill_process(id, Signal::HUP).unwrap();
    let transcript = running.finish().unwrap();
    assert_eq!(transcript.verdicts(&["grow"]), 12, "{transcript}");
    assert_eq!(emulator.log(), "", "the emulator has complained");
    drop(emulator);

    let left = allocated(&trimmed);
    assert!(left < 4 << 20, "{left} bytes are left");
    let end = fs::read(&trimmed).unwrap();
    assert_eq!(end.len() as u64, GROWN);
    assert_ne!(end[end.len() - 512..], [0; 512]);
    let twins = fs::read(images.path("twin.raw")).unwrap();
    let twins = twins.chunks(SIZE);
    for (name, twin) in ["plain.qcow2", "top.qcow2", "own.qcow2"].iter().zip(twins) {
        fs::write(images.path("part.raw"), twin).unwrap();
        images.img(&format!("check -q -f qcow2 {name}"));
        images.img(&format!("compare -q -f qcow2 -F raw {name} part.raw"));
    }
    // Nobody has written to what the others stand on.
    images.img("check -q -f qcow2 compressed.qcow2");
    images.img("compare -q -f qcow2 -F raw compressed.qcow2 text.raw");
    images.img("compare -q -f qcow2 -F raw middle.qcow2 expected.raw");
}
