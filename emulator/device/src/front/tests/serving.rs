//! What a well-behaved client sees.

use std::os::unix::fs::FileExt;

use outrigger_vfio_user::{
    Capabilities, Command, DeviceFlags, DeviceInfo, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags,
    IrqInfo, IrqInfoFlags, RegionFlags, RegionQuery,
};
use rustix::io::Errno;

use super::device::{GREET, GREETING};
use super::wiring::{TRIGGER_FD, set};
use super::*;

const EINVAL: i32 = Errno::INVAL.raw_os_error();
const ENOTSUP: i32 = Errno::OPNOTSUPP.raw_os_error();

fn map(address: u64, size: u64) -> Request<'static> {
    Request::DmaMap(DmaMap {
        flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
        offset: 0,
        address,
        size,
    })
}

fn unmap(flags: DmaUnmapFlags, address: u64, size: u64) -> Request<'static> {
    Request::DmaUnmap(DmaUnmap {
        flags,
        address,
        size,
    })
}

/// QEMU's realize and first accesses, in its order.
#[test]
fn the_order_of_qemus_realize() {
    let mut server = Server::new();
    let mut client = server.connect();
    let json = b"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\
        \"max_dma_maps\":65535,\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":8192},\"write_multiple\":true}}\0";
    let version = Version {
        major: 0,
        minor: 0,
        data: json,
    };
    let answered = client.ask(&mut server, &Request::Version(version), &[]);
    let Reply::Version(reply) = answered.parse() else {
        panic!("{answered:?}")
    };
    assert_eq!((reply.major, reply.minor), (0, 0));
    assert!(reply.data.len() <= json.len());
    let capabilities = Capabilities::parse(reply.data).unwrap();
    assert_eq!(capabilities.max_msg_fds, Some(16));
    assert_eq!(capabilities.max_data_xfer_size, Some(65536));
    assert_eq!(
        capabilities.outrigger_ring, None,
        "not offered, not mentioned"
    );

    // Several maps in a row; all replies come, in order.
    let ram = memory(0x20_0000);
    client.send(&map(0, 0x10_0000), &[ram.as_fd()], false);
    client.send(&map(0xfffc_0000, 0x4_0000), &[], false);
    client.send(&map(0x10_0000, 0x10_0000), &[ram.as_fd()], false);
    server.turn();
    for _ in 0..3 {
        let answered = client.receive().unwrap();
        assert_eq!(answered.parse(), Reply::Done(Command::DMA_MAP));
        assert_eq!(answered.bytes.len(), 16);
    }

    let answered = client.ask(&mut server, &Request::DeviceInfo, &[]);
    let info = DeviceInfo {
        flags: DeviceFlags::RESET | DeviceFlags::PCI,
        regions: 9,
        irqs: 5,
    };
    assert_eq!(answered.parse(), Reply::DeviceInfo(info));
    let sizes = [0x100, 0x400, 0x2000, 0, 0, 0, 0, 0x100, 0];
    for (index, size) in (0..).zip(sizes) {
        let query = RegionQuery { room: 32, index };
        let answered = client.ask(&mut server, &Request::RegionInfo(query), &[]);
        let Reply::RegionInfo(info) = answered.parse() else {
            panic!("{answered:?}")
        };
        assert_eq!((info.index, info.size), (index, size));
        assert_eq!(info.flags.contains(RegionFlags::READ), size != 0);
        assert!(!info.flags.contains(RegionFlags::MMAP));
        assert_eq!(answered.bytes.len(), 48);
        assert!(answered.fds.is_empty());
    }
    for index in 0..5 {
        let answered = client.ask(&mut server, &Request::IrqInfo(index), &[]);
        let (flags, count) = match index {
            0 => (7, 1),
            3 => (1, 1),
            _ => (0, 0),
        };
        let info = IrqInfo {
            flags: IrqInfoFlags::from_bits_retain(flags),
            index,
            count,
        };
        assert_eq!(answered.parse(), Reply::IrqInfo(info));
    }
    let config = client.read(&mut server, 7, 0, 256);
    assert_eq!(config.len(), 256);
    assert_eq!(config[..4], [0x00, 0x10, 0x12, 0x00]);
    assert_eq!(client.read(&mut server, 7, 0x3d, 1), [1]);
    client.write(&mut server, 7, 0x10, &[0xff; 4]);
    assert_eq!(
        client.read(&mut server, 7, 0x10, 4),
        [0x01, 0xff, 0xff, 0xff]
    );
}

#[test]
fn region_data_of_any_length() {
    let mut server = Server::new();
    let mut client = server.attach();
    for count in 0_u8..70 {
        let data: Vec<u8> = (0..count).map(|n| n ^ count).collect();
        client.write(&mut server, 1, 0x101, &data);
        assert_eq!(client.read(&mut server, 1, 0x101, count.into()), data);
    }
}

