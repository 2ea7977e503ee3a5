//! Requests that fail, many at a time: each comes to its end with its own sense data, and those beside it are as ever.
//!
//! A target that keeps sense data holds back what failed after that (`docs/scsi.md`), so a driver that did not fetch
//! them would wait for ever.

use std::time::{Duration, Instant};

use outrigger_block::{Backend, FailRule, Failure, Hold, Op};
use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, export};
use outrigger_tests::front::{Attached, options, vcpu_kinds};
use outrigger_tests::place::Place;
use outrigger_tests::random::pattern;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{
    Machine, OtherVcpus, Report, Request, RequestError, Sense, VcpuKind, Workload,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

const DEPTH: u32 = 16;
/// Blocks per request.
const BLOCKS: u32 = 8;
const BYTES: u32 = BLOCKS * 512;
/// Requests, and so pieces of the disk.
const COUNT: u32 = 256;

const UNREADABLE: Sense = Sense::new(3, 0x11, 0);
const BEYOND_THE_END: Sense = Sense::new(5, 0x21, 0);
const NO_SPACE: Sense = Sense::new(7, 0x27, 7);

/// Each piece once, neighbours far from one another.
fn scattered() -> impl Iterator<Item = u32> {
    (0..COUNT).map(|index| index * 37 % COUNT)
}

fn address(piece: u32) -> u32 {
    BUFFERS + piece * BYTES
}

fn read(piece: u32) -> Request {
    Request::read(0, piece * BLOCKS, 8, address(piece))
}

/// Runs the requests, of which those in `bad` must fail like that, and all others must not.
fn run_with_failures(machine: &mut Machine, workload: &Workload, bad: &[(u32, Sense)]) -> Report {
    let report = machine.run(workload).unwrap();
    assert_eq!(report.failure, None, "{:?}", report.outcome());
    assert_eq!(report.completed as usize, workload.requests.len());
    assert_eq!(report.errors as usize, bad.len());
    let failed = report.failed.iter().map(|it| (it.index, it.error));
    let expected = bad.iter().copied();
    let expected = expected.map(|(index, sense)| (index, RequestError::Check(sense)));
    assert!(failed.eq(expected), "{:?}", report.failed);
    report
}

#[test]
fn reads_of_a_disk_with_bad_places() {
    let disk = pattern((COUNT * BYTES) as usize);
    for kind in vcpu_kinds() {
        for others in [OtherVcpus::None, OtherVcpus::Submit(1)] {
            // Only in this process: the emulator's options have no bad disks.
            let bad = |piece: u32| (96..192).contains(&piece);
            let rule = FailRule {
                ops: |op| op == Op::Read,
                range: u64::from(96 * BYTES)..u64::from(192 * BYTES),
                after: 0,
                times: u64::MAX,
                failure: Failure::Io(libc::EIO),
            };
            let failing = Backend::fail(Backend::memory(disk.clone(), false), rule);
            // So late that all tasks that may be under way have disconnected.
            let late = Hold::For(Duration::from_millis(5));
            let (slow, _) = Backend::delay(failing, late).unwrap();
            let (mut machine, _device) = Attached::local_on(vec![slow]).ready_machine(kind);
            let ram = machine.ram().clone();
            ram.write(BUFFERS.into(), &vec![0xee; disk.len()]).unwrap();
            // Those beyond the end fail at once, between the others.
            let pieces: Vec<_> = scattered()
                .flat_map(|piece| [Some(piece), (piece % 16 == 0).then_some(COUNT + piece)])
                .flatten()
                // At the end there are only bad ones: no new command takes the sense data away.
                .chain(96..96 + 2 * DEPTH)
                .collect();
            let expected: Vec<_> = (0..)
                .zip(&pieces)
                .filter_map(|(index, &piece)| match piece {
                    COUNT.. => Some((index, BEYOND_THE_END)),
                    _ => bad(piece).then_some((index, UNREADABLE)),
                })
                .collect();
            let requests = pieces.into_iter().map(read).collect();
            let workload = Workload::new(requests, DEPTH).with_others(others);
            let report = run_with_failures(&mut machine, &workload, &expected);
            assert_eq!(
                report.outcome().unwrap_err().to_string(),
                "144 of 304 requests failed: 128 with MEDIUM ERROR 11/00, 16 with ILLEGAL REQUEST 21/00"
            );
            let mut arrived = vec![0; disk.len()];
            ram.read(BUFFERS.into(), &mut arrived).unwrap();
            let pieces = disk.chunks_exact(BYTES as usize);
            for (piece, data) in (0..).zip(pieces) {
                let at = (piece * BYTES) as usize;
                let arrived = &arrived[at..][..data.len()];
                let right = if bad(piece) {
                    arrived.iter().all(|&byte| byte == 0xee)
                } else {
                    arrived == data
                };
                assert!(right, "{kind}, {others:?}: {piece}");
            }
            // The device is as ever.
            let again = scattered().filter(|&piece| !bad(piece)).map(read);
            let again = Workload::new(again.collect(), DEPTH).with_others(others);
            assert_eq!(machine.run(&again).unwrap().outcome(), Ok(()));
        }
    }
}

/// A directory with a disk of [`COUNT`] pieces, and the emulator that has it and says so when there is no space.
fn emulator(place: &Place) -> Emulator {
    let image = place.image("disk.img", &vec![0xdd; (COUNT * BYTES) as usize]);
    let blockdev = format!(
        "driver=file,node-name=disk0,filename={}",
        image.path.display()
    );
    let mut arguments = [
        "--blockdev",
        &blockdev,
        "--device",
        "lsi53c895a,id=lsi0",
        "--device",
        "scsi-hd,drive=disk0,werror=report",
    ]
    .map(str::to_owned)
    .to_vec();
    let socket = place.path("lsi.sock");
    arguments.extend(export("lsi0", &socket));
    Emulator::start(&arguments, &[&socket])
}

#[test]
fn writes_to_a_disk_without_space() {
    let data = pattern((COUNT * BYTES) as usize);
    for transport in [Transport::Ring, Transport::Socket] {
        for kind in vcpu_kinds() {
            let place = Place::new();
            let emulator = emulator(&place);
            let endpoint = Endpoint::Path(place.path("lsi.sock"));
            let (mut machine, _device) =
                Attached::connect(endpoint, options(transport)).ready_machine(kind);
            machine.ram().write(BUFFERS.into(), &data).unwrap();
            // Half of the file can be written to.
            let limit = Rlimit {
                current: Some(u64::from(COUNT / 2 * BYTES)),
                maximum: getrlimit(Resource::Fsize).maximum,
            };
            let pid = Pid::from_raw(emulator.id().try_into().unwrap());
            prlimit(pid, Resource::Fsize, limit).unwrap();
            // At the end, again, only such that fail.
            let pieces: Vec<_> = scattered().chain(COUNT - 2 * DEPTH..COUNT).collect();
            let expected: Vec<_> = (0..)
                .zip(&pieces)
                .filter(|&(_, &piece)| piece >= COUNT / 2)
                .map(|(index, _)| (index, NO_SPACE))
                .collect();
            let writes = pieces
                .into_iter()
                .map(|piece| Request::write(0, piece * BLOCKS, 8, address(piece)));
            let workload = Workload::new(writes.collect(), DEPTH);
            let report = run_with_failures(&mut machine, &workload, &expected);
            assert_eq!(
                report.outcome().unwrap_err().to_string(),
                "160 of 288 requests failed: 160 with DATA PROTECT 27/07"
            );
            let written = std::fs::read(place.path("disk.img")).unwrap();
            let (full, rest) = written.split_at(written.len() / 2);
            assert!(full == &data[..full.len()], "{transport:?}, {kind}");
            assert!(
                rest.iter().all(|&byte| byte == 0xdd),
                "{transport:?}, {kind}"
            );
        }
    }
}

/// The line that says that there is no space does not fit either. The write waits all the same, and is done in the end.
#[test]
fn an_image_and_its_log_on_one_full_disk() {
    let place = Place::new();
    let image = place.image("disk.img", &vec![0xdd; (COUNT * BYTES) as usize]);
    let socket = place.path("lsi.sock");
    let mut arguments = [
        "--blockdev",
        &format!("file,node-name=disk0,filename={}", image.path.display()),
        "--device",
        "lsi53c895a,id=lsi0",
        "--device",
        "scsi-hd,drive=disk0,werror=enospc",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(export("lsi0", &socket));
    let emulator = Emulator::start(&arguments, &[&socket]);
    let endpoint = Endpoint::Path(socket);
    let attached = Attached::connect(endpoint, options(Transport::Ring));
    let (mut machine, device) = attached.ready_machine(VcpuKind::Software);
    let data = pattern((DEPTH * BYTES) as usize);
    machine.ram().write(BUFFERS.into(), &data).unwrap();
    let id = Pid::from_raw(emulator.id().try_into().unwrap());
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: getrlimit(Resource::Fsize).maximum,
        };
        prlimit(id, Resource::Fsize, limit).unwrap();
    };
    // Room for the beginning of one more line.
    let room = emulator.log().len() + 5;
    limit(Some(room as u64));
    let writes = (0..DEPTH).map(|piece| Request::write(0, piece * BLOCKS, 8, address(piece)));
    let workload = Workload::new(writes.collect(), DEPTH);
    let report = std::thread::scope(|scope| {
        let guest = scope.spawn(|| machine.run(&workload).unwrap());
        let start = Instant::now();
        while emulator.log().len() < room {
            assert!(start.elapsed() < PATIENCE, "nothing is held back");
            std::thread::yield_now();
        }
        assert!(!guest.is_finished());
        limit(None);
        emulator.signal(Signal::HUP);
        guest.join().unwrap()
    });
    assert_eq!(report.outcome(), Ok(()), "{}", emulator.log());
    assert!(image.bytes()[..data.len()] == data);
    drop((machine, device));
    let log = emulator.log();
    emulator.terminate();
    assert!(log.contains(" of the log lost: "), "{log}");
}
