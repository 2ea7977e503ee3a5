//! Whole attachments, against the scripted emulator.

use std::os::unix::net::UnixStream;

use outrigger_ring::Width;
use rustix::event::{PollFd, PollFlags, poll};

use std::time::Duration;

use super::*;
use crate::Counters;
use crate::guest_memory::{self, MemoryError};
use crate::options::UnsealedMemory;
use outrigger_fake_emulator::{FakeEmulator, Fault, Script};

mod embedding;
mod hostile;

/// Long enough for any answer that comes.
const PATIENT: ProxyOptions = ProxyOptions {
    vcpus: 2,
    transport: Transport::Socket,
    ring_slots: 16,
    deadline: Duration::from_secs(20),
    unsealed_memory: UnsealedMemory::Warn,
};

fn attach(
    script: Script,
    options: ProxyOptions,
) -> (FakeEmulator, Result<(Proxy, Vec<VcpuPort>), Error>) {
    let (fake, socket) = FakeEmulator::start(script);
    (fake, Proxy::connect(Endpoint::Socket(socket), options))
}

/// BAR0 at port 0xc000, BAR1 at 0xfeb0_0000, BAR2 at 0xfeb0_2000; decode on.
fn place_bars(port: &mut VcpuPort) {
    port.config_write(0x10, Width::Dword, 0xc000);
    port.config_write(0x14, Width::Dword, 0xfeb0_0000);
    port.config_write(0x18, Width::Dword, 0xfeb0_2000);
    port.config_write(0x04, Width::Word, 0x0007);
}

/// Everything that a VMM does with a device, whatever comes back.
fn use_it_all(socket: OwnedFd, options: ProxyOptions) -> Result<(), Error> {
    let (proxy, mut ports) = Proxy::connect(Endpoint::Socket(socket), options)?;
    let memory = guest_memory::allocate(&[(0, 0x2000), (0x10_0000, 0x1000)])?;
    let intx = Intx::new().unwrap();
    let attached = proxy
        .attach_memory(&memory)
        .and_then(|()| proxy.enable_interrupt(&intx));
    for port in &mut ports {
        place_bars(port);
        let _ = port.config_read(0, Width::Dword);
        assert!(port.mmio_write(0xfeb0_0010, &[1, 2, 3, 4]));
        let mut data = [0; 4];
        assert!(port.mmio_read(0xfeb0_0010, &mut data));
        assert!(port.pio_write(0xc010, &[5]));
        assert!(port.pio_read(0xc010, &mut data[..1]));
    }
    let masked = proxy
        .mask_interrupt(true)
        .and_then(|()| proxy.mask_interrupt(false));
    let reset = proxy.reset();
    let event = proxy.take_event();
    assert_eq!(proxy.take_event(), None);
    let dead = ports[0].is_dead();
    assert!(event.is_none() || dead);
    let detached = proxy.detach();
    assert!(ports[0].is_dead());
    attached.and(masked).and(reset).and(detached)
}

/// Each transport: its options, and an emulator that serves it.
fn transports() -> [(ProxyOptions, Script); 2] {
    let rings = ProxyOptions {
        transport: Transport::Ring,
        vcpus: 5,
        ..PATIENT
    };
    [
        (PATIENT, Script::default()),
        (
            rings,
            Script {
                ring: Some(None),
                ..Script::default()
            },
        ),
    ]
}

#[test]
fn a_device_is_described_and_used() {
    let (fake, attached) = attach(Script::default(), PATIENT);
    let (proxy, mut ports) = attached.unwrap();
    let description = proxy.description();
    assert_eq!(
        (
            description.vendor(),
            description.device(),
            description.class()
        ),
        (0x1000, 0x12, 0x01_0000)
    );
    assert_eq!(
        (description.interrupt_pin(), description.interrupt),
        (1, true)
    );
    let memory = guest_memory::allocate(&[(0, 0x2000), (0x10_0000, 0x1000)]).unwrap();
    proxy.attach_memory(&memory).unwrap();
    place_bars(&mut ports[0]);
    let [first, second] = ports.as_mut_slice() else {
        panic!()
    };
    assert!(first.mmio_write(0xfeb0_0014, &[0x20]));
    let mut data = [0; 2];
    assert!(second.mmio_read(0xfeb0_0014, &mut data));
    assert_eq!(data, [0x20, 0]);
    assert!(second.pio_write(0xc0ff, &[7]));
    assert!(!second.pio_read(0xc100, &mut data));
    assert_eq!(second.config_read(0x10, Width::Dword), 0xc001);
    assert_eq!(second.config_read(0x100, Width::Byte), 0xff);
    assert_eq!(first.counters().posted_writes, 1);
    assert_eq!(first.counters().crossings, 4);
    assert_eq!(
        second.counters(),
        Counters {
            crossings: 2,
            shadow_reads: 1,
            ..Counters::default()
        }
    );
    proxy.reset().unwrap();
    assert!(!first.mmio_read(0xfeb0_0014, &mut data));
    proxy.detach().unwrap();
    let seen = fake.seen();
    assert!(seen.mapped.is_empty());
    assert_eq!((seen.fds.len(), seen.resets), (2, 1));
    assert!(
        seen.writes.contains(&(1, 0x14, vec![0x20], false)),
        "posted"
    );
    assert!(
        seen.writes.contains(&(0, 0xff, vec![7], true)),
        "not posted"
    );
}

