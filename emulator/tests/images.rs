//! Images that the process refuses, each with one line and exit code 2, and those that it takes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger-emulator");

/// A directory for images; `None`, and it says so, where there is no `qemu-img`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Option<Self> {
        let folder = Self(tempfile::tempdir().unwrap());
        if folder.img("--version") {
            return Some(folder);
        }
        outrigger_skip::skipped("qemu-img is not installed");
        None
    }

    fn img(&self, arguments: &str) -> bool {
        Command::new("qemu-img")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command with one disk, whose node's options these are; `@` stands for the directory.
    fn command(&self, blockdev: &str) -> (Command, String) {
        let blockdev = blockdev.replace('@', &self.0.path().display().to_string());
        let export = format!("vfio-user,device=lsi0,path={}", self.path("s").display());
        let mut command = Command::new(PROGRAM);
        command
            .args(["--blockdev", &blockdev, "--device", "lsi53c895a,id=lsi0"])
            .args(["--device", "scsi-hd,drive=d", "--export", &export])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        (command, blockdev)
    }

    #[track_caller]
    fn refused(&self, blockdev: &str, expected: &str) {
        let (mut command, blockdev) = self.command(blockdev);
        let output = command.output().unwrap();
        let directory = self.0.path().display().to_string();
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "outrigger-emulator: --blockdev {blockdev}: {}\n",
                expected.replace('@', &directory)
            )
        );
        assert_eq!(output.status.code(), Some(2));
    }

    /// A process that serves the disk.
    #[track_caller]
    fn serves(&self, blockdev: &str) -> Running {
        let _ = std::fs::remove_file(self.path("s"));
        let mut child = self.command(blockdev).0.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on "), "{line}");
        Running(child)
    }
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const QCOW2: &str = "qcow2,node-name=d,file.driver=file,file.filename=@/disk.qcow2";

#[test]
fn an_image_has_one_user() {
    let Some(folder) = Folder::new() else { return };
    assert!(folder.img("create -f qcow2 disk.qcow2 8M"));
    assert!(folder.img("create -f raw disk.raw 8M"));
    let raw = "file,node-name=d,filename=@/disk.raw";
    for (blockdev, name, format, off) in [
        (QCOW2, "disk.qcow2", "qcow2", "file.locking=off"),
        (raw, "disk.raw", "raw", "locking=off"),
    ] {
        let first = folder.serves(blockdev);
        let mend = "stop the other one, or add locking=off to the file if that is safe";
        folder.refused(
            blockdev,
            &format!("cannot use '@/{name}': another process uses it; {mend}"),
        );
        folder.refused(
            &format!("{blockdev},read-only=on"),
            &format!("cannot use '@/{name}': another process writes it; {mend}"),
        );
        assert!(!folder.img(&format!("resize -f {format} {name} 16M")));
        drop(folder.serves(&format!("{blockdev},{off}")));
        drop(first);
        drop(folder.serves(blockdev));
        let readers = [(); 2].map(|()| folder.serves(&format!("{blockdev},read-only=on")));
        drop(readers);
    }
}

#[test]
fn bad_images_are_one_line() {
    let Some(folder) = Folder::new() else { return };
    let cannot = "cannot use '@/disk.qcow2': ";
    std::fs::write(folder.path("disk.qcow2"), [0; 4096]).unwrap();
    folder.refused(
        QCOW2,
        &format!("{cannot}it is not a qcow2 image; choose another driver"),
    );
    assert!(folder.img("create -f qcow2 disk.qcow2 64M"));
    let bytes = std::fs::read(folder.path("disk.qcow2")).unwrap();
    std::fs::write(folder.path("disk.qcow2"), &bytes[..70_000]).unwrap();
    folder.refused(
        QCOW2,
        &format!(
            "{cannot}the image is truncated: its L1 table would be beyond the file's end; \
             look at it with qemu-img check"
        ),
    );
    assert!(folder.img("create -u -f qcow2 -b ./disk.qcow2 -F qcow2 disk.qcow2 1M"));
    folder.refused(
        QCOW2,
        &format!("{cannot}the backing files form a loop; look at it with qemu-img info"),
    );
    assert!(folder.img("create -u -f qcow2 -b none -F raw disk.qcow2 1M"));
    folder.refused(
        QCOW2,
        &format!(
            "{cannot}backing file '@/none': No such file or directory (os error 2); \
             look at qemu-img info --backing-chain"
        ),
    );
    drop(folder.serves(&format!("{QCOW2},backing=")));
    folder.refused(
        "nbd,node-name=d,server.type=unix,server.path=@/none",
        "cannot use the server at '@/none': No such file or directory (os error 2); see whether the server runs",
    );
    drop(folder.serves("null-co,node-name=d,size=1G"));
}
