use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixStream;

use super::*;

const READ: DescriptorUse = DescriptorUse {
    read_only: true,
    direct: false,
};
const WRITE: DescriptorUse = DescriptorUse {
    read_only: false,
    direct: false,
};

#[test]
fn names_of_descriptors_and_other_names() {
    let this = std::process::id();
    let folder = tempfile::tempdir().unwrap();
    let link = |name: &str, target: &str| {
        let path = folder.path().join(name);
        symlink(target, &path).unwrap();
        path.display().to_string()
    };
    let through = link("through", "/dev/fd");
    for (name, number) in [
        ("/dev/fd/3".to_owned(), 3),
        ("/dev//fd/./17".to_owned(), 17),
        ("/dev/stdin".to_owned(), 0),
        ("/dev/stdout".to_owned(), 1),
        ("/proc/self/fd/12".to_owned(), 12),
        ("/proc/thread-self/fd/12".to_owned(), 12),
        (format!("/proc/{this}/fd/4"), 4),
        (format!("/proc/{this}/task/{this}/fd/4"), 4),
        (
            "/proc/self/cwd/../../../../../../../../dev/fd/5".to_owned(),
            5,
        ),
        (link("a", "/dev/fd/9"), 9),
        (link("b", "a"), 9),
        (format!("{through}/9"), 9),
        // Whether it is open is another question.
        ("/dev/fd/12345".to_owned(), 12345),
    ] {
        assert_eq!(named_by(Path::new(&name)), Some(number), "{name}");
    }
    let circle = link("c", "d");
    for name in [
        "disk.img",
        "3",
        "/dev/fd",
        "/dev/fd/",
        "/dev/fd/x",
        "/dev/fd/03",
        "/dev/fd/+3",
        "/dev/fd/-1",
        "/dev/fd/99999999999999999999",
        "/dev/fdset/3",
        "/dev/fd/3/4",
        "/proc/1/fd/3",
        "/dev/null",
        "/",
        "",
        &link("d", "c"),
        &circle,
    ] {
        assert_eq!(named_by(Path::new(name)), None, "{name}");
    }
}

#[test]
fn a_file_is_opened_again_with_flags_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, b"0123").unwrap();
    let mut ours = File::options().read(true).append(true).open(&path).unwrap();
    ours.seek(SeekFrom::Start(2)).unwrap();
    assert_eq!(path_of(&ours), Some(path.canonicalize().unwrap()));
    // A deleted file has no path, and can be opened all the same.
    fs::remove_file(&path).unwrap();
    assert_eq!(path_of(&ours), None);
    let mut again = open_behind(ours.as_fd(), WRITE).unwrap();
    assert!(
        !rustix::fs::fcntl_getfl(&again)
            .unwrap()
            .contains(OFlags::APPEND)
    );
    again.write_all(b"x").unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "23", "the position is not shared");
    ours.seek(SeekFrom::Start(0)).unwrap();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "23x123");
}

#[test]
fn each_unfit_descriptor_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, [0; 512]).unwrap();
    let said = |fd: BorrowedFd<'_>, usage| open_behind(fd, usage).unwrap_err().to_string();

    let read = File::open(&path).unwrap();
    assert!(open_behind(read.as_fd(), READ).is_ok());
    assert_eq!(said(read.as_fd(), WRITE), "it is open for reading only");
    let write = File::options().write(true).open(&path).unwrap();
    for usage in [READ, WRITE] {
        assert_eq!(said(write.as_fd(), usage), "it is open for writing only");
    }
    let both = File::options().read(true).write(true).open(&path).unwrap();
    assert!(open_behind(both.as_fd(), READ).is_ok());
    let name = (File::options().read(true))
        .custom_flags(OFlags::PATH.bits().cast_signed())
        .open(&path)
        .unwrap();
    assert!(open_behind(name.as_fd(), WRITE).is_ok());

    let directory = File::open(folder.path()).unwrap();
    assert_eq!(said(directory.as_fd(), READ), "it is a directory");
    let (pipe, _end) = std::io::pipe().unwrap();
    assert_eq!(said(pipe.as_fd(), READ), "it is a pipe");
    let (socket, _end) = UnixStream::pair().unwrap();
    assert_eq!(said(socket.as_fd(), READ), "it is a socket");
    let null = File::open("/dev/null").unwrap();
    assert_eq!(said(null.as_fd(), READ), "it is a character device");
}