#[test]
fn rings_carry_the_accesses_where_both_sides_have_them() {
    let [_, (options, script)] = transports();
    let (fake, attached) = attach(script, options);
    let (proxy, mut ports) = attached.unwrap();
    assert_eq!(proxy.transport(), Transport::Ring);
    place_bars(&mut ports[4]);
    for (value, port) in (1..).zip(&mut ports) {
        assert!(port.mmio_write(0xfeb0_0010, &[value]));
        let mut data = [0];
        assert!(port.mmio_read(0xfeb0_0010, &mut data));
        assert_eq!(data, [value]);
        let statistics = port.ring_statistics().unwrap();
        assert_eq!(statistics.posted, 1);
        assert_eq!(statistics.crossings, port.counters().crossings);
    }
    proxy.detach().unwrap();
    let seen = fake.seen();
    assert_eq!(seen.writes.len(), 4 + 5);
    // Two memories, and the five doorbells in messages of three at most.
    assert_eq!(seen.fds.len(), 2 + 5);
}

#[test]
fn an_emulator_without_rings_is_used_over_the_socket() {
    let [_, (options, _)] = transports();
    let (fake, attached) = attach(Script::default(), options);
    let (proxy, mut ports) = attached.unwrap();
    assert_eq!(proxy.transport(), Transport::Socket);
    assert_eq!(ports[4].config_read(0, Width::Word), 0x1000);
    assert_eq!(ports[4].ring_statistics(), None);
    proxy.detach().unwrap();
    fake.seen();
}

#[test]
fn rings_that_are_not_served_end_with_the_deadline() {
    // Each waits for its deadline, which must be long enough to attach on a busy machine.
    std::thread::scope(|scope| {
        for serves in 0..12 {
            scope.spawn(move || end_of_a_ring_that_is_served(serves));
        }
    });
}

/// The emulator takes so many messages from the ring, and no more.
fn end_of_a_ring_that_is_served(serves: usize) {
    let [_, (options, script)] = transports();
    let script = Script {
        ring: Some(Some(serves)),
        ..script
    };
    let options = ProxyOptions {
        deadline: Duration::from_secs(2),
        ..options
    };
    let (fake, attached) = attach(script, options);
    let (proxy, mut ports) = attached.unwrap();
    for port in &mut ports {
        place_bars(port);
    }
    let mut data = [0; 4];
    // Until the death is found, the BAR may be where this vCPU's last write put it.
    while !ports[0].is_dead() {
        let _ = ports[0].mmio_read(0xfeb0_0010, &mut data);
    }
    assert_eq!(ports[1].config_read(0, Width::Dword), 0xffff_ffff);
    assert_eq!(proxy.take_event(), Some(Event::TimedOut));
    assert_eq!(proxy.take_event(), None);
    drop(proxy);
    fake.seen();
}

#[test]
fn attach_again_after_detach() {
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("lsi0.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let (fake, theirs) = FakeEmulator::start(Script::default());
        // The listener's side copies bytes and so stands in for an emulator that listens.
        let theirs = UnixStream::from(theirs);
        let accept = listener.try_clone().unwrap();
        let relay = std::thread::spawn(move || {
            let (client, _) = accept.accept().unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), theirs.try_clone().unwrap());
            let forth = std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let _ = std::io::copy(&mut &theirs, &mut &client);
            forth.join().unwrap();
        });
        let (proxy, mut ports) = Proxy::connect(Endpoint::Path(path.clone()), PATIENT).unwrap();
        assert_eq!(ports[1].config_read(0, Width::Dword), 0x12_1000);
        proxy.detach().unwrap();
        assert_eq!(ports[1].config_read(0, Width::Dword), 0xffff_ffff);
        relay.join().unwrap();
        fake.seen();
    }
    let missing = Proxy::connect(Endpoint::Path(path.with_extension("none")), PATIENT);
    assert!(matches!(missing, Err(Error::Connect { .. })));
}

