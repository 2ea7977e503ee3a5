//! Clients of one emulator: good ones one after another and side by side, and bad ones that must not hurt the next.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use outrigger_proxy::{Endpoint, Proxy, Transport};
use outrigger_tests::PATIENCE;
use outrigger_tests::emulator::{Emulator, command, controller, export};
use outrigger_tests::front::{Attached, Device, options, reads_all};
use outrigger_tests::place::Place;
use outrigger_tests::random::{Random, pattern};
use outrigger_tests::registers::Data;
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{Request, VcpuKind, Workload};

/// A VMM that does its work: attaches, reads the disk, detaches.
fn good_client(path: &Path, transport: Transport, disk: &[u8]) {
    let mut attached = Attached::connect(Endpoint::Path(path.to_owned()), options(transport));
    attached.set_up();
    attached.clear_attention(0);
    let read = [0x28, 0, 0, 0, 0, 4, 0, 0, 8, 0];
    assert_eq!(attached.command(0, &read, Data::In(4096)), Ok(0));
    assert!(attached.data(4096) == disk[2048..6144]);
    let Device::Remote(proxy) = attached.device else {
        unreachable!("a process of its own")
    };
    proxy.detach().unwrap();
}

#[test]
fn clients_come_one_after_another() {
    let disk = pattern(64 << 10);
    let place = Place::new();
    let image = place.image("disk.img", &disk);
    let (emulator, path) = Emulator::listening(&place, &[image]);
    for transport in [Transport::Ring, Transport::Socket].repeat(3) {
        good_client(&path, transport, &disk);
    }
    emulator.terminate();
}

