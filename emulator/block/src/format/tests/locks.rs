//! Two users of one image: this process, another one, and QEMU's tools.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::*;
use crate::tests::tools::none_starts;

const WRITER: FormatOptions = FormatOptions {
    locking: Locking::On,
    ..READ_WRITE
};
const READER: FormatOptions = FormatOptions {
    locking: Locking::On,
    ..READ_ONLY
};

#[test]
fn one_writes_or_many_read() {
    let _alone = none_starts();
    let folder = Folder::without_tools();
    std::fs::write(folder.path("disk.raw"), [0; 4096]).unwrap();
    let open = |options| ImageFile::open(&folder.path("disk.raw"), options);
    let held = |outcome: Result<ImageFile, FormatError>| match outcome {
        Err(FormatError::Locked(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let writer = open(WRITER).unwrap();
    assert_eq!(held(open(WRITER)), "another process uses it");
    assert_eq!(held(open(READER)), "another process writes it");
    open(FormatOptions {
        locking: Locking::Off,
        ..WRITER
    })
    .unwrap();
    drop(writer);
    let reader = open(READER).unwrap();
    let second = open(READER).unwrap();
    assert_eq!(held(open(WRITER)), "another process uses it");
    drop((reader, second));
    open(WRITER).unwrap();
}

#[test]
fn qemu_finds_our_locks_and_we_find_its() {
    let Some(folder) = Folder::new() else { return };
    // One for each case: no lock that has been left is looked for.
    for name in ["a", "b", "c"] {
        folder.img(&format!("create -q -f qcow2 {name}.qcow2 1M"));
    }
    let ours = folder.backend("a.qcow2", WRITER);
    let theirs = folder.try_run("qemu-img", "check -f qcow2 a.qcow2");
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(!theirs.status.success() && said.contains("lock"), "{said}");
    drop(ours);

    let ours = folder.backend("b.qcow2", READER);
    folder.img("info b.qcow2");
    let theirs = folder.try_run("qemu-img", "resize -f qcow2 b.qcow2 2M");
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(!theirs.status.success() && said.contains("lock"), "{said}");
    drop(ours);

    let mut server = Command::new("qemu-nbd");
    server
        .args(["-f", "qcow2", "-t", "-k"])
        .args([folder.path("socket").to_str().unwrap(), "c.qcow2"])
        .current_dir(folder.0.path());
    let mut theirs = spawn(&mut server).unwrap();
    let mut client = loop {
        match UnixStream::connect(folder.path("socket")) {
            Ok(client) => break client,
            Err(_) => assert_eq!(theirs.try_wait().unwrap(), None),
        }
        std::thread::yield_now();
    };
    // It greets when it has the image.
    client.read_exact(&mut [0; 8]).unwrap();
    let writing = folder.qcow2("c.qcow2", WRITER);
    let reading = folder.qcow2("c.qcow2", READER);
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    assert!(
        matches!(writing, Err(FormatError::Locked(_))),
        "{writing:?}"
    );
    assert!(
        matches!(reading, Err(FormatError::Locked(_))),
        "{reading:?}"
    );
}

/// An image that stands on itself is named as that, and not as one that somebody else has locked.
#[test]
fn a_loop_is_seen_before_its_lock() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -u -f qcow2 -b ./self.qcow2 -F qcow2 self.qcow2 1M");
    let refused = folder.qcow2("self.qcow2", WRITER);
    assert!(matches!(refused, Err(FormatError::Loop)), "{refused:?}");
}