#[test]
fn ranges_outside_a_region_are_refused() {
    let mut server = Server::new();
    let mut client = server.attach();
    for (region, offset, count) in [
        (1, 0x400, 1),
        (1, 0x3ff, 2),
        (1, u64::MAX, 1),
        (1, 0, u32::MAX),
        (3, 0, 1),
        (6, 0, 4),
        (7, 0, 4096),
        (9, 0, 1),
        (0x101, 0, 1),
    ] {
        let range = RegionRange {
            region,
            offset,
            count,
        };
        let answered = client.ask(&mut server, &Request::RegionRead(range), &[]);
        assert_eq!(answered.errno(), EINVAL, "{range:?}");
        assert_eq!(answered.bytes.len(), 16);
    }
    let data = RegionData {
        region: 7,
        offset: 0xff,
        data: &[0; 2],
    };
    let answered = client.ask(&mut server, &Request::RegionWrite(data), &[]);
    assert_eq!(answered.errno(), EINVAL);
}

#[test]
fn a_write_without_reply_gets_none() {
    let mut server = Server::new();
    let mut client = server.attach();
    let data = RegionData {
        region: 1,
        offset: 0x40,
        data: &[1, 2, 3, 4],
    };
    client.send(&Request::RegionWrite(data), &[], true);
    // Not even an error reply.
    let bad = RegionData {
        offset: 0x400,
        ..data
    };
    client.send(&Request::RegionWrite(bad), &[], true);
    server.turn();
    assert!(client.receive().is_none());
    assert_eq!(client.read(&mut server, 1, 0x40, 4), [1, 2, 3, 4]);
}

#[test]
fn guest_ram_is_reachable_while_it_is_mapped() {
    let mut server = Server::new();
    let mut client = server.attach();
    let ram = memory(0x4000);
    let greet = |server: &mut Server, client: &mut Client, address: u64| {
        ram.write_all_at(&[0; 0x4000], 0).unwrap();
        client.write(server, 1, GREET, &address.to_le_bytes());
        let mut found = [0; 4];
        ram.read_exact_at(&mut found, 0x20).unwrap();
        found == *GREETING
    };
    let answered = client.ask(&mut server, &map(0x10_0000, 0x4000), &[ram.as_fd()]);
    assert_eq!(answered.errno(), 0);
    assert!(
        !greet(&mut server, &mut client, 0x10_0020),
        "bus mastering is off"
    );
    client.write(&mut server, 7, 4, &[6, 0]);
    assert!(greet(&mut server, &mut client, 0x10_0020));

    let answered = client.ask(
        &mut server,
        &unmap(DmaUnmapFlags::empty(), 0x10_0000, 0x1000),
        &[],
    );
    assert_eq!(
        answered.errno(),
        Errno::NOENT.raw_os_error(),
        "not what was mapped"
    );
    let answered = client.ask(
        &mut server,
        &unmap(DmaUnmapFlags::empty(), 0x10_0000, 0x4000),
        &[],
    );
    assert_eq!(answered.errno(), 0);
    assert_eq!(answered.bytes.len(), 40);
    assert!(!greet(&mut server, &mut client, 0x10_0020));

    client.ask(&mut server, &map(0, 0x4000), &[ram.as_fd()]);
    assert!(greet(&mut server, &mut client, 0x20));
    let answered = client.ask(&mut server, &map(0x2000, 0x2000), &[ram.as_fd()]);
    assert_eq!(answered.errno(), Errno::EXIST.raw_os_error());
    let answered = client.ask(&mut server, &unmap(DmaUnmapFlags::ALL, 0, 0x4000), &[]);
    assert_eq!(answered.errno(), EINVAL, "all has no range");
    let answered = client.ask(&mut server, &unmap(DmaUnmapFlags::ALL, 0, 0), &[]);
    assert_eq!(answered.errno(), 0);
    assert!(!greet(&mut server, &mut client, 0x20));
}

#[test]
fn a_range_without_a_file_is_accepted_and_taken_away() {
    let mut server = Server::new();
    let mut client = server.attach();
    let rom = |flags| unmap(flags, 0xf000_0000, 0x1000);
    assert_eq!(
        client
            .ask(&mut server, &map(0xf000_0000, 0x1000), &[])
            .errno(),
        0
    );
    assert_eq!(
        client
            .ask(&mut server, &rom(DmaUnmapFlags::empty()), &[])
            .errno(),
        0
    );
    let answered = client.ask(&mut server, &rom(DmaUnmapFlags::empty()), &[]);
    assert_eq!(answered.errno(), Errno::NOENT.raw_os_error());
    let answered = client.ask(&mut server, &rom(DmaUnmapFlags::DIRTY_BITMAP), &[]);
    assert_eq!(answered.errno(), ENOTSUP);
    for n in 0..256 {
        assert_eq!(
            client.ask(&mut server, &map(n << 12, 0x1000), &[]).errno(),
            0
        );
    }
    let answered = client.ask(&mut server, &map(0xf000_0000, 0x1000), &[]);
    assert_eq!(answered.errno(), Errno::NOSPC.raw_os_error());
}