#[test]
fn an_inherited_client_is_the_only_one() {
    let disk = pattern(64 << 10);
    for transport in [Transport::Ring, Transport::Socket] {
        let place = Place::new();
        let image = place.image("disk.img", &disk);
        let (mut emulator, socket) = command(&[image]).spawn().unwrap();
        let attached = Attached::connect(Endpoint::Socket(socket), options(transport));
        let (mut machine, device) = attached.ready_machine(VcpuKind::Software);
        let report = machine
            .run(&Workload::new(vec![Request::read(0, 0, 8, BUFFERS)], 1))
            .unwrap();
        assert!(report.is_good(), "{report:?}");
        let Device::Remote(proxy) = device else {
            unreachable!("a process of its own")
        };
        proxy.detach().unwrap();
        let status = emulator.wait(PATIENCE).unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

/// A vfio-user header: ID, command, size, flags, error.
fn header(command: u16, size: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend(command.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// VERSION 0.1 with an empty offer.
fn version() -> Vec<u8> {
    let mut bytes = header(1, 16 + 4 + 3);
    bytes.extend([0, 0, 1, 0]);
    bytes.extend(b"{}\0");
    bytes
}

#[test]
fn bad_clients_do_not_hurt_the_next() {
    let disk = pattern(64 << 10);
    let place = Place::new();
    let image = place.image("disk.img", &disk);
    let (emulator, path) = Emulator::listening(&place, &[image]);
    let mut random = Random::new(5);
    let mut bad: Vec<Vec<u8>> = vec![
        // Not a message at all.
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // Shorter than its own header, and longer than any message.
        header(1, 3),
        header(1, u32::MAX),
        header(9, 0),
        // A command before VERSION, and one that there is not.
        header(4, 16),
        header(0xffff, 16),
        // VERSION again, and a region read that is cut off by its own size.
        [version(), version()].concat(),
        [version(), header(9, 20), vec![0; 4]].concat(),
        // A write that says more bytes than it brings; a mapping without a descriptor.
        [version(), header(10, 36), vec![0xff; 20]].concat(),
        [version(), header(2, 48), vec![0xff; 32]].concat(),
    ];
    bad.extend((1..20).map(|count| random.bytes(count * 7)));
    bad.extend((0..20).map(|_| [version(), random.bytes(200)].concat()));
    for (index, bytes) in bad.iter().enumerate() {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have been sent away before all is written.
        let _ = client.write_all(bytes);
        if index % 2 == 0 {
            // It says that nothing more comes, and waits to be sent away.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            if let Err(error) = client.read_to_end(&mut answer) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
        }
        drop(client);
        if index % 8 == 0 {
            good_client(&path, Transport::Ring, &disk);
        }
    }
    good_client(&path, Transport::Socket, &disk);
    // The reasons are in the log; what many clients in a row cause is counted, not told each time.
    let log = emulator.log();
    assert!(log.contains("connection to the client ended"), "{log}");
    assert!(log.lines().count() < 400, "{log}");
    assert!(!log.contains("panicked"), "{log}");
    emulator.terminate();
}

#[test]
fn a_client_that_hangs_holds_up_only_until_it_goes() {
    let disk = pattern(64 << 10);
    for half in [vec![], version()[..7].to_vec(), version()[..20].to_vec()] {
        let place = Place::new();
        let image = place.image("disk.img", &disk);
        let (emulator, path) = Emulator::listening(&place, &[image]);
        let mut silent = UnixStream::connect(&path).unwrap();
        silent.write_all(&half).unwrap();
        // The next one has connected and waits, as one device has one client; it is not lost when the first goes.
        let mut waiting = UnixStream::connect(&path).unwrap();
        waiting.write_all(&version()).unwrap();
        drop(silent);
        let mut answer = [0; 16];
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        waiting.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], [1, 0, 1, 0], "a reply to VERSION");
        // One that asks and never reads: it is the one whose replies stay.
        for _ in 0..200_000 {
            let mut ask = header(9, 32);
            ask.extend([0; 8]);
            ask.extend(7_u32.to_le_bytes());
            ask.extend(4_u32.to_le_bytes());
            waiting.set_nonblocking(true).unwrap();
            match waiting.write(&ask) {
                Ok(32) => {}
                Ok(_) | Err(_) => break,
            }
        }
        drop(waiting);
        good_client(&path, Transport::Ring, &disk);
        emulator.terminate();
    }
}

#[test]
fn two_controllers_of_one_emulator_work_side_by_side() {
    let place = Place::new();
    let [first, second] = [1_u64, 2].map(|seed| Random::new(seed).bytes(1 << 20));
    let images = [("one", &first), ("two", &second)].map(|(id, disk)| (id, place.image(id, disk)));
    let paths = ["one.sock", "two.sock"].map(|name| place.path(name));
    let mut arguments = Vec::new();
    for ((id, image), path) in images.iter().zip(&paths) {
        arguments.extend(controller(id, std::slice::from_ref(image)));
        arguments.extend(export(id, path));
    }
    let emulator = Emulator::start(&arguments, &paths.each_ref().map(|path| path.as_path()));
    std::thread::scope(|scope| {
        let transports = [Transport::Ring, Transport::Socket];
        for ((path, disk), transport) in paths.iter().zip([&first, &second]).zip(transports) {
            scope.spawn(move || {
                for _ in 0..2 {
                    let endpoint = Endpoint::Path(path.clone());
                    let attached = Attached::connect(endpoint, options(transport));
                    let (mut machine, _device) = attached.ready_machine(VcpuKind::Software);
                    reads_all(&mut machine, disk);
                }
            });
        }
    });
    // A bad client of the one does not disturb the other's.
    let endpoint = Endpoint::Path(paths[1].clone());
    let mut attached = Attached::connect(endpoint, options(Transport::Ring));
    attached.set_up();
    let mut bad = UnixStream::connect(&paths[0]).unwrap();
    bad.write_all(&header(1, 3)).unwrap();
    bad.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = bad.read_to_end(&mut answer);
    assert_eq!(attached.byte(0), 0xc0);
    attached.clear_attention(0);
    emulator.terminate();
    assert!(attached.ports[0].config_read(0, outrigger_proxy::Width::Dword) == 0xffff_ffff);
}

#[test]
fn a_client_without_an_emulator_is_told_at_once() {
    let place = Place::new();
    let (emulator, path) = Emulator::listening(&place, &[]);
    emulator.terminate();
    let gone = Proxy::connect(Endpoint::Path(path), options(Transport::Ring));
    assert!(gone.is_err());
}
