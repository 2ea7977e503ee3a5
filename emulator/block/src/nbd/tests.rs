//! Against `qemu-nbd` where it is there, and against servers that do as a test says.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::*;
use crate::tests::tools::spawn;
use crate::{Backend, Data, Op};

const OPTIONS: NbdOptions = NbdOptions {
    read_only: false,
    discard: true,
};

fn request(cookie: u64, op: Op, offset: u64, length: u64, data: Data) -> Request {
    Request {
        cookie,
        op,
        offset,
        length,
        data,
    }
}

fn run(backend: &mut Backend, op: Op, offset: u64, length: u64, data: Data) -> Completion {
    let mut done = Vec::new();
    done.extend(backend.submit(request(1, op, offset, length, data)));
    backend.kick();
    backend.drain(false, &mut done);
    assert_eq!(done.len(), 1);
    done.pop().unwrap()
}

fn write(backend: &mut Backend, op: Op, offset: u64, bytes: Vec<u8>) {
    let length = bytes.len() as u64;
    let done = run(backend, op, offset, length, Data::Owned(bytes));
    done.result.unwrap();
}

fn read(backend: &mut Backend, offset: u64, length: usize) -> Vec<u8> {
    let data = Data::Owned(vec![0xee; length]);
    let done = run(backend, Op::Read, offset, length as u64, data);
    done.result.unwrap();
    match done.data {
        Data::Owned(bytes) => bytes,
        _ => panic!("other data"),
    }
}

/// A `qemu-nbd` in the foreground with an image, ended with the test.
struct Server {
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    fn start(bytes: &[u8], more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("disk.raw"), bytes).unwrap();
        let mut command = std::process::Command::new("qemu-nbd");
        command
            .args([
                "-f",
                "raw",
                "-t",
                "-e",
                "8",
                "-x",
                "disk",
                "--discard=unmap",
            ])
            .args(more)
            .arg("-k")
            .arg(folder.path().join("socket"))
            .arg(folder.path().join("disk.raw"))
            .stderr(Stdio::null());
        let Ok(child) = spawn(&mut command) else {
            outrigger_skip::skipped("qemu-nbd is not installed");
            return None;
        };
        let mut server = Self { folder, child };
        while UnixStream::connect(server.socket()).is_err() {
            assert_eq!(server.child.try_wait().unwrap(), None);
            std::thread::yield_now();
        }
        Some(server)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn what_qemu_nbd_serves() {
    const SIZE: usize = 8 << 20;
    let image: Vec<u8> = (0..SIZE).map(|at| (at >> 9).to_le_bytes()[0]).collect();
    let Some(mut server) = Server::start(&image, &[]) else {
        return;
    };
    let connected = connect(&server.socket(), "none", OPTIONS);
    assert!(matches!(connected, Err(NbdError::NoExport(name)) if name == "none"));
    let opened = connect(&server.socket(), "disk", OPTIONS).unwrap();
    let mut backend = Backend::nbd(opened).unwrap();
    assert_eq!(backend.geometry().bytes, SIZE as u64);
    assert!(backend.geometry().discard);

    // More than one piece.
    assert!(read(&mut backend, 512, 5 << 20) == image[512..512 + (5 << 20)]);
    let bytes: Vec<u8> = image[..3 << 20].iter().map(|byte| !byte).collect();
    write(&mut backend, Op::Write { fua: true }, 1024, bytes.clone());
    assert!(read(&mut backend, 1024, 3 << 20) == bytes);
    for op in [
        Op::WriteZeroes { unmap: true },
        Op::WriteZeroes { unmap: false },
        Op::Discard,
    ] {
        write(&mut backend, Op::Write { fua: false }, 0, vec![9; 1 << 20]);
        let zeroed = run(&mut backend, op, 0, 1 << 20, Data::None);
        zeroed.result.unwrap();
        assert!(read(&mut backend, 0, 1 << 20) == vec![0; 1 << 20], "{op:?}");
    }
    run(&mut backend, Op::Flush, 0, 0, Data::None)
        .result
        .unwrap();

    // Many at a time.
    let mut done = Vec::new();
    for cookie in 0..200 {
        let data = Data::Owned(vec![0; 4096]);
        let offset = (4 << 20) + cookie * 4096;
        done.extend(backend.submit(request(cookie, Op::Read, offset, 4096, data)));
    }
    backend.kick();
    backend.drain(false, &mut done);
    assert_eq!(done.len(), 200);
    for completion in done {
        completion.result.unwrap();
        let at = usize::try_from((4 << 20) + completion.cookie * 4096).unwrap();
        assert!(matches!(&completion.data, Data::Owned(it) if *it == image[at..at + 4096]));
    }
    let beyond = run(
        &mut backend,
        Op::Read,
        SIZE as u64,
        512,
        Data::Owned(vec![0; 512]),
    );
    assert!(matches!(beyond.result, Err(BlockError::OutOfRange)));

    server.kill();
    for _ in 0..2 {
        let data = Data::Owned(vec![0; 512]);
        let done = run(&mut backend, Op::Read, 0, 512, data);
        assert!(matches!(done.result, Err(BlockError::Io { .. })));
    }
}

#[test]
fn a_read_only_export() {
    let Some(server) = Server::start(&[5; 4096], &["-r"]) else {
        return;
    };
    let connected = connect(&server.socket(), "disk", OPTIONS);
    assert!(matches!(connected, Err(NbdError::ReadOnly)));
    let options = NbdOptions {
        read_only: true,
        ..OPTIONS
    };
    let opened = connect(&server.socket(), "disk", options).unwrap();
    let mut backend = Backend::nbd(opened).unwrap();
    assert_eq!(read(&mut backend, 0, 4096), [5; 4096]);
}

/// What a server says up to the transmission phase, for an export of `size` bytes with `flags`.
fn welcome(size: u64, flags: u16) -> Vec<u8> {
    welcome_with(size, flags, 1, 1 << 25)
}

/// The same, with its least and largest block size.
fn welcome_with(size: u64, flags: u16, min: u32, max: u32) -> Vec<u8> {
    let mut bytes = b"NBDMAGICIHAVEOPT\0\x03".to_vec();
    let mut reply = |kind: u32, body: &[u8]| {
        bytes.extend(0x0003_e889_0455_65a9_u64.to_be_bytes());
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
    };
    let mut export = vec![0, 0];
    export.extend(size.to_be_bytes());
    export.extend(flags.to_be_bytes());
    reply(3, &export);
    let mut sizes = vec![0, 3];
    [min, 4096, max]
        .iter()
        .for_each(|size| sizes.extend(size.to_be_bytes()));
    reply(3, &sizes);
    reply(1, &[]);
    bytes
}

fn negotiated(said: &[u8]) -> Result<OpenedNbd, NbdError> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(said).unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    let outcome = handshake::negotiate(ours, "x", OPTIONS);
    drop(theirs);
    outcome
}

