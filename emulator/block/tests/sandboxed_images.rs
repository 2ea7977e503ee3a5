//! Disks whose threads work behind the closed sandbox: everything that they need must be allowed there, and done before.
//!
//! The parent makes an image and starts this program again with the kind of disk; the child opens it, enters the sandbox,
//! uses it, and lets it go. And a process that is killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use outrigger_block::{
    Backend, Backing, Data, FormatOptions, ImageFile, Locking, NbdOptions, Op, OpenedFormat,
    OpenedNbd, Request, connect, qcow2,
};
use outrigger_device::sandbox;

const FLAG: &str = "--child";
const KINDS: [&str; 3] = ["qcow2", "qcow2-direct", "nbd"];
const SIZE: usize = 4 << 20;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, kind, folder] = arguments.as_slice()
        && flag == FLAG
    {
        match kind.as_str() {
            "crash" => write_until_killed(Path::new(folder)),
            kind => child(kind, Path::new(folder)),
        }
        return ExitCode::SUCCESS;
    }
    if !tool("qemu-img")
        .arg("--version")
        .status()
        .is_ok_and(|it| it.success())
    {
        for test in KINDS.iter().chain(&["crash"]) {
            outrigger_skip::skipped_as(test, "qemu-img is not installed");
        }
    } else {
        for kind in KINDS {
            parent(kind);
            println!("test {kind} ... ok");
        }
        crash();
        println!("test crash ... ok");
    }
    println!("test result: {} passed; 0 failed;", KINDS.len() + 1);
    ExitCode::SUCCESS
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdout(Stdio::null());
    command
}

/// Ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parent(kind: &str) {
    // Not in /tmp, which may be a file system without O_DIRECT.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let image = folder.path().join("disk.qcow2");
    let made = tool("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&image)
        .arg("4M")
        .status();
    assert!(made.expect("qemu-img").success());
    let server = (kind == "nbd").then(|| {
        let server = tool("qemu-nbd")
            .args(["-f", "qcow2", "-t", "--discard=unmap", "-k"])
            .arg(folder.path().join("socket"))
            .arg(&image)
            .spawn();
        Server(server.expect("qemu-nbd"))
    });
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program)
        .args([FLAG, kind])
        .arg(folder.path())
        .status();
    assert!(status.expect("a child").success(), "{kind}");
    drop(server);
    let checked = tool("qemu-img")
        .args(["check", "-q", "-f", "qcow2"])
        .arg(&image)
        .status();
    assert!(checked.expect("qemu-img").success(), "{kind}");
}

fn open_qcow2(folder: &Path, direct: bool) -> OpenedFormat {
    let options = FormatOptions {
        read_only: false,
        direct,
        discard: true,
        locking: Locking::On,
    };
    let file = ImageFile::open(&folder.join("disk.qcow2"), options).expect("the file is there");
    qcow2(file, Backing::AsNamed, None, options).expect("the image is good")
}

/// What the crash test writes at a time, and how many places it has.
const CHUNK: usize = 8 << 10;
const CHUNKS: usize = SIZE / CHUNK;

fn chunk_of(number: usize) -> usize {
    (number * 37) % CHUNKS
}

fn contents(number: usize) -> Vec<u8> {
    let number = number.to_le_bytes();
    (0..CHUNK).map(|at| number[at % 4]).collect()
}

/// Writes numbered chunks durably, from the number on that it reads, and says each that is done.
fn write_until_killed(folder: &Path) {
    let mut first = String::new();
    std::io::stdin().read_line(&mut first).expect("a number");
    let mut backend = Backend::format(open_qcow2(folder, false)).expect("threads");
    for number in first.trim().parse().expect("a number").. {
        let data = Data::Owned(contents(number));
        let op = Op::Write { fua: true };
        run(&mut backend, op, chunk_of(number) * CHUNK, CHUNK, data);
        println!("{number}");
    }
}

