//! Images that are passed as open descriptors: by each name that means one, of each kind, and those that cannot be used.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_outrigger-emulator");

/// A directory with a raw image in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.image("disk.img", 1 << 20);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn image(&self, name: &str, bytes: u64) {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(bytes).unwrap();
    }

    fn img(&self, arguments: &str) -> bool {
        let status = Command::new("qemu-img")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    /// The emulator, started by a shell in the directory with these redirections, with disks on these nodes.
    fn command(&self, redirections: &str, nodes: &[&str], export: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirections}"), PROGRAM])
            .args([
                "--log",
                "info",
                "--device",
                "lsi53c895a,id=lsi0",
                "--export",
                export,
            ]);
        for (id, node) in nodes.iter().enumerate() {
            let node = match node.strip_prefix('{') {
                Some(rest) => format!("{{\"node-name\":\"d{id}\",{rest}"),
                None => format!("{node},node-name=d{id}"),
            };
            let disk = format!("scsi-hd,drive=d{id},scsi-id={id}");
            command.args(["--blockdev", &node, "--device", &disk]);
        }
        command
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// It serves, and has these files of the directory open, so often each.
    #[track_caller]
    fn serves(&self, redirections: &str, nodes: &[&str], open: &[(&str, usize)]) -> String {
        let export = "vfio-user,device=lsi0,path=s";
        let mut child = Running(self.command(redirections, nodes, export).spawn().unwrap());
        let mut line = String::new();
        let stdout = child.0.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said = |child: &mut Running| {
            child.0.kill().unwrap();
            let mut text = String::new();
            let stderr = child.0.stderr.as_mut().unwrap();
            stderr.read_to_string(&mut text).unwrap();
            text
        };
        if line != "listening on s\n" {
            panic!("{redirections} {nodes:?}: {}", said(&mut child));
        }
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", child.0.id())).unwrap() {
            let entry = entry.unwrap();
            let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
            let target = fs::read_link(entry.path()).unwrap();
            if let (Ok(name), 3..) = (target.strip_prefix(self.0.path()), number) {
                let name = name.display().to_string().replace(" (deleted)", "");
                *found.entry(name).or_default() += 1;
            }
        }
        let open: BTreeMap<_, _> = (open.iter())
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        assert_eq!(found, open, "{redirections} {nodes:?}");
        said(&mut child)
    }

    /// It ends with exit code 2 and this line, which is about the last node unless it is about an export.
    #[track_caller]
    fn refused(&self, redirections: &str, nodes: &[&str], expected: &str) {
        let export = "vfio-user,device=lsi0,path=s";
        let output = self.command(redirections, nodes, export).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let id = nodes.len() - 1;
        let node = format!("{},node-name=d{id}", nodes[id]);
        assert_eq!(
            said,
            format!("outrigger-emulator: --blockdev {node}: {expected}\n")
        );
        assert_eq!(output.status.code(), Some(2));
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

#[test]
fn by_each_name_and_in_each_form() {
    let place = Place::new();
    symlink("/dev/fd/3", place.path("link")).unwrap();
    let disk = [("disk.img", 1)];
    for name in [
        "/dev/fd/3",
        "/proc/self/fd/3",
        "/proc/thread-self/fd/3",
        "/dev/../dev/fd/3",
        "link",
    ] {
        let node = format!("file,filename={name}");
        // What else is open by mistake is closed as ever.
        place.serves("3<>disk.img 4<disk.img 9<>disk.img", &[&node], &disk);
    }
    place.serves("8<>disk.img", &["file,filename=/dev/fd/8"], &disk);
    place.serves(
        "3<>disk.img",
        &["raw,file.driver=file,file.filename=/dev/fd/3"],
        &disk,
    );
    place.serves(
        "3<>disk.img",
        &[r#"{"driver":"file","filename":"/dev/fd/3"}"#],
        &disk,
    );
    place.serves(
        "3<>disk.img",
        &["file,filename=/dev/fd/3,aio=threads"],
        &disk,
    );
    // For reading, both kinds will do.
    for redirection in ["3<disk.img", "3<>disk.img"] {
        place.serves(
            redirection,
            &["file,filename=/dev/fd/3,read-only=on"],
            &disk,
        );
    }
    // Standard ones stay open, as they are.
    place.serves("<>disk.img", &["file,filename=/dev/stdin"], &disk);
    place.serves(
        "<disk.img",
        &["file,filename=/dev/fd/0,read-only=on"],
        &disk,
    );
}

#[test]
fn a_deleted_file() {
    let place = Place::new();
    let script = "exec 3<>disk.img; rm disk.img; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            script,
            PROGRAM,
            "--blockdev",
            "file,node-name=d,filename=/dev/fd/3",
        ])
        .args([
            "--device",
            "lsi53c895a,id=lsi0",
            "--device",
            "scsi-hd,drive=d",
        ])
        .args(["--export", "vfio-user,device=lsi0,path=s"])
        .current_dir(place.0.path())
        .stdout(Stdio::piped());
    let mut child = Running(command.spawn().unwrap());
    let mut line = String::new();
    let stdout = child.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "listening on s\n");
}