#[test]
fn servers_that_make_no_sense() {
    let good = welcome(1 << 20, 1);
    negotiated(&good).unwrap();
    for length in 0..good.len() {
        assert!(negotiated(&good[..length]).is_err(), "{length} bytes");
    }
    assert!(matches!(negotiated(&welcome(0, 1)), Err(NbdError::Size(0))));
    assert!(matches!(
        negotiated(&welcome(u64::MAX - 511, 1)),
        Err(NbdError::Size(_))
    ));
    let sizes = |min, max| negotiated(&welcome_with(1 << 20, 1, min, max));
    sizes(512, 64 << 10).unwrap();
    assert!(matches!(
        sizes(4096, 1 << 25),
        Err(NbdError::BlockSize(4096))
    ));
    assert!(matches!(sizes(1, 4096), Err(NbdError::MaxBlockSize(4096))));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let _ = negotiated(&bad);
    }
}

/// Servers of before 2017 answer the request for an export by its name only, or have no other.
#[test]
fn servers_without_the_newer_options() {
    let refusal = |kind: u32, body: &[u8]| {
        let mut reply = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
        reply.extend(7_u32.to_be_bytes());
        reply.extend(kind.to_be_bytes());
        reply.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        reply.extend(body);
        reply
    };
    let answer = |zeroes: usize| {
        let mut answer = (1_u64 << 20).to_be_bytes().to_vec();
        answer.extend(0x25_u16.to_be_bytes());
        answer.resize(answer.len() + zeroes, 0);
        answer
    };
    let fixed = |flags: u8, more: &[u8]| {
        let greeting = [&b"NBDMAGICIHAVEOPT\0"[..], &[flags]].concat();
        [&greeting, more].concat()
    };
    let unsupported = refusal(1 << 31 | 1, b"option 7 is unknown");
    for said in [
        fixed(3, &[unsupported.clone(), answer(0)].concat()),
        fixed(1, &[unsupported.clone(), answer(124)].concat()),
        fixed(0, &answer(124)),
        fixed(2, &answer(0)),
    ] {
        let opened = negotiated(&said).unwrap();
        assert_eq!(opened.geometry.bytes, 1 << 20);
        assert!(opened.abilities.flush && opened.abilities.trim && !opened.abilities.fua);
    }
    let said = |said: Vec<u8>| negotiated(&said).unwrap_err().to_string();
    // It ends the connection where it has no such export.
    assert_eq!(said(fixed(3, &unsupported)), "the server has no export 'x'");
    let oldstyle = [
        &b"NBDMAGIC"[..],
        &0x0000_4202_8186_1253_u64.to_be_bytes(),
        &[0; 136],
    ];
    assert_eq!(
        said(oldstyle.concat()),
        "the server speaks the oldstyle NBD protocol only"
    );
    for (kind, expected) in [
        (2, "the server does not let us have the export"),
        (5, "the server wants TLS"),
        (7, "the server is shutting down"),
        (9, "the server refuses the export (reply 0x80000009)"),
    ] {
        assert_eq!(said(fixed(3, &refusal(1 << 31 | kind, b"why"))), expected);
    }
    assert_eq!(
        said(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        "the server does not speak the NBD protocol"
    );
}

/// A connection whose other end the test has.
fn pair(patience: Duration) -> (Backend, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&welcome(1 << 20, 1)).unwrap();
    let opened = handshake::negotiate(ours, "x", OPTIONS).unwrap();
    // Flags and NBD_OPT_GO for "x".
    theirs.read_exact(&mut [0; 4 + 16 + 9]).unwrap();
    let nbd = Nbd::with_patience(opened, patience).unwrap();
    (Backend::Nbd(Box::new(nbd)), theirs)
}

