//! Statistics: what is counted, who may read it, and that reading disturbs nobody.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use outrigger_device::statistics::{Page, Sample};
use outrigger_ring::{Access, Width};
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::process::client::Client;
use crate::{Emulator, LSI_895A, Place, wait_until_asleep};

const COMMAND: &str = env!("CARGO_BIN_EXE_outrigger");

const SCRATCH: Access = Access {
    region: 1,
    offset: 0x34,
    width: Width::Dword,
};

/// An emulator with a socket for readers.
struct Watched {
    place: Place,
    emulator: Emulator,
}

impl Watched {
    fn start() -> Self {
        let place = Place::new();
        let stats = place.path("lsi.stats");
        let export = format!("{},stats={}", place.export("lsi.sock"), stats.display());
        let mut emulator = Emulator::start(&place.arguments(&place.blockdev(""), &export));
        let path = place.path("lsi.sock");
        assert_eq!(emulator.line(), format!("listening on {}", path.display()));
        Self { place, emulator }
    }

    fn stats(&self) -> PathBuf {
        self.place.path("lsi.stats")
    }

    fn page(&self) -> Page {
        Page::open(&self.stats()).unwrap()
    }

    /// A client, and its one vCPU.
    fn attach(&self) -> (Client, outrigger_ring::Client) {
        let mut client = Client::connect(&self.place.path("lsi.sock"));
        let ring = client.attach_ring();
        (client, ring)
    }

    fn end(self) {
        self.emulator.signal(Signal::TERM);
        self.emulator.ends_well();
    }
}

fn outrigger(stats: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(COMMAND);
    command.arg("stats").arg(stats).args(more).output().unwrap()
}

/// Voluntary context switches of a thread.
fn sleeps(thread: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt"));
    let (_, count) = line.unwrap().split_once(':').unwrap();
    count.trim().parse().unwrap()
}

/// What the client did is what stands there, connection after connection, and in JSON.
#[test]
fn counts_are_exact() {
    let watched = Watched::start();
    let (mut posted, mut crossings, mut mirrored) = (0, 0, 0);
    for connection in 1..=2 {
        let (client, mut ring) = watched.attach();
        for value in 0..300 {
            ring.post_all((0..3).map(|more| (SCRATCH, value + more)))
                .unwrap();
            assert_eq!(ring.read(SCRATCH).unwrap(), value + 2);
            posted += 3;
            crossings += 1;
            mirrored += u64::from(ring.mirrored(0, &[]).unwrap().is_some());
        }
        assert!(ring.counters().snapshot().mirrored > 0);
        let sample = watched.page().read();
        for (name, value) in [
            ("clients", connection),
            ("posted_writes", posted),
            ("posted_writes_applied", posted),
            ("crossings", crossings),
            ("crossings_answered", crossings),
            ("mirrored_reads", mirrored),
            ("requests", 0),
            ("interrupts", 0),
        ] {
            assert_eq!(sample.get(name), value, "{name}");
        }
        assert_eq!(sample.accesses(), posted + crossings + mirrored);
        drop(ring);
        // The second connection is served when the first is over, and its counts are kept.
        drop(client);
    }
    let output = outrigger(&watched.stats(), &["--once", "--json"]);
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["counters"]["posted_writes"], posted);
    assert_eq!(value["counters"]["crossings"], crossings);
    watched.end();
}

/// Readers that hang, that leave at once and that come in numbers: the device's client does not notice, and the next reader
/// is served.
#[test]
fn readers_disturb_nobody() {
    let watched = Watched::start();
    let (mut client, mut ring) = watched.attach();
    let connect = || std::os::unix::net::UnixStream::connect(watched.stats()).unwrap();
    let mut hanging = Vec::new();
    for value in 0..40 {
        hanging.push(connect());
        drop(connect());
        ring.post(SCRATCH, value).unwrap();
        assert_eq!(ring.read(SCRATCH).unwrap(), value);
        assert_eq!(client.identity(), LSI_895A);
    }
    assert_eq!(watched.page().read().get("crossings"), 40);
    // All that a reader gets is one message; then its connection is over.
    for mut reader in hanging {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.get(..8), Some(&b"OUTRSTA1"[..]));
        assert_eq!(bytes.len(), 16);
    }
    watched.end();
}

/// An idle guest, watched: neither thread wakes up.
#[test]
fn an_idle_device_sleeps_on_while_it_is_watched() {
    let watched = Watched::start();
    let (_client, mut ring) = watched.attach();
    assert_eq!(ring.read(SCRATCH).unwrap(), 0);
    let page = watched.page();
    wait_until_asleep(&watched.emulator.child);
    let before = page.read();
    let threads = [before.get("thread"), watched.emulator.child.id().into()];
    let [worker, first] = threads.map(sleeps);
    // Nothing is waited for here: it is the time in which nothing may happen.
    for _ in 0..500 {
        assert_eq!(page.read(), before);
        std::thread::sleep(Duration::from_millis(1));
    }
    // The first thread has at most come to the end of the pause that it makes after a reader.
    let [worker_now, first_now] = threads.map(sleeps);
    assert_eq!(worker_now, worker);
    assert!(first_now <= first + 1, "{first} {first_now}");
    drop(ring);
    watched.end();
}