#[test]
fn formats_chains_and_files_beside() {
    let place = Place::new();
    if !place.img("create -f qcow2 -b disk.img -F raw middle.qcow2") {
        outrigger_skip::skipped("qemu-img is not installed");
        return;
    }
    assert!(place.img("create -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2"));
    let chain = [("disk.img", 1), ("middle.qcow2", 1), ("top.qcow2", 1)];
    // What an image names is beside its own file, and not in /dev/fd.
    let top = "qcow2,file.driver=file,file.filename=/dev/fd/3";
    place.serves("3<>top.qcow2", &[top], &chain);
    place.serves("3<>top.qcow2", &[&format!("{top},cache.direct=on")], &chain);
    let given = format!(
        "{top},backing.driver=qcow2,backing.file.driver=file,backing.file.filename=/dev/fd/4,\
         backing.backing.driver=file,backing.backing.filename=/dev/fd/5"
    );
    place.serves("3<>top.qcow2 4<middle.qcow2 5<disk.img", &[&given], &chain);
    place.refused(
        "3<>top.qcow2 5<disk.img",
        &[&given],
        "cannot use '/dev/fd/4': descriptor 4 is not open; let the parent leave the image open under that number",
    );
    assert!(place.img("create -f qcow2 -o data_file=data.raw split.qcow2 1M"));
    let split = [("split.qcow2", 1), ("data.raw", 1)];
    place.serves("3<>split.qcow2", &[top], &split);
    let given = format!("{top},data-file.driver=file,data-file.filename=/dev/fd/4");
    place.serves("3<>split.qcow2 4<>data.raw", &[&given], &split);
    assert!(place.img("convert -f raw -O vmdk -o subformat=monolithicFlat disk.img disk.vmdk"));
    let vmdk = "vmdk,read-only=on,file.driver=file,file.filename=/dev/fd/3";
    // Only the extent is needed any more.
    place.serves("3<disk.vmdk", &[vmdk], &[("disk-flat.vmdk", 1)]);

    // By its own word an image reaches no descriptor.
    assert!(place.img("create -u -f qcow2 -b /dev/fd/4 -F raw top.qcow2 1M"));
    place.refused(
        "3<>top.qcow2 4<disk.img",
        &[top],
        "cannot use '/dev/fd/3': the backing file '/dev/fd/4' means a descriptor; name a node by backing",
    );
}