#[test]
fn a_full_queue_and_a_listener_that_never_answers_end_with_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busy.sock");
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let options = ProxyOptions {
        deadline: Duration::from_millis(20),
        ..PATIENT
    };
    let first = Proxy::connect(Endpoint::Path(path.clone()), options);
    assert!(matches!(first, Err(Error::Connection { .. })));
    let second = Proxy::connect(Endpoint::Path(path), options).unwrap_err();
    let Error::Connect { source, .. } = second else {
        panic!("{second}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_refused_access_aborts_and_the_device_lives() {
    let before = {
        let (fake, attached) = attach(Script::default(), PATIENT);
        drop(attached.unwrap());
        fake.seen().requests
    };
    let (_fake, attached) = attach(Script::with_fault(before, Fault::Refuse(22)), PATIENT);
    let (proxy, mut ports) = attached.unwrap();
    assert_eq!(ports[0].config_read(0, Width::Word), 0xffff);
    assert_eq!(ports[0].config_read(0, Width::Word), 0x1000);
    assert_eq!(proxy.take_event(), None);
}

#[test]
fn options_are_checked() {
    let [_, (rings, _)] = transports();
    for options in [
        ProxyOptions {
            ring_slots: 17,
            ..rings
        },
        ProxyOptions { vcpus: 65, ..rings },
        ProxyOptions {
            vcpus: 0,
            ..PATIENT
        },
        ProxyOptions {
            deadline: Duration::ZERO,
            ..PATIENT
        },
        // A time that no clock reaches.
        ProxyOptions {
            deadline: Duration::MAX,
            ..PATIENT
        },
    ] {
        let (_fake, attached) = attach(Script::default(), options);
        assert!(matches!(
            attached,
            Err(Error::Option { .. } | Error::Ring(_))
        ));
    }
}

#[test]
fn a_death_that_no_access_finds_is_still_an_event() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (fake, socket) = FakeEmulator::start(Script::default());
    drop((ours, theirs));
    let (proxy, ports) =
        Proxy::connect(Endpoint::Socket(socket.try_clone().unwrap()), PATIENT).unwrap();
    // The client's end shut down for writing: the fake sees its end, leaves, and closes its own.
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).unwrap();
    fake.seen();
    poll(&mut [PollFd::new(&proxy.event_fd(), PollFlags::IN)], None).unwrap();
    assert_eq!(proxy.take_event(), Some(Event::Exited(None)));
    assert!(ports[0].is_dead());
}

#[test]
fn accesses_after_death_do_not_wait() {
    let (fake, attached) = attach(Script::default(), PATIENT);
    let (proxy, mut ports) = attached.unwrap();
    place_bars(&mut ports[0]);
    proxy.detach().unwrap();
    fake.seen();
    let mut data = [0; 8];
    for _ in 0..100_000 {
        assert!(ports[0].mmio_read(0xfeb0_0000, &mut data));
        assert!(ports[0].mmio_write(0xfeb0_0000, &data));
    }
    assert_eq!(data, [0xff; 8]);
    assert_eq!(ports[0].counters().dead_accesses, 200_000);
}

/// RAM that others could cut short is handed over or refused, as the VMM chooses; nothing is handed
/// over of what is refused.
#[test]
fn memory_that_is_not_sealed_is_the_vmms_choice() {
    let sealed = guest_memory::allocate(&[(0, 0x1000)]).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x1000).unwrap();
    let range = (
        vm_memory::GuestAddress(0x1000),
        0x1000,
        Some(vm_memory::FileOffset::new(file, 0)),
    );
    let unsealed = vm_memory::GuestMemoryMmap::<()>::from_ranges_with_files([range]).unwrap();
    for (unsealed_memory, accepted) in [
        (UnsealedMemory::Warn, true),
        (UnsealedMemory::Accept, true),
        (UnsealedMemory::Refuse, false),
    ] {
        let options = ProxyOptions {
            unsealed_memory,
            ..PATIENT
        };
        let (fake, attached) = attach(Script::default(), options);
        let (proxy, _ports) = attached.unwrap();
        proxy.attach_memory(&sealed).unwrap();
        match proxy.attach_memory(&unsealed) {
            Ok(()) => assert!(accepted),
            Err(Error::Memory(MemoryError::Unsealed { address: 0x1000 })) => assert!(!accepted),
            Err(error) => panic!("{error}"),
        }
        proxy.detach_memory().unwrap();
        let before = proxy.remove_ram(0x1000, 0x1000);
        assert!(matches!(
            before,
            Err(Error::Memory(MemoryError::NotAttached { .. }))
        ));
        drop(proxy);
        drop(fake);
    }
}
