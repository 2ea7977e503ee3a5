//! What the process answers bad options with.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::{LSI, Place, output, with_inherited};

/// Answers with exactly this line, and exit code 2.
#[track_caller]
fn refused(arguments: &[String], expected: &str) {
    let output = output(arguments);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("outrigger-emulator: {expected}\n")
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn descriptors_that_cannot_be_served() {
    let place = Place::new();
    let export = "vfio-user,device=lsi0,fd=7";
    let arguments = place.arguments(&place.blockdev(""), export);
    let mend = "let the parent leave a UNIX stream socket open under that number";
    let expect = |why: &str| format!("--export {export}: cannot serve descriptor 7: {why}; {mend}");
    refused(&arguments, &expect("Bad file descriptor (os error 9)"));

    let datagram = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unfit: [(OwnedFd, &str); 3] = [
        (
            File::open("/dev/null").unwrap().into(),
            "it is not a socket",
        ),
        (datagram.into(), "it is not a stream socket"),
        (tcp.into(), "it is not a UNIX socket"),
    ];
    for (fd, why) in unfit {
        let mut emulator = with_inherited(fd, &arguments);
        let mut errors = String::new();
        emulator
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert_eq!(errors, format!("outrigger-emulator: {}\n", expect(why)));
        assert_eq!(emulator.child.wait().unwrap().code(), Some(2));
    }
}

#[test]
fn images_that_cannot_be_used() {
    let place = Place::new();
    let check = |name: &str, more: &str, expected: &str| {
        let path = place.path(name);
        let expected = expected.replace('%', &format!("%512 {}", path.display()));
        let blockdev = format!("file,node-name=disk0,filename={}{more}", path.display());
        let expected = expected.replace('@', &format!("'{}'", path.display()));
        refused(
            &place.arguments(&blockdev, &place.export("s")),
            &format!("--blockdev {blockdev}: {expected}"),
        );
    };
    check(
        "none.img",
        "",
        "cannot open @: there is no such file; check filename",
    );
    check(
        "",
        "",
        "cannot open @: it is a directory; name a file or block device",
    );
    check(
        "",
        ",read-only=on",
        "cannot use @: not a regular file or block device; name a file or block device",
    );
    place.image("empty.img", 0);
    check(
        "empty.img",
        "",
        "cannot use @: the image is empty; give it a size, such as with truncate -s 64M",
    );
    place.image("odd.img", 1000);
    check(
        "odd.img",
        "",
        "cannot use @: the image's size, 1000 bytes, is not a multiple of 512; pad it: truncate -s %",
    );
    assert!(
        !place.path("s").exists(),
        "nothing listens where nothing can be served"
    );

    place.image("odd4k.img", 4096 + 512);
    let blockdev = format!(
        "file,node-name=disk0,filename={}",
        place.path("odd4k.img").display()
    );
    let disk = "scsi-hd,drive=disk0,logical_block_size=4096";
    let arguments = [
        "--blockdev",
        &blockdev,
        "--device",
        LSI,
        "--device",
        disk,
        "--export",
        &place.export("s"),
    ];
    refused(
        &arguments.map(str::to_owned),
        &format!(
            "--device {disk}: a medium of 4608 bytes is not a whole number of blocks of 4096; pad the image, or change logical_block_size"
        ),
    );
}

#[test]
fn an_image_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    fs::set_permissions(place.path("disk.img"), fs::Permissions::from_mode(0o0)).unwrap();
    let path = place.path("disk.img");
    let check = |more: &str, expected: &str| {
        let blockdev = place.blockdev(more);
        let expected = format!(
            "--blockdev {blockdev}: cannot open '{}': {expected}",
            path.display()
        );
        refused(&place.arguments(&blockdev, &place.export("s")), &expected);
    };
    as_permissions_say(|| {
        check(
            "",
            "no permission to read and write it; change its permissions, or add read-only=on",
        );
        check(
            ",read-only=on",
            "no permission to read it; change its permissions",
        );
    });
}

/// Calls `test` on a thread whose child processes may open what permissions let them open, though they be root's.
fn as_permissions_say(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if geteuid().is_root() {
                // A program that root starts has all that is in this set.
                for ignores_permissions in
                    [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH]
                {
                    remove_capability_from_bounding_set(ignores_permissions).unwrap();
                }
            }
            test();
        });
    });
}

#[test]
fn socket_paths_that_cannot_be_used() {
    let place = Place::new();
    let check = |path: &Path, expected: &str| {
        let export = format!("vfio-user,device=lsi0,path={}", path.display());
        refused(
            &place.arguments(&place.blockdev(""), &export),
            &format!(
                "--export {export}: cannot listen on '{}': {expected}",
                path.display()
            ),
        );
    };
    check(
        &place.path("no/such"),
        "there is no such directory; create it, or choose another path",
    );
    check(
        &place.path("disk.img"),
        "there is something that is not a socket; choose another path, or remove what is there",
    );
    let live = UnixListener::bind(place.path("live")).unwrap();
    check(
        &place.path("live"),
        "another process does; choose another path, or stop that process",
    );
    drop(live);
}

#[test]
fn options_are_answered_in_one_line() {
    let place = Place::new();
    let arguments = |extra: &[&str]| {
        let mut all = place.arguments(&place.blockdev(""), &place.export("s"));
        all.extend(extra.iter().map(|it| (*it).to_owned()));
        all
    };
    refused(
        &arguments(&["--device", "scsi-hd,drve=disk0"]),
        "--device scsi-hd,drve=disk0: no key 'drve'; did you mean 'drive'?",
    );
    refused(
        &arguments(&["--colour"]),
        "unexpected argument '--colour' found; see -h",
    );
    refused(
        &arguments(&["--log", "a=b=c"]),
        "--log a=b=c: not a filter; give off, error, warn, info, debug or trace, or module=level",
    );
    refused(
        &[],
        "--device: no controller; add --device lsi53c895a,id=lsi0",
    );

    let help = output(&["-h".to_owned()]);
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
}

#[test]
fn the_socket_that_a_test_leaves_open_is_not_inherited() {
    // What the emulator serves is what it was given: a descriptor of this process that is closed on exec is not
    // there.
    let place = Place::new();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let export = format!("vfio-user,device=lsi0,fd={}", ours.as_raw_fd());
    let output = output(&place.arguments(&place.blockdev(""), &export));
    assert_eq!(output.status.code(), Some(2));
}