#[test]
fn unfit_descriptors_are_one_line() {
    let place = Place::new();
    let raw = "file,filename=/dev/fd/3";
    let check = |redirection: &str, expected: &str| {
        place.refused(
            redirection,
            &[raw],
            &format!("cannot use '/dev/fd/3': descriptor 3 {expected}"),
        );
    };
    let both = "open it for both, such as by 3<>FILE in a shell";
    check(
        "",
        "is not open; let the parent leave the image open under that number",
    );
    check(
        "3<disk.img",
        &format!("is open for reading only; {both}, or add read-only=on"),
    );
    check("3>disk.img", &format!("is open for writing only; {both}"));
    let mend = "pass a file or block device";
    check("3<&0", &format!("is a character device; {mend}"));
    check("3<.", &format!("is a directory; {mend}"));
    let fifo = place.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    check("3<>fifo", &format!("is a pipe; {mend}"));
    // A pipe by its name must not make it wait either.
    let by_name = format!("file,filename={},read-only=on", fifo.display());
    place.refused(
        "",
        &[&by_name],
        &format!(
            "cannot use '{}': not a regular file or block device; name a file or block device",
            fifo.display()
        ),
    );
    place.image("disk.img", 0);
    place.refused(
        "3<>disk.img",
        &[raw],
        "cannot use '/dev/fd/3': the image is empty; give it a size, such as with truncate -s 64M",
    );
}

#[test]
fn one_descriptor_has_one_writer() {
    let place = Place::new();
    let raw = "file,filename=/dev/fd/3";
    let reading = "file,filename=/dev/fd/3,read-only=on";
    for nodes in [[raw, raw], [reading, raw], [raw, reading]] {
        place.refused(
            "3<>disk.img",
            &nodes,
            "cannot use '/dev/fd/3': descriptor 3 is used by another node; \
             leave one out, or add read-only=on to both",
        );
    }
    place.serves("3<>disk.img", &[reading, reading], &[("disk.img", 2)]);
    // Two descriptors of one file are told apart by their locks.
    place.refused(
        "3<>disk.img 4<>disk.img",
        &[raw, "file,filename=/dev/fd/4"],
        "cannot use '/dev/fd/4': another process uses it; \
         stop the other one, or add locking=off to the file if that is safe",
    );
    let unlocked = "file,filename=/dev/fd/3,locking=off";
    place.serves("3<>disk.img", &[unlocked, unlocked], &[("disk.img", 2)]);

    let export = "vfio-user,device=lsi0,fd=3";
    let output = place
        .command("3<>disk.img", &[raw], export)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "outrigger-emulator: --blockdev {raw},node-name=d0: descriptor 3 is an export's socket; \
             pass the image under another number\n"
        )
    );
}

/// An image that the process may not open itself: whoever passes it has opened it.
#[test]
fn without_permission_for_the_path() {
    let place = Place::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if geteuid().is_root() {
                // A program that root starts has all that is in this set.
                for set in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
                    remove_capability_from_bounding_set(set).unwrap();
                }
            }
            let file = File::options()
                .read(true)
                .write(true)
                .open(place.path("disk.img"));
            let file = file.unwrap();
            fs::set_permissions(place.path("disk.img"), Permissions::from_mode(0o0)).unwrap();
            let with_it = |node: &str| {
                let mut command =
                    place.command("3<&0 0</dev/null", &[node], "vfio-user,device=lsi0,path=s");
                command.stdin(file.try_clone().unwrap());
                command
            };
            let mut child = Running(with_it("file,filename=/dev/fd/3").spawn().unwrap());
            let mut line = String::new();
            let stdout = child.0.stdout.take().unwrap();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            assert_eq!(line, "listening on s\n");
            child.0.kill().unwrap();
            let mut said = String::new();
            child
                .0
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            assert!(
                said.contains("descriptor 3 cannot be opened again"),
                "{said}"
            );

            let direct = with_it("file,filename=/dev/fd/3,cache.direct=on")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&direct.stderr).into_owned();
            assert!(said.contains("leave out cache.direct"), "{said}");
            assert_eq!(direct.status.code(), Some(2));
        });
    });
}