/// Kills a process that writes, over and over: what it said was done is in the image, and nothing else is broken.
fn crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk.qcow2");
    let made = tool("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k"])
        .arg(&image)
        .arg("4M")
        .status();
    assert!(made.expect("qemu-img").success());
    let program = std::env::current_exe().expect("this program");
    let mut done = vec![None; CHUNKS];
    let mut next: usize = 1;
    for kill_after in [1, 7, 40, 100, 333, 90] {
        let mut child = Command::new(&program)
            .args([FLAG, "crash"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut stdin = child.stdin.take().expect("its input");
        writeln!(stdin, "{next}").expect("it listens");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let target = next + kill_after;
        // What it said before the end came counts too.
        for line in lines {
            // A pipe takes so short a line whole or not at all.
            assert_eq!(line.expect("a line"), next.to_string());
            done[chunk_of(next)] = Some(next);
            next += 1;
            if next == target {
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("its end");
        let checked = tool("qemu-img")
            .args(["check", "-q", "-f", "qcow2"])
            .arg(&image)
            .status();
        // 3: clusters that nothing refers to, which is all that a crash may leave.
        let code = checked.expect("qemu-img").code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
        let mut backend = Backend::format(open_qcow2(folder.path(), false)).expect("threads");
        for (chunk, number) in done.iter().enumerate() {
            let buffer = Data::Owned(vec![0; CHUNK]);
            let Data::Owned(found) = run(&mut backend, Op::Read, chunk * CHUNK, CHUNK, buffer)
            else {
                panic!("other data")
            };
            if let Some(number) = number
                && chunk != chunk_of(next)
            {
                assert!(found == contents(*number), "write {number} is lost");
            }
        }
        // The one that was under way may be there in part; so it starts again with it.
    }
}

fn child(kind: &str, folder: &Path) {
    enum Opened {
        Format(OpenedFormat),
        Nbd(OpenedNbd),
    }
    let opened = if kind == "nbd" {
        let options = NbdOptions {
            read_only: false,
            discard: true,
        };
        let socket = folder.join("socket");
        while !socket.exists() {
            std::thread::yield_now();
        }
        Opened::Nbd(connect(&socket, "", options).expect("the export is there"))
    } else {
        Opened::Format(open_qcow2(folder, kind == "qcow2-direct"))
    };
    sandbox::leave_the_host().expect("the host is left");
    let mut backend = match opened {
        Opened::Format(opened) => Backend::format(opened),
        Opened::Nbd(opened) => Backend::nbd(opened),
    }
    .expect("threads");
    sandbox::limit_system_calls().expect("the filter is in place");

    let mut model = vec![0; SIZE];
    for step in 0..64_usize {
        let at = ((step * 2_654_435) % (SIZE - (64 << 10))) & !511;
        let length = 512 * (1 + step * 7 % 128);
        let place = &mut model[at..at + length];
        let (op, data) = match step % 6 {
            0..3 => {
                place.fill(step.to_le_bytes()[0]);
                (
                    Op::Write { fua: step % 2 == 0 },
                    Data::Owned(place.to_vec()),
                )
            }
            3 => {
                place.fill(0);
                (Op::WriteZeroes { unmap: true }, Data::None)
            }
            4 => {
                place.fill(0);
                (Op::WriteZeroes { unmap: false }, Data::None)
            }
            _ => (Op::Flush, Data::None),
        };
        run(&mut backend, op, at, length, data);
    }
    match run(&mut backend, Op::Read, 0, SIZE, Data::Owned(vec![1; SIZE])) {
        Data::Owned(bytes) => assert!(bytes == model, "what was written"),
        _ => panic!("other data"),
    }
    run(&mut backend, Op::Discard, 0, SIZE, Data::None);
    run(&mut backend, Op::Flush, 0, 0, Data::None);
}

fn run(backend: &mut Backend, op: Op, offset: usize, length: usize, data: Data) -> Data {
    let mut done = Vec::new();
    done.extend(backend.submit(Request {
        cookie: 1,
        op,
        offset: offset as u64,
        length: length as u64,
        data,
    }));
    backend.kick();
    backend.drain(false, &mut done);
    let completion = done.pop().expect("one completion");
    completion.result.expect("it works behind the sandbox");
    completion.data
}
