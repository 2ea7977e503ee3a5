//! Golden bytes of every reply, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::{
    AccessEntry, Capabilities, DeviceFlags, DmaUnmapFlags, IrqInfoFlags, IrqSetFlags, RegionFlags,
    RingCapability, Treatment,
};

/// `reply` is these bytes with id 0x0102, and they are `reply`.
fn golden(reply: Reply<'_>, bytes: &[u8]) {
    assert_eq!(reply.emit(0x0102), bytes, "{reply:?}");
    let message = Message::new(bytes).unwrap();
    assert_eq!(message.header().id, 0x0102);
    assert_eq!(message.emit(), bytes);
    assert_eq!(Reply::parse(message), Ok(reply));
}

fn bytes(command: u16, payload: &[u8]) -> Vec<u8> {
    let [c0, c1] = command.to_le_bytes();
    let size = u8::try_from(16 + payload.len()).unwrap();
    let mut bytes = vec![0x02, 0x01, c0, c1, size, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn golden_bytes_of_every_reply() {
    golden(
        Reply::Version(Version {
            major: 0,
            minor: 1,
            data: b"{}\0",
        }),
        &bytes(1, &[0, 0, 1, 0, b'{', b'}', 0]),
    );
    for command in [2, 8, 13, 15, 0x4f02] {
        golden(Reply::Done(Command(command)), &bytes(command, &[]));
    }
    golden(
        Reply::DmaUnmap(DmaUnmap {
            flags: DmaUnmapFlags::empty(),
            address: 0x2000,
            size: 0x3000,
        }),
        &bytes(
            3,
            &[
                24, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        Reply::DeviceInfo(DeviceInfo {
            flags: DeviceFlags::RESET | DeviceFlags::PCI,
            regions: 9,
            irqs: 5,
        }),
        &bytes(4, &[16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0]),
    );
    golden(
        Reply::RegionInfo(RegionInfo {
            flags: RegionFlags::READ | RegionFlags::WRITE,
            index: 1,
            cap_offset: 0,
            size: 0x400,
            offset: 0,
            capabilities: &[],
        }),
        &bytes(
            5,
            &[
                32, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, //
                0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        Reply::IrqInfo(IrqInfo {
            flags: IrqInfoFlags::EVENTFD | IrqInfoFlags::MASKABLE | IrqInfoFlags::AUTOMASKED,
            index: 0,
            count: 1,
        }),
        &bytes(7, &[16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
    );
    golden(
        Reply::RegionRead(RegionData {
            region: 7,
            offset: 0,
            data: &[0, 0x10, 0x12, 0],
        }),
        &bytes(
            9,
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0x12, 0,
            ],
        ),
    );
    golden(
        Reply::RegionWrite(RegionRange {
            region: 1,
            offset: 0x14,
            count: 4,
        }),
        &bytes(10, &[0x14, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]),
    );
    golden(
        Reply::DmaRead(DmaData {
            address: 0x8000,
            data: &[9, 8],
        }),
        &bytes(
            11,
            &[0, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 8],
        ),
    );
    golden(
        Reply::DmaWrite(DmaRange {
            address: 0x8000,
            count: 2,
        }),
        &bytes(12, &[0, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        Reply::RingReady(RingReady {
            version: 1,
            mirror_bytes: 0,
        }),
        &bytes(0x4f01, &[1, 0, 0, 0, 0, 0, 0, 0]),
    );
    let entries = AccessMap::encode(&[
        AccessEntry {
            region: 1,
            offset: 0x14,
            size: 1,
            treatment: Treatment::Mirrored {
                register: 2,
                through: 0x30,
                clears: 0x04,
                opaque: 0xc0,
            },
        },
        AccessEntry {
            region: 2,
            offset: 0x1000,
            size: 0x2000,
            treatment: Treatment::Memory { descriptor: 3 },
        },
        AccessEntry {
            region: 0,
            offset: 0x42,
            size: 2,
            treatment: Treatment::ReadToClear {
                group: 1,
                register: 2,
                summary: 0x08,
            },
        },
    ]);
    golden(
        Reply::AccessMap(AccessMap::new(&entries).unwrap()),
        &bytes(
            0x4f03,
            &[
                3, 0, 0, 0, 0, 0, 0, 0, //
                1, 0, 0, 0, 1, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, //
                1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x30, 0x04, 0xc0, 0, //
                2, 0, 0, 0, 2, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, //
                0, 0x20, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, //
                3, 0, 0, 0, 0, 0, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, //
                2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x08, 2, 0, 0,
            ],
        ),
    );
    golden(
        Reply::Other {
            command: Command::DEVICE_GET_REGION_IO_FDS,
            payload: &[1],
        },
        &bytes(6, &[1]),
    );
}

#[test]
fn golden_bytes_of_an_error() {
    golden(
        Reply::Error {
            command: Command::DMA_MAP,
            errno: 22,
        },
        &[0x02, 0x01, 2, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0],
    );
    let zero = Header::error(0, Command::DMA_MAP, 0).emit(&[]);
    assert_eq!(
        Reply::parse(Message::new(&zero).unwrap()),
        Err(WireError::NoErrno)
    );
}

#[test]
fn reply_sizes_that_fixed_size_clients_rely_on() {
    let unmap = DmaUnmap {
        flags: DmaUnmapFlags::empty(),
        address: 0,
        size: 0,
    };
    assert_eq!(Reply::DmaUnmap(unmap).emit(0).len(), 40);
    let range = RegionRange {
        region: 0,
        offset: 0,
        count: 0,
    };
    assert_eq!(Reply::RegionWrite(range).emit(0).len(), 32);
    for command in [
        Command::DMA_MAP,
        Command::DEVICE_SET_IRQS,
        Command::DEVICE_RESET,
    ] {
        assert_eq!(Reply::Done(command).emit(0).len(), 16);
    }
}

#[test]
fn capabilities_as_json() {
    let ring = Capabilities {
        outrigger_ring: Some(RingCapability { version: 1 }),
        ..Capabilities::default()
    };
    assert_eq!(
        ring.emit(),
        b"{\"capabilities\":{\"outrigger_ring\":{\"version\":1}}}\0"
    );
    assert_eq!(Capabilities::parse(&ring.emit()), Ok(ring));
    assert_eq!(Capabilities::parse(b""), Ok(Capabilities::default()));
    assert_eq!(Capabilities::parse(b"{}\0"), Ok(Capabilities::default()));
    let known = Capabilities {
        max_msg_fds: Some(8),
        ..Capabilities::default()
    };
    let text = b"{\"capabilities\":{\"max_msg_fds\":8,\"migration\":{\"pgsize\":4096},\"x\":[1]},\"y\":2}\0";
    assert_eq!(Capabilities::parse(text), Ok(known));
    for bad in [
        &b"{}"[..],
        b"\0",
        b"{\0",
        b"[]x\0",
        b"{\"capabilities\":{\"max_msg_fds\":-1}}\0",
        b"\xff\0",
    ] {
        assert_eq!(
            Capabilities::parse(bad),
            Err(WireError::VersionData),
            "{bad:?}"
        );
    }
}

/// The numbers are the kernel's VFIO interface's.
#[test]
fn flags_agree_with_the_kernel() {
    use vfio_bindings::bindings::vfio as kernel;
    assert_eq!(DeviceFlags::RESET.bits(), kernel::VFIO_DEVICE_FLAGS_RESET);
    assert_eq!(DeviceFlags::PCI.bits(), kernel::VFIO_DEVICE_FLAGS_PCI);
    assert_eq!(RegionFlags::READ.bits(), kernel::VFIO_REGION_INFO_FLAG_READ);
    assert_eq!(
        RegionFlags::WRITE.bits(),
        kernel::VFIO_REGION_INFO_FLAG_WRITE
    );
    assert_eq!(RegionFlags::MMAP.bits(), kernel::VFIO_REGION_INFO_FLAG_MMAP);
    assert_eq!(RegionFlags::CAPS.bits(), kernel::VFIO_REGION_INFO_FLAG_CAPS);
    assert_eq!(IrqInfoFlags::EVENTFD.bits(), kernel::VFIO_IRQ_INFO_EVENTFD);
    assert_eq!(
        IrqInfoFlags::MASKABLE.bits(),
        kernel::VFIO_IRQ_INFO_MASKABLE
    );
    assert_eq!(
        IrqInfoFlags::AUTOMASKED.bits(),
        kernel::VFIO_IRQ_INFO_AUTOMASKED
    );
    assert_eq!(
        IrqInfoFlags::NORESIZE.bits(),
        kernel::VFIO_IRQ_INFO_NORESIZE
    );
    assert_eq!(
        IrqSetFlags::DATA_NONE.bits(),
        kernel::VFIO_IRQ_SET_DATA_NONE
    );
    assert_eq!(
        IrqSetFlags::DATA_BOOL.bits(),
        kernel::VFIO_IRQ_SET_DATA_BOOL
    );
    assert_eq!(
        IrqSetFlags::DATA_EVENTFD.bits(),
        kernel::VFIO_IRQ_SET_DATA_EVENTFD
    );
    assert_eq!(
        IrqSetFlags::ACTION_MASK.bits(),
        kernel::VFIO_IRQ_SET_ACTION_MASK
    );
    assert_eq!(
        IrqSetFlags::ACTION_UNMASK.bits(),
        kernel::VFIO_IRQ_SET_ACTION_UNMASK
    );
    assert_eq!(
        IrqSetFlags::ACTION_TRIGGER.bits(),
        kernel::VFIO_IRQ_SET_ACTION_TRIGGER
    );
}

proptest! {
    #[test]
    fn any_payload_is_a_value_or_an_error(
        id: u16,
        command in prop_oneof![0_u16..20, Just(0x4f01), Just(0x4f02), Just(0x4f03), any::<u16>()],
        errno: u32,
        flags: u32,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = Header::error(id, Command(command), errno).emit(&payload);
        bytes[8..12].copy_from_slice(&(flags & 0x31).to_le_bytes());
        let message = Message::new(&bytes).unwrap();
        prop_assert_eq!(message.emit(), bytes.clone());
        if let Ok(reply) = Reply::parse(message) {
            let again = reply.emit(id);
            prop_assert_eq!(Reply::parse(Message::new(&again).unwrap()).unwrap(), reply);
        }
    }

    #[test]
    fn any_version_data_are_capabilities_or_an_error(data in prop::collection::vec(any::<u8>(), 0..100), text in "\\PC*") {
        let _ = Capabilities::parse(&data);
        let mut text = text.into_bytes();
        text.push(0);
        let _ = Capabilities::parse(&text);
    }
}