#[test]
fn a_server_that_breaks_the_protocol_or_goes_fails_all_requests() {
    for said in [&[0xff; 16][..], &[0x67, 0x44, 0x66, 0x98, 0, 0], &[]] {
        let (mut backend, mut theirs) = pair(PATIENCE);
        for cookie in 0..3 {
            let data = Data::Owned(vec![0; 512]);
            assert!(
                backend
                    .submit(request(cookie, Op::Read, 0, 512, data))
                    .is_none()
            );
        }
        backend.kick();
        theirs.read_exact(&mut [0; 3 * 28]).unwrap();
        theirs.write_all(said).unwrap();
        drop(theirs);
        let mut done = Vec::new();
        backend.drain(false, &mut done);
        assert_eq!(done.len(), 3);
        assert!(done.iter().all(|it| it.result.is_err()));
        let late = backend.submit(request(9, Op::Flush, 0, 0, Data::None));
        // The server has no flush, but a disk that is gone is gone.
        assert!(late.unwrap().result.is_err());
    }
}

#[test]
fn a_silent_server_is_cut_off() {
    let (mut backend, _theirs) = pair(Duration::from_millis(50));
    let data = Data::Owned(vec![0; 512]);
    let done = run(&mut backend, Op::Read, 0, 512, data);
    assert!(done.result.is_err());
}

#[test]
fn errors_are_the_servers() {
    for (code, check) in [
        (1_u32, "ReadOnly"),
        (28, "NoSpace"),
        (5, "Io { offset: Some(1024)"),
        (0xffff_ffff, "Io { offset: None"),
    ] {
        let (mut backend, mut theirs) = pair(PATIENCE);
        let data = Data::Owned(vec![0; 512]);
        assert!(
            backend
                .submit(request(4, Op::Read, 1024, 512, data))
                .is_none()
        );
        backend.kick();
        let mut asked = [0; 28];
        theirs.read_exact(&mut asked).unwrap();
        assert_eq!(asked[..8], [0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0]);
        assert_eq!(asked[16..], [0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0]);
        let mut reply = vec![0x67, 0x44, 0x66, 0x98];
        reply.extend(code.to_be_bytes());
        reply.extend(&asked[8..16]);
        theirs.write_all(&reply).unwrap();
        let mut done = Vec::new();
        backend.drain(false, &mut done);
        let said = format!("{:?}", done.pop().unwrap().result.unwrap_err());
        assert!(said.starts_with(check), "{said}");
    }
}

/// A server that ends the connection as soon as it is told that we do is not one that is gone.
#[test]
fn the_end_is_ours_before_the_server_is_told() {
    let (backend, mut theirs) = pair(PATIENCE);
    let Backend::Nbd(nbd) = backend else { panic!() };
    let shared = Arc::clone(&nbd.shared);
    let ending = std::thread::spawn(move || drop(nbd));
    let mut goodbye = [0; 28];
    theirs.read_exact(&mut goodbye).unwrap();
    assert_eq!(goodbye[..8], [0x25, 0x60, 0x95, 0x13, 0, 0, 0, 2]);
    assert!(shared.lock().closed);
    drop(theirs);
    ending.join().unwrap();
}
