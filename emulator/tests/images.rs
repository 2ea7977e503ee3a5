//! Images that the process refuses, each with one line and exit code 2, and those that it takes.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
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

/// Writes `bytes` into the file.
fn patch(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn each_refusal_says_what_helps() {
    let Some(folder) = Folder::new() else { return };
    let disk = folder.path("disk.qcow2");
    let cannot = "cannot use '@/disk.qcow2': ";
    let convert =
        "convert it: qemu-img convert -f qcow2 -O qcow2 @/disk.qcow2 @/disk.converted.qcow2";
    let repair = "repair it: qemu-img check -f qcow2 -r all @/disk.qcow2";
    let look = "look at it with qemu-img info";
    let decrypt = "convert it: qemu-img convert --object secret,id=key,file=PASSWORD_FILE --image-opts -O qcow2 \
                   driver=qcow2,encrypt.key-secret=key,file.filename=@/disk.qcow2 @/disk.converted.qcow2";
    for (at, byte, said, mend) in [
        (
            7,
            9,
            "it is qcow2 version 9, and only 2 and 3 are known",
            look,
        ),
        (35, 1, "it is encrypted", decrypt),
        (79, 1, "it was not closed cleanly", repair),
        (79, 2, "it is marked as corrupt", repair),
        (
            72,
            0x80,
            "it has unknown features (0x8000000000000000)",
            look,
        ),
        (
            23,
            60,
            "the image is corrupt: clusters of 2^60 bytes",
            "look at it with qemu-img check",
        ),
        (
            31,
            1,
            "the disk in the image, 1048577 bytes, is not a multiple of 512",
            "pad it: qemu-img resize -f qcow2 @/disk.qcow2 1049088",
        ),
        (
            29,
            0,
            "the disk in the image is empty",
            "make another image",
        ),
    ] {
        assert!(folder.img("create -f qcow2 disk.qcow2 1M"));
        patch(&disk, at, &[byte]);
        folder.refused(QCOW2, &format!("{cannot}{said}; {mend}"));
    }
    assert!(folder.img("create -f qcow2 -o compression_type=zstd disk.qcow2 1M"));
    folder.refused(
        QCOW2,
        &format!("{cannot}it is compressed by zstd; {convert}"),
    );

    let unnamed = "create -u -f qcow2 -b nbd:host:1 -F raw disk.qcow2 1M";
    assert!(folder.img(unnamed));
    folder.refused(
        QCOW2,
        &format!("{cannot}the backing file 'nbd:host:1' is not a file; name a node by backing"),
    );
    std::fs::write(folder.path("base.raw"), [0; 512]).unwrap();
    assert!(folder.img("create -u -f qcow2 -b base.raw -F raw disk.qcow2 1M"));
    // The header extension that names the format becomes one that means nothing.
    let bytes = std::fs::read(&disk).unwrap();
    let extension = [0xe2, 0x79, 0x2a, 0xca];
    let at = bytes.windows(4).position(|it| it == extension).unwrap();
    patch(&disk, at as u64, &[1, 2, 3, 4]);
    folder.refused(
        QCOW2,
        &format!(
            "{cannot}the backing file 'base.raw' has no format; \
             name it with qemu-img rebase -u -F, or by backing.driver"
        ),
    );
    let as_raw = "backing.driver=file,backing.filename=@/base.raw";
    drop(folder.serves(&format!("{QCOW2},{as_raw}")));

    folder.refused(
        &format!("{QCOW2},file.aio=io_uring"),
        "io_uring is for raw images; leave out aio",
    );
    folder.refused(
        "qcow2,node-name=d,file.driver=memory,file.size=1M",
        "an image in a format stands on a file; let its file be a node with driver=file",
    );
    assert!(folder.img("create -f vmdk sparse.vmdk 1M"));
    let vmdk = "vmdk,node-name=d,file.driver=file,file.filename=@/sparse.vmdk";
    folder.refused(vmdk, "vmdk images can only be read; add read-only=on");
    drop(folder.serves(&format!("{vmdk},read-only=on")));
    folder.refused(
        &format!("{QCOW2},data-file=@/data.raw"),
        "no data-file '@/data.raw'; known: d",
    );
}

/// What each refusal names is run as it is said; then the emulator takes the image, or its copy.
#[test]
fn the_commands_that_refusals_name_help() {
    let Some(folder) = Folder::new() else { return };
    let image = "convert -f raw -O qcow2";
    let raw = folder.path("disk.raw");
    std::fs::write(&raw, vec![0x5a; 1 << 20]).unwrap();
    std::fs::write(folder.path("PASSWORD_FILE"), "secret").unwrap();
    let secret = "--object secret,id=s,file=PASSWORD_FILE";
    let mark = |at: u64, byte: u8| patch(&folder.path("disk.qcow2"), at, &[byte]);
    let make = |arguments: String| assert!(folder.img(&arguments), "{arguments}");
    let qcow2 = |file: &str| format!("qcow2,node-name=d,file.driver=file,file.filename=@/{file}");
    let vmdk = |file: &str| {
        format!("vmdk,node-name=d,read-only=on,file.driver=file,file.filename=@/{file}")
    };
    let makers: [(&str, String, &dyn Fn()); 11] = [
        ("zstd", qcow2("disk.qcow2"), &|| {
            make(format!(
                "{image} -c -o compression_type=zstd disk.raw disk.qcow2"
            ));
        }),
        ("zstd below", qcow2("top.qcow2"), &|| {
            make(format!(
                "{image} -c -o compression_type=zstd disk.raw disk.qcow2"
            ));
            make("create -f qcow2 -b disk.qcow2 -F qcow2 middle.qcow2".to_owned());
            make("create -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2".to_owned());
        }),
        ("another format below", qcow2("top.qcow2"), &|| {
            make("convert -f raw -O vdi disk.raw disk.vdi".to_owned());
            make("create -f qcow2 -b disk.vdi -F vdi top.qcow2".to_owned());
        }),
        ("extended L2", qcow2("disk.qcow2"), &|| {
            make(format!("{image} -o extended_l2=on disk.raw disk.qcow2"));
        }),
        ("a name with spaces", qcow2("it's a disk.qcow2"), &|| {
            make(format!("{image} -o extended_l2=on disk.raw disk.qcow2"));
            std::fs::rename(folder.path("disk.qcow2"), folder.path("it's a disk.qcow2")).unwrap();
        }),
        ("luks", qcow2("disk.qcow2"), &|| {
            let luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1";
            make(format!("create {secret} -f qcow2 -o {luks} disk.qcow2 1M"));
            make(format!(
                "convert {secret} -n -f raw --target-image-opts disk.raw \
                 driver=qcow2,encrypt.key-secret=s,file.filename=disk.qcow2"
            ));
        }),
        ("not closed", qcow2("disk.qcow2"), &|| {
            make(format!("{image} -o lazy_refcounts=on disk.raw disk.qcow2"));
            mark(79, 1);
        }),
        ("marked as corrupt", qcow2("disk.qcow2"), &|| {
            make(format!("{image} disk.raw disk.qcow2"));
            mark(79, 2);
        }),
        ("odd size", qcow2("disk.qcow2"), &|| {
            make("create -f qcow2 disk.qcow2 1048576".to_owned());
            mark(31, 1);
        }),
        ("differences", vmdk("top.vmdk"), &|| {
            make("convert -f raw -O vmdk disk.raw base.vmdk".to_owned());
            make("create -f vmdk -b base.vmdk -F vmdk top.vmdk".to_owned());
        }),
        (
            "odd raw",
            "file,node-name=d,filename=@/odd.raw".to_owned(),
            &|| {
                std::fs::write(folder.path("odd.raw"), [1; 1000]).unwrap();
            },
        ),
    ];
    for (name, blockdev, make) in makers {
        make();
        let (mut command, _) = folder.command(&blockdev);
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        let (_, command) = said.trim_end().rsplit_once(" it: ").expect(&said);
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(folder.0.path());
        let output = shell.output().unwrap();
        // A check that has repaired something says so by its exit code.
        let repaired = command.contains(" check ") && output.status.code() == Some(2);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || repaired,
            "{name}: {command}: {errors}"
        );
        let copied = command.contains("converted.qcow2");
        let blockdev = match copied {
            true => {
                let file = blockdev.rsplit_once('/').unwrap().1;
                let stem = file.rsplit_once('.').unwrap().0;
                qcow2(&format!("{stem}.converted.qcow2"))
            }
            false => blockdev,
        };
        drop(folder.serves(&blockdev));
        if copied {
            let file = blockdev.rsplit_once('/').unwrap().1;
            let compared = Command::new("qemu-img")
                .args(["compare", "-f", "qcow2", "-F", "raw", file, "disk.raw"])
                .current_dir(folder.0.path())
                .stdout(Stdio::null())
                .status();
            assert!(compared.unwrap().success(), "{name}");
        }
    }
}

