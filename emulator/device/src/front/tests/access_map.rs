//! ACCESS_MAP: what it says, and the memory that comes with it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use outrigger_vfio_user::{AccessEntry, Treatment};
use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::io::Errno;

use super::device::MEMORY;
use super::*;

/// The device's memory, as a client with rings gets it.
fn memory(server: &mut Server, client: &mut Client) -> File {
    let mut answered = client.ask(server, &Request::AccessMap, &[]);
    let Reply::AccessMap(map) = answered.parse() else {
        panic!("{answered:?}")
    };
    let entry = AccessEntry {
        region: 2,
        offset: 0,
        size: MEMORY.into(),
        treatment: Treatment::Memory { descriptor: 0 },
    };
    assert_eq!(map.entries().collect::<Vec<_>>(), [entry]);
    let file = File::from(answered.fds.pop().unwrap());
    assert!(answered.fds.is_empty());
    assert_eq!(file.metadata().unwrap().len(), u64::from(MEMORY));
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    assert_eq!(fcntl_get_seals(&file).unwrap(), seals);
    file
}

fn byte(file: &File, at: u64) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0]
}

#[test]
fn a_client_gets_the_memory_that_the_device_works_on() {
    let mut server = Server::new();
    let mut client = rings::attached(&mut server);
    client.write(&mut server, 2, 0x10, &[1, 2]);
    let file = memory(&mut server, &mut client);
    assert_eq!(byte(&file, 0x11), 2);
    file.write_all_at(&[3], 0x1fff).unwrap();
    assert_eq!(client.read(&mut server, 2, 0x1fff, 1), [3]);
    client.write(&mut server, 2, 0x1ffe, &[4, 5]);
    assert_eq!(byte(&file, 0x1fff), 5);
    // Asked again, it is the same one.
    let again = memory(&mut server, &mut client);
    assert_eq!(byte(&again, 0x1fff), 5);
    // A reset is one of the device: the memory stays where it is.
    let reset = client.ask(&mut server, &Request::DeviceReset, &[]);
    assert_eq!(reset.errno(), 0);
    assert_eq!(byte(&file, 0x1fff), 0);
    file.write_all_at(&[6], 0).unwrap();
    assert_eq!(client.read(&mut server, 2, 0, 1), [6]);
}

#[test]
fn the_next_client_finds_nothing_of_the_last_one() {
    let mut server = Server::new();
    let mut client = rings::attached(&mut server);
    let kept = memory(&mut server, &mut client);
    client.write(&mut server, 2, 0, &[1]);
    drop(client);
    server.turn();
    kept.write_all_at(&[2], 0).unwrap();
    let mut next = rings::attached(&mut server);
    assert_eq!(next.read(&mut server, 2, 0, 1), [0]);
    let file = memory(&mut server, &mut next);
    next.write(&mut server, 2, 0, &[3]);
    assert_eq!((byte(&kept, 0), byte(&file, 0)), (2, 3));
}

/// That no region has the MMAP flag either, `serving` sees.
#[test]
fn without_rings_there_is_no_map() {
    let mut server = Server::new();
    let mut client = server.attach();
    let refused = client.ask(&mut server, &Request::AccessMap, &[]);
    assert_eq!(refused.errno(), Errno::OPNOTSUPP.raw_os_error());
    assert!(refused.fds.is_empty());
}
