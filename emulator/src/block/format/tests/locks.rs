//! Two users of one image: this process, another one, and QEMU's tools.

use super::*;

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
    let writer = open(READ_WRITE).unwrap();
    assert_eq!(held(open(READ_WRITE)), "another process uses it");
    assert_eq!(held(open(READ_ONLY)), "another process writes it");
    open(FormatOptions {
        locking: Locking::Off,
        ..READ_WRITE
    })
    .unwrap();
    drop(writer);
    let reader = open(READ_ONLY).unwrap();
    let second = open(READ_ONLY).unwrap();
    assert_eq!(held(open(READ_WRITE)), "another process uses it");
    drop((reader, second));
    open(READ_WRITE).unwrap();
}

#[test]
fn qemu_finds_our_locks_and_we_find_its() {
    let Some(folder) = Folder::new() else { return };
    folder.img("create -q -f qcow2 disk.qcow2 1M");
    let ours = folder.backend("disk.qcow2", READ_WRITE);
    let theirs = folder.try_run("qemu-img", "check -f qcow2 disk.qcow2");
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(!theirs.status.success() && said.contains("lock"), "{said}");
    drop(ours);

    let ours = folder.backend("disk.qcow2", READ_ONLY);
    folder.img("info disk.qcow2");
    let theirs = folder.try_run("qemu-img", "resize -f qcow2 disk.qcow2 2M");
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(!theirs.status.success() && said.contains("lock"), "{said}");
    drop(ours);

    let mut server = Command::new("qemu-nbd");
    server
        .args(["-f", "qcow2", "--pid-file", "pid", "--fork", "-t"])
        .args(["-k", folder.path("socket").to_str().unwrap(), "disk.qcow2"])
        .current_dir(folder.0.path());
    let mut theirs = spawn(&mut server).unwrap();
    // It goes to the background once it is ready.
    assert!(theirs.wait().unwrap().success());
    let writing = folder.qcow2("disk.qcow2", READ_WRITE);
    let reading = folder.qcow2("disk.qcow2", READ_ONLY);
    let pid: i32 = std::fs::read_to_string(folder.path("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(
        matches!(writing, Err(FormatError::Locked(_))),
        "{writing:?}"
    );
    assert!(
        matches!(reading, Err(FormatError::Locked(_))),
        "{reading:?}"
    );
}
