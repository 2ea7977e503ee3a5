//! The emulator's process from outside: its rights, its descriptors, and what it says to options that cannot be.

use outrigger_proxy::{Endpoint, Proxy, Transport};
use outrigger_tests::emulator::{Emulator, command, controller, export, output};
use outrigger_tests::front::{Attached, options};
use outrigger_tests::place::{Image, Place};
use outrigger_tests::process::{descriptors, status};

/// The bounding set that remains: it is empty if the process could change it. That takes CAP_SETPCAP, which a user without
/// rights has in a user namespace of its own only. Without it, no_new_privs keeps any program file from granting anything.
fn bounding_set(emulator: &Emulator) -> String {
    const SETPCAP: u64 = 1 << 8;
    let own = status(std::process::id(), "CapEff");
    let has_setpcap = u64::from_str_radix(&own, 16).unwrap() & SETPCAP != 0;
    let namespaces = !emulator.log().contains("without own namespaces");
    match has_setpcap || namespaces {
        true => "0000000000000000".to_owned(),
        false => status(std::process::id(), "CapBnd"),
    }
}

#[test]
fn the_process_has_no_rights_left() {
    for transport in [Transport::Ring, Transport::Socket] {
        let place = Place::new();
        let image = place.image("disk.img", &[0; 1 << 20]);
        let (emulator, path) = Emulator::listening(&place, std::slice::from_ref(&image));
        for attached in [false, true] {
            let _client = attached
                .then(|| Attached::connect(Endpoint::Path(path.clone()), options(transport)));
            let id = emulator.id();
            assert_eq!(status(id, "NoNewPrivs"), "1");
            assert_eq!(status(id, "Seccomp"), "2");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(status(id, set), "0000000000000000", "{set}");
            }
            assert_eq!(status(id, "CapBnd"), bounding_set(&emulator), "CapBnd");
            // Every thread, not only the first.
            for task in std::fs::read_dir(format!("/proc/{id}/task")).unwrap() {
                let file = task.unwrap().path().join("status");
                let status = std::fs::read_to_string(file).unwrap();
                assert!(status.contains("Seccomp:\t2\n"), "{status}");
                assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
            }
        }
        emulator.terminate();
    }
}

/// How many sockets and memories behind BARs the process has; panics if it has anything but what it serves with. Files
/// of guest RAM are closed once they are mapped.
fn peers(id: u32, image: &Image) -> (usize, usize) {
    let (mut sockets, mut bars, mut images) = (0, 0, 0);
    for (number, target) in descriptors(id) {
        match target.as_str() {
            // Standard input, output and error, as they were given.
            _ if number < 3 => {}
            "anon_inode:[eventpoll]"
            | "anon_inode:[eventfd]"
            | "anon_inode:[io_uring]"
            | "anon_inode:[signalfd]" => {}
            socket if socket.starts_with("socket:[") => sockets += 1,
            memfd if memfd.contains("outrigger-bar") => bars += 1,
            file if file == image.path.to_str().unwrap() => images += 1,
            other => panic!("descriptor {number} is {other}"),
        }
    }
    assert_eq!(images, 1);
    (sockets, bars)
}

#[test]
fn the_process_has_only_the_descriptors_that_it_serves_with() {
    // What this process leaves open for those that it starts.
    let _leaked = rustix::pipe::pipe().unwrap();
    let leaked = std::fs::File::open("/dev/null").unwrap();
    let leaked = rustix::io::fcntl_dupfd_cloexec(&leaked, 300).unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let place = Place::new();
    let image = place.image("disk.img", &[0; 1 << 20]);
    let (emulator, path) = Emulator::listening(&place, std::slice::from_ref(&image));
    assert_eq!(peers(emulator.id(), &image), (1, 0), "the listener");
    let attached = Attached::connect(Endpoint::Path(path), options(Transport::Ring));
    assert_eq!(peers(emulator.id(), &image), (2, 1), "with a client");
    drop(attached);
    emulator.terminate();

    let disks = std::slice::from_ref(&image);
    let mut attached = Attached::spawn(disks, options(Transport::Ring));
    let id = attached.device.proxy().emulator().unwrap().id();
    assert_eq!(peers(id, &image), (1, 1), "the client");
}

/// A VMM that starts an emulator learns why it does not serve.
#[test]
fn an_emulator_that_does_not_start_says_why() {
    let place = Place::new();
    let image = Image {
        path: place.path("none.img"),
        read_only: false,
    };
    let error = Proxy::spawn(command(&[image]), options(Transport::Ring)).unwrap_err();
    let said = error.to_string();
    for part in ["exit status: 2", "--blockdev", "none.img"] {
        assert!(said.contains(part), "{said}");
    }
}

/// Ends at once with exit code 2 and one line that names these.
#[track_caller]
fn refused(options: &[String], names: &[&str]) {
    let output = output(options);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    assert!(
        said.ends_with('\n') && said.lines().count() == 1,
        "{said:?}"
    );
    for name in names {
        assert!(said.contains(name), "{said:?} does not name {name:?}");
    }
}

#[test]
fn options_that_cannot_be_are_one_line() {
    let place = Place::new();
    let good = place.image("disk.img", &[0; 1 << 20]);
    let odd = place.image("odd.img", &[0; 1000]);
    let missing = Image {
        path: place.path("none.img"),
        ..good.clone()
    };
    let path = place.path("lsi.sock");
    let serve = |disks: &[Image]| {
        let mut options = controller("lsi0", disks);
        options.extend(export("lsi0", &path));
        options
    };
    let plus = |more: &[&str]| {
        let mut options = serve(std::slice::from_ref(&good));
        options.extend(more.iter().map(|&option| option.to_owned()));
        options
    };
    refused(&[], &["--device"]);
    refused(&["--frobnicate".to_owned()], &["--frobnicate"]);
    refused(&serve(&[missing]), &["--blockdev", "none.img"]);
    refused(&serve(&[odd]), &["--blockdev", "odd.img", "512"]);
    refused(
        &plus(&["--device", "lsi53c999,id=x"]),
        &["--device", "lsi53c999"],
    );
    refused(
        &plus(&["--device", "lsi53c895a,id=lsi0"]),
        &["--device", "lsi0"],
    );
    refused(
        &plus(&["--device", "scsi-hd,bus=lsi0.0,drive=none"]),
        &["--device", "none"],
    );
    refused(
        &plus(&[
            "--blockdev",
            "driver=memory,node-name=m,size=100,colour=red",
        ]),
        &["--blockdev", "colour"],
    );
    refused(&plus(&["--sandbox", "maybe"]), &["--sandbox", "maybe"]);

    // A second emulator on the same socket; the first one goes on.
    let (emulator, path) = Emulator::listening(&place, std::slice::from_ref(&good));
    refused(
        &serve(&[place.image("other.img", &[0; 512])]),
        &["--export", path.to_str().unwrap()],
    );
    drop(Attached::connect(
        Endpoint::Path(path),
        options(Transport::Ring),
    ));
    emulator.terminate();
    let long = place.path(&"x".repeat(120));
    let mut arguments = controller("lsi0", &[]);
    arguments.extend(export("lsi0", &long));
    refused(&arguments, &["--export"]);
}