#[test]
fn nested_and_json_nodes_are_the_same() {
    let Some(folder) = Folder::new() else { return };
    assert!(folder.img("create -f qcow2 disk.qcow2 8M"));
    assert!(folder.img("create -f raw disk.raw 8M"));
    let nested = "raw,node-name=d,file.driver=file,file.filename=@/disk.raw,file.locking=on";
    drop(folder.serves(nested));
    for json in [
        r#"{"driver":"qcow2","node-name":"d","file":{"driver":"file","filename":"@/disk.qcow2"}}"#,
        r#"{"driver":"qcow2","node-name":"d","file.driver":"file","file.filename":"@/disk.qcow2","backing":null}"#,
        r#"{"driver":"file","node-name":"d","filename":"@/disk.raw","read-only":true,"cache":{"direct":false}}"#,
    ] {
        drop(folder.serves(json));
    }
    folder.refused(
        r#"{"driver":"qcow2","node-name":"d","file":{"driver":"file","filename":"@/none"}}"#,
        "cannot open '@/none': there is no such file; check filename",
    );
    folder.refused(
        r#"{"driver":"qcow2","node-name":"d","file":{"driver":"file"}}"#,
        "in 'file': no 'filename'; add filename=disk.img",
    );
    folder.refused(r#"{"driver":"qcow2","node-name":"d""#, "bad JSON: EOF while parsing an object at line 1 column 33; give one object of strings, numbers, true and false");
}
