//! The VMM is killed while its guest works: the emulator lets go of its RAM and serves the next one.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use outrigger_proxy::{Endpoint, Transport};
use outrigger_tests::emulator::Emulator;
use outrigger_tests::front::{Attached, options, vcpu_kinds};
use outrigger_tests::place::Place;
use outrigger_tests::process::{descriptors, mappings};
use outrigger_tests::random::{Random, pattern};
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{OtherVcpus, Request, VcpuKind, Workload};

/// In the environment of the process that is the VMM: the emulator's socket, and what the VMM is like.
const SOCKET: &str = "OUTRIGGER_TEST_VMM_SOCKET";
const LIKE: &str = "OUTRIGGER_TEST_VMM_LIKE";
/// It says so on its standard output, once for each piece of work that the guest has done.
const PROGRESS: &str = "the guest works";
const NAME: &str = "a_killed_vmm_leaves_the_emulator_to_the_next";

const BLOCKS: u32 = 2048;
/// Where the data are: not where the sense of the first command went.
const BEHIND_SENSE: u32 = BUFFERS + 0x1_0000;

/// The VMM's process: works until it is killed.
fn vmm(socket: PathBuf, like: &str) {
    let (transport, kind) = match like {
        "ring kvm" => (Transport::Ring, VcpuKind::Kvm),
        "ring software" => (Transport::Ring, VcpuKind::Software),
        "socket kvm" => (Transport::Socket, VcpuKind::Kvm),
        _ => (Transport::Socket, VcpuKind::Software),
    };
    let attached = Attached::connect(Endpoint::Path(socket), options(transport));
    let (mut machine, _device) = attached.ready_machine(kind);
    loop {
        let requests = (0..40_000)
            .map(|index| {
                let block = index % BLOCKS;
                let at = BEHIND_SENSE + block * 512;
                if index % 3 == 0 {
                    Request::write(0, block, 1, at)
                } else {
                    Request::read(0, block, 1, at)
                }
            })
            .collect();
        let workload = Workload::new(requests, 16)
            .with_others(OtherVcpus::Poll)
            .with_window(64);
        let report = machine.run_observed(&workload, &mut |_, _| println!("{PROGRESS}"));
        assert!(report.unwrap().is_good());
    }
}

/// Starts this program once more, as the VMM, and returns when its guest has done some work. It works on as long as there is
/// somebody to read what it says.
fn working_vmm(socket: &Path, like: &str, moment: u32) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(SOCKET, socket)
        .env(LIKE, like)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines
        .by_ref()
        .map_while(Result::ok)
        .filter(|line| line.ends_with(PROGRESS))
        .take(moment as usize + 1)
        .count();
    assert_eq!(seen, moment as usize + 1, "the VMM has ended by itself");
    (child, lines)
}

#[test]
fn a_killed_vmm_leaves_the_emulator_to_the_next() {
    if let Some(socket) = std::env::var_os(SOCKET) {
        return vmm(socket.into(), &std::env::var(LIKE).unwrap());
    }
    let disk = pattern(512 * BLOCKS as usize);
    let place = Place::new();
    let image = place.image("disk.img", &disk);
    let (emulator, path) = Emulator::listening(&place, std::slice::from_ref(&image));
    let descriptors_at_first = descriptors(emulator.id());
    let mut random = Random::new(3);
    for transport in ["ring", "socket"] {
        for kind in vcpu_kinds() {
            for _ in 0..3 {
                let like = format!("{transport} {kind}");
                let (mut vmm, _lines) = working_vmm(&path, &like, random.below(20));
                let ram = |name: &String| name.contains("outrigger-guest-ram");
                assert!(mappings(emulator.id()).iter().any(ram), "{like}");
                vmm.kill().unwrap();
                vmm.wait().unwrap();

                // The next is served only when the last one's is all gone.
                let (proxy, mut ports) = outrigger_proxy::Proxy::connect(
                    Endpoint::Path(path.clone()),
                    options(Transport::Socket),
                )
                .unwrap();
                assert_eq!(proxy.description().vendor(), 0x1000);
                let read = ports[0].config_read(0x04, outrigger_proxy::Width::Word);
                assert_eq!(read, 0, "{like}: reset");
                assert!(!mappings(emulator.id()).iter().any(ram), "{like}");
                let now = descriptors(emulator.id());
                assert_eq!(
                    now.len(),
                    descriptors_at_first.len() + 1,
                    "{like}: {now:#?}"
                );
                proxy.detach().unwrap();
            }
        }
    }
    // And its guest can work. A block is as it was, or as new RAM is: each guest wrote what it had read, or nothing yet.
    let attached = Attached::connect(Endpoint::Path(path), options(Transport::Ring));
    let (mut machine, _device) = attached.ready_machine(VcpuKind::Software);
    let requests = (0..32).map(|index| Request::read(0, index * 64, 64, BUFFERS + index * 0x8000));
    let report = machine.run(&Workload::new(requests.collect(), 8)).unwrap();
    assert!(report.is_good(), "{report:?}");
    let mut read = vec![0; disk.len()];
    machine.ram().read(BUFFERS.into(), &mut read).unwrap();
    assert!(read == image.bytes());
    for (block, (now, then)) in read.chunks(512).zip(disk.chunks(512)).enumerate() {
        assert!(now == then || now == [0; 512], "block {block} is torn");
    }
    emulator.terminate();
}