/// A vCPU and a worker that can run on one CPU only: no time goes into polling, and all accesses are answered.
#[test]
fn on_one_cpu_nobody_spins() {
    let here = std::thread::spawn(|| {
        let allowed = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU)
            .find(|&cpu| allowed.is_set(cpu))
            .unwrap();
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).unwrap();

        let watched = Watched::start();
        let (_client, mut ring) = watched.attach();
        // With its first sleep a vCPU tells where it runs. An answer may come before it sleeps.
        let slept = (0..1000).any(|_| {
            assert_eq!(ring.read(SCRATCH).unwrap(), 0);
            ring.counters().snapshot().blocks > 0
        });
        assert!(slept);
        // If the worker had begun to poll before it was told, it ends that with the next access.
        assert_eq!(ring.read(SCRATCH).unwrap(), 0);
        let before = watched.page().read();
        for value in 0..100 {
            ring.post(SCRATCH, value).unwrap();
            assert_eq!(ring.read(SCRATCH).unwrap(), value);
        }
        let after = watched.page().read();
        let added = |name| after.get(name) - before.get(name);
        assert_eq!(added("crossings"), 100);
        assert_eq!((added("spins"), added("spin_nanoseconds")), (0, 0));
        drop(ring);
        watched.end();
    });
    here.join().unwrap();
}

/// The command ends by itself when the emulator is killed; what the page said last can still be read.
#[test]
fn the_command_ends_with_the_emulator() {
    let mut watched = Watched::start();
    let (page, stats) = (watched.page(), watched.stats());
    let mut command = Command::new(COMMAND)
        .arg("stats")
        .arg(&stats)
        .args(["--interval", "0.01"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = command.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 40]).unwrap();
    watched.emulator.signal(Signal::KILL);
    watched.emulator.child.wait().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(command.wait().unwrap().success());
    assert_eq!(page.read().get("clients"), 0);
    let output = outrigger(&stats, &["--once"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("outrigger: ") && error.lines().count() == 1,
        "{error}"
    );
}

/// A VMM's socket says nothing unasked, and one that is not there nothing at all: each is one line in plain words.
#[test]
fn wrong_sockets_are_said() {
    let watched = Watched::start();
    let (_client, _ring) = watched.attach();
    for (name, why) in [
        ("lsi.sock", "not the one of path="),
        ("absent", "no such socket"),
    ] {
        let output = outrigger(&watched.place.path(name), &["--once"]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(why) && error.contains("stats="), "{error}");
        assert!(
            !error.contains("os error") && error.lines().count() == 1,
            "{error}"
        );
    }
    watched.end();
}

/// A client without rings: each message is an access.
#[test]
fn accesses_over_the_socket_are_counted() {
    let watched = Watched::start();
    let path = watched.place.path("lsi.sock");
    let mut client = Client::with_offer(UnixStream::connect(path).unwrap(), b"{}\0");
    for _ in 0..7 {
        assert_eq!(client.identity(), LSI_895A);
        client.write(1, 0x34, &[1]);
    }
    client.post(1, 0x34, &[1]);
    assert_eq!(client.identity(), LSI_895A);
    let sample = watched.page().read();
    for (name, value) in [
        ("crossings", 15),
        ("crossings_answered", 15),
        ("posted_writes", 1),
        ("posted_writes_applied", 1),
        ("mirrored_reads", 0),
    ] {
        assert_eq!(sample.get(name), value, "{name}");
    }
    assert_eq!(sample.accesses(), 16);
    let output = outrigger(&watched.stats(), &["--once"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("crossings ") && !table.contains("mirrored_reads"),
        "{table}"
    );
    watched.end();
}

/// The page is a reader's to read, and no more.
#[test]
fn a_page_cannot_be_written() {
    let watched = Watched::start();
    let page = receive(&watched.stats());
    assert!(rustix::io::pwrite(page.as_fd(), &[1; 8], 64).is_err());
    assert!(rustix::fs::ftruncate(page.as_fd(), 0).is_err());
    assert_eq!(watched.page().read(), Sample::new(&counters(page)));
    watched.end();
}

fn counters(page: std::os::fd::OwnedFd) -> outrigger_ring::PageCounters {
    outrigger_ring::CounterView::new(page).unwrap().read().1
}

/// As any other program would get the page.
fn receive(stats: &Path) -> std::os::fd::OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let socket = std::os::unix::net::UnixStream::connect(stats).unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 32];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    assert_eq!(fds.len(), 1);
    fds.remove(0)
}