#[test]
fn reset_is_the_devices_and_keeps_guest_ram() {
    let mut server = Server::new();
    let mut client = server.attach();
    let ram = memory(0x1000);
    client.ask(&mut server, &map(0, 0x1000), &[ram.as_fd()]);
    client.write(&mut server, 1, 0x40, &[7]);
    let answered = client.ask(&mut server, &Request::DeviceReset, &[]);
    assert_eq!(answered.parse(), Reply::Done(Command::DEVICE_RESET));
    assert_eq!(client.read(&mut server, 1, 0x40, 1), [0]);
    client.write(&mut server, 7, 4, &[6, 0]);
    client.write(&mut server, 1, GREET, &[0; 8]);
    let mut found = [0; 4];
    ram.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(found, *GREETING);
}

#[test]
fn what_is_not_served_is_refused() {
    let mut server = Server::new();
    let mut client = server.attach();
    let query = RegionQuery { room: 64, index: 1 };
    let range = outrigger_vfio_user::DmaRange {
        address: 0,
        count: 1,
    };
    for request in [
        Request::RegionIoFds(query),
        Request::DmaRead(range),
        Request::RegionWriteMulti(Vec::new()),
        Request::Other {
            command: Command(16),
            payload: &[0; 8],
        },
        Request::Other {
            command: Command(0x4fff),
            payload: &[],
        },
    ] {
        let answered = client.ask(&mut server, &request, &[]);
        assert_eq!(answered.errno(), ENOTSUP, "{request:?}");
    }
}

#[test]
fn nothing_is_served_before_version_and_version_only_once() {
    let mut server = Server::new();
    let mut client = server.connect();
    assert_eq!(
        client.ask(&mut server, &Request::DeviceInfo, &[]).errno(),
        EINVAL
    );
    let version = |major| {
        Request::Version(Version {
            major,
            minor: 1,
            data: b"",
        })
    };
    assert_eq!(client.ask(&mut server, &version(1), &[]).errno(), EINVAL);
    assert_eq!(client.ask(&mut server, &version(0), &[]).errno(), 0);
    assert_eq!(client.ask(&mut server, &version(0), &[]).errno(), EINVAL);
    assert_eq!(
        client.ask(&mut server, &Request::DeviceInfo, &[]).errno(),
        0
    );
}

#[test]
fn the_next_client_finds_a_fresh_device() {
    let mut server = Server::new();
    let mut first = server.attach();
    let mut second = Client::new(UnixStream::connect(&server.path).unwrap());
    let ram = memory(0x1000);
    first.ask(&mut server, &map(0, 0x1000), &[ram.as_fd()]);
    first.write(&mut server, 7, 4, &[6, 0]);
    first.write(&mut server, 1, 0x40, &[7]);
    let trigger = eventfd();
    first.ask(&mut server, &set(TRIGGER_FD, 1, &[]), &[trigger.as_fd()]);
    drop(first);
    server.turn();
    let version = Version {
        major: 0,
        minor: 1,
        data: b"",
    };
    assert_eq!(
        second
            .ask(&mut server, &Request::Version(version), &[])
            .errno(),
        0
    );
    assert_eq!(second.read(&mut server, 1, 0x40, 1), [0]);
    assert_eq!(second.read(&mut server, 7, 4, 1), [0]);
    // The first client's guest RAM and interrupt are gone.
    second.write(&mut server, 7, 4, &[6, 0]);
    second.write(&mut server, 1, GREET, &[0; 8]);
    second.write(&mut server, 1, super::device::LINE, &[1]);
    let mut found = [0; 4];
    ram.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(found, [0; 4]);
    assert_eq!(count(&trigger), 0);
}

/// The stream's end is announced together with what came before it, and only once.
#[test]
fn a_client_that_leaves_with_its_last_word_is_gone() {
    let mut server = Server::new();
    let mut client = server.attach();
    client.send(&Request::DeviceReset, &[], true);
    drop(client);
    server.turn();
    let mut next = server.attach();
    assert_eq!(next.read(&mut server, 1, 0x40, 1), [0]);
}

#[test]
fn an_inherited_client_is_the_only_one() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut worker = Worker::new(
        Endpoint::Connected(theirs.into()),
        Box::new(device::Scratch::default()),
    );
    let mut client = Client::new(ours);
    let version = Version {
        major: 0,
        minor: 1,
        data: b"",
    };
    client.send(&Request::Version(version), &[], false);
    worker.turn(Duration::ZERO);
    assert_eq!(client.receive().unwrap().errno(), 0);
    assert!(!worker.export.is_over());
    drop(client);
    worker.turn(Duration::ZERO);
    assert!(worker.export.is_over());
}
