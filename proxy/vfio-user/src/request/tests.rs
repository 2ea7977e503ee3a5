//! Golden bytes of every command, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::{DmaMapFlags, DmaUnmapFlags, IrqSetFlags};

/// `request` is these bytes with id 0x0102, and they are `request`.
fn golden(request: &Request<'_>, bytes: &[u8]) {
    let emitted = request.emit(0x0102, false);
    assert_eq!(emitted, bytes, "{request:?}");
    let message = Message::new(bytes).unwrap();
    assert_eq!(
        message.header(),
        Header::command(0x0102, request.command(), false)
    );
    assert_eq!(message.emit(), bytes);
    assert_eq!(&Request::parse(message).unwrap(), request);
}

/// A header with id 0x0102 and this command and size, then the payload.
fn bytes(command: u16, payload: &[u8]) -> Vec<u8> {
    let [c0, c1] = command.to_le_bytes();
    let size = u8::try_from(16 + payload.len()).unwrap();
    let mut bytes = vec![0x02, 0x01, c0, c1, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn golden_bytes_of_every_command() {
    golden(
        &Request::Version(Version {
            major: 0,
            minor: 1,
            data: b"{}\0",
        }),
        &bytes(1, &[0, 0, 1, 0, b'{', b'}', 0]),
    );
    golden(
        &Request::DmaMap(DmaMap {
            flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
            offset: 0x1000,
            address: 0x1_0000_0000,
            size: 0x20_0000,
        }),
        &bytes(
            2,
            &[
                32, 0, 0, 0, 3, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, //
                0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        &Request::DmaUnmap(DmaUnmap {
            flags: DmaUnmapFlags::ALL,
            address: 0x2000,
            size: 0x3000,
        }),
        &bytes(
            3,
            &[
                24, 0, 0, 0, 2, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        &Request::DeviceInfo,
        &bytes(4, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        &Request::RegionInfo(RegionQuery { room: 32, index: 7 }),
        &bytes(
            5,
            &[
                32, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, //
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        &Request::RegionIoFds(RegionQuery { room: 16, index: 1 }),
        &bytes(6, &[16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        &Request::IrqInfo(3),
        &bytes(7, &[16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        &Request::SetIrqs(SetIrqs {
            flags: IrqSetFlags::DATA_BOOL | IrqSetFlags::ACTION_TRIGGER,
            index: 0,
            start: 0,
            count: 1,
            data: &[1],
        }),
        &bytes(
            8,
            &[
                21, 0, 0, 0, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1,
            ],
        ),
    );
    golden(
        &Request::RegionRead(RegionRange {
            region: 7,
            offset: 0x3d,
            count: 1,
        }),
        &bytes(9, &[0x3d, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]),
    );
    golden(
        &Request::RegionWrite(RegionData {
            region: 1,
            offset: 0x2c,
            data: &[0x78, 0x56, 0x34, 0x12],
        }),
        &bytes(
            10,
            &[
                0x2c, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0x78, 0x56, 0x34, 0x12,
            ],
        ),
    );
    golden(
        &Request::DmaRead(DmaRange {
            address: 0x8000,
            count: 2,
        }),
        &bytes(11, &[0, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        &Request::DmaWrite(DmaData {
            address: 0x8000,
            data: &[9, 8],
        }),
        &bytes(
            12,
            &[0, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 8],
        ),
    );
    golden(&Request::DeviceReset, &bytes(13, &[]));
    golden(
        &Request::Other {
            command: Command::DIRTY_PAGES,
            payload: &[1, 2],
        },
        &bytes(14, &[1, 2]),
    );
    golden(
        &Request::RegionWriteMulti(vec![RegionWriteEntry {
            region: 1,
            offset: 0x14,
            count: 1,
            data: [0x20, 0, 0, 0, 0, 0, 0, 0],
        }]),
        &bytes(
            15,
            &[
                1, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, //
                1, 0, 0, 0, 1, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    );
    golden(
        &Request::RingSetup(RingSetup {
            version: 1,
            channels: 2,
            slots: 256,
            reserved: 0,
        }),
        &bytes(0x4f01, &[1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    );
    golden(
        &Request::RingDoorbells(RingDoorbells {
            first: 16,
            count: 3,
        }),
        &bytes(0x4f02, &[16, 0, 0, 0, 3, 0, 0, 0]),
    );
    golden(&Request::AccessMap, &bytes(0x4f03, &[]));
}

#[test]
fn no_reply_is_a_header_flag() {
    let bytes = Request::DeviceReset.emit(1, true);
    assert_eq!(bytes.get(8), Some(&0x10));
    let message = Message::new(&bytes).unwrap();
    assert!(
        message
            .header()
            .flags
            .contains(crate::HeaderFlags::NO_REPLY)
    );
}

/// Every command, cut at every length, is an error or the whole message; nothing between.
#[test]
fn truncated_commands_are_refused() {
    let region_write = RegionData {
        region: 0,
        offset: 0,
        data: &[1, 2, 3],
    };
    let entry = RegionWriteEntry {
        region: 0,
        offset: 0,
        count: 1,
        data: [0; 8],
    };
    for request in [
        Request::RegionWrite(region_write),
        Request::RegionRead(RegionRange {
            region: 0,
            offset: 0,
            count: 3,
        }),
        Request::RegionWriteMulti(vec![entry, entry]),
        Request::DmaWrite(DmaData {
            address: 0,
            data: &[1],
        }),
        Request::DmaMap(DmaMap {
            flags: DmaMapFlags::READ,
            offset: 0,
            address: 0,
            size: 1,
        }),
        Request::RingSetup(RingSetup {
            version: 1,
            channels: 1,
            slots: 1,
            reserved: 0,
        }),
        Request::DeviceInfo,
    ] {
        let whole = request.emit(0, false);
        let payload = Message::new(&whole).unwrap().payload();
        for length in 0..payload.len() {
            let cut = Header::command(0, request.command(), false).emit(&payload[..length]);
            assert!(
                Request::parse(Message::new(&cut).unwrap()).is_err(),
                "{request:?} cut to {length}"
            );
        }
    }
}

#[test]
fn counts_must_match_the_bytes() {
    let short = bytes(
        10,
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3],
    );
    assert_eq!(
        Request::parse(Message::new(&short).unwrap()),
        Err(WireError::Count {
            what: "REGION_WRITE",
            count: 4,
            have: 3
        })
    );
    let huge = bytes(15, &[0xff; 8]);
    assert_eq!(
        Request::parse(Message::new(&huge).unwrap()),
        Err(WireError::Count {
            what: "REGION_WRITE_MULTI",
            count: u64::MAX,
            have: 0
        })
    );
    let long = bytes(9, &[0; 17]);
    assert_eq!(
        Request::parse(Message::new(&long).unwrap()),
        Err(WireError::Trailing {
            what: "REGION_READ",
            extra: 1
        })
    );
}

#[test]
fn a_reply_is_not_a_command() {
    let reply = Header::reply(1, Command::DEVICE_RESET).emit(&[]);
    assert_eq!(
        Request::parse(Message::new(&reply).unwrap()),
        Err(WireError::Kind(1))
    );
    let mut other = Header::command(1, Command::DEVICE_RESET, false).emit(&[]);
    other[8] = 2;
    assert_eq!(Message::new(&other), Err(WireError::Kind(2)));
}

proptest! {
    /// Any payload under any command parses or is refused; what parses comes out as it was, but for fields that only say a size.
    #[test]
    fn any_payload_is_a_value_or_an_error(
        id: u16,
        command in prop_oneof![0_u16..20, Just(0x4f01), Just(0x4f02), Just(0x4f03), any::<u16>()],
        flags: u32,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = Header::command(id, Command(command), false).emit(&payload);
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        if let Ok(message) = Message::new(&bytes) {
            prop_assert_eq!(message.emit(), bytes.clone());
            if let Ok(request) = Request::parse(message) {
                let again = request.emit(id, false);
                prop_assert_eq!(&Request::parse(Message::new(&again).unwrap()).unwrap(), &request);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(message) = Message::new(&bytes) {
            prop_assert_eq!(message.emit(), bytes);
        }
    }

    #[test]
    fn region_writes_round_trip(id: u16, region: u32, offset: u64, data in prop::collection::vec(any::<u8>(), 0..5000)) {
        let request = Request::RegionWrite(RegionData { region, offset, data: &data });
        let bytes = request.emit(id, true);
        let message = Message::new(&bytes).unwrap();
        prop_assert_eq!(message.header().id, id);
        prop_assert_eq!(Request::parse(message).unwrap(), request);
    }

    #[test]
    fn dma_maps_round_trip(flags: u32, offset: u64, address: u64, size: u64) {
        let request = Request::DmaMap(DmaMap { flags: DmaMapFlags::from_bits_retain(flags), offset, address, size });
        let bytes = request.emit(0, false);
        prop_assert_eq!(Request::parse(Message::new(&bytes).unwrap()).unwrap(), request);
    }
}
