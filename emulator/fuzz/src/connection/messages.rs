//! Requests as clients send them, with some numbers that none sends.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use outrigger_fuzz::Input;
use outrigger_vfio_user::{
    Command, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, Header, IrqSetFlags, RegionData,
    RegionQuery, RegionRange, Request, RingDoorbells, RingSetup, SetIrqs, Version,
};
use rustix::event::{EventfdFlags, eventfd};

use crate::ram::memfd;

/// VERSION, as QEMU has it.
pub(super) fn version(ring: bool) -> Vec<u8> {
    let data: &[u8] = match ring {
        false => b"{\"capabilities\":{\"max_msg_fds\":8}}\0",
        true => b"{\"capabilities\":{\"max_msg_fds\":8,\"outrigger_ring\":{\"version\":1}}}\0",
    };
    let version = Version {
        major: 0,
        minor: 1,
        data,
    };
    Request::Version(version).emit(1, false)
}

/// RING_SETUP for one channel of 16 slots.
pub(super) fn ring_setup() -> Vec<u8> {
    let setup = RingSetup {
        version: 1,
        channels: 1,
        slots: 16,
        reserved: 0,
    };
    Request::RingSetup(setup).emit(2, false)
}

/// Its doorbell.
pub(super) fn ring_doorbells() -> Vec<u8> {
    Request::RingDoorbells(RingDoorbells { first: 0, count: 1 }).emit(3, false)
}

/// Whether a reply says that the rings are there.
pub(super) fn is_ring_ready(header: &Header) -> bool {
    header.command == Command::RING_SETUP
}

/// A request and its descriptors.
pub(super) fn message(input: &mut Input<'_>) -> (Vec<u8>, Vec<OwnedFd>) {
    let choice = input.u8();
    let id = u16::from(input.u8());
    let no_reply = choice & 0xe0 == 0xe0;
    let mut fds = Vec::new();
    let page = |it: u8| u64::from(it & 0x1f) << 12;
    let data;
    let request = match choice & 31 {
        0..=3 => {
            if choice & 31 != 3 {
                fds.push(descriptor(input));
            }
            let odd = input.u8();
            Request::DmaMap(DmaMap {
                flags: DmaMapFlags::from_bits_retain(u32::from(odd & 3)),
                offset: if odd & 0x80 == 0 {
                    0
                } else {
                    input.near(0x1000)
                },
                address: if odd & 0x40 == 0 {
                    page(input.u8())
                } else {
                    input.near(0)
                },
                size: if odd & 0x20 == 0 {
                    page(input.u8())
                } else {
                    input.near(0)
                },
            })
        }
        4 | 5 => {
            let odd = input.u8();
            Request::DmaUnmap(DmaUnmap {
                flags: DmaUnmapFlags::from_bits_retain(u32::from(odd >> 7) * u32::from(odd & 3)),
                address: if odd & 0x40 == 0 {
                    page(input.u8())
                } else {
                    input.near(0)
                },
                size: if odd & 0x20 == 0 {
                    page(input.u8())
                } else {
                    input.near(0)
                },
            })
        }
        6 => Request::DeviceInfo,
        7 => Request::RegionInfo(RegionQuery {
            room: input.u32(),
            index: u32::from(input.u8() % 12),
        }),
        8 => Request::RegionIoFds(RegionQuery {
            room: input.u32(),
            index: u32::from(input.u8() % 12),
        }),
        9 => Request::IrqInfo(u32::from(input.u8() % 8)),
        10..=13 => {
            let flags = input.u8();
            for _ in 0..flags >> 6 {
                fds.push(descriptor(input));
            }
            let count = input.below(12);
            data = input.bytes(count);
            Request::SetIrqs(SetIrqs {
                flags: IrqSetFlags::from_bits_retain(u32::from(flags & 0x3f)),
                index: u32::from(input.u8() % 6),
                start: u32::from(input.u8() & 1),
                count: u32::from(input.u8() & 3),
                data,
            })
        }
        14..=17 => Request::RegionRead(RegionRange {
            region: u32::from(input.u8() % 10),
            offset: input.near(0x100),
            count: if choice & 0x20 == 0 {
                u32::from(input.u8() & 15)
            } else {
                input.u32() % 0x1200
            },
        }),
        18..=24 => {
            let (region, offset) = (u32::from(input.u8() % 10), u64::from(input.u16()));
            let count = input.below(17);
            data = input.bytes(count);
            Request::RegionWrite(RegionData {
                region,
                offset,
                data,
            })
        }
        25 => {
            // The COMMAND register, or a BAR: nothing is decoded and no bus master before.
            let value = [input.u8() & 7, 0];
            let write = RegionData {
                region: 7,
                offset: 4,
                data: &value,
            };
            return (Request::RegionWrite(write).emit(id, no_reply), fds);
        }
        26 => Request::DeviceReset,
        27 => Request::AccessMap,
        28 => {
            fds = (0..input.u8() & 3).map(|_| descriptor(input)).collect();
            Request::RingSetup(RingSetup {
                version: 1 + u32::from(input.u8() >> 7),
                channels: u32::from(input.u8() & 3),
                slots: 1 << (input.u8() & 15),
                reserved: 0,
            })
        }
        29 => {
            fds = (0..input.u8() & 3).map(|_| descriptor(input)).collect();
            Request::RingDoorbells(RingDoorbells {
                first: u32::from(input.u8() & 3),
                count: u32::from(input.u8() & 3),
            })
        }
        30 => {
            let count = input.below(80);
            data = input.bytes(count);
            Request::Version(Version {
                major: u16::from(input.u8() >> 7),
                minor: u16::from(input.u8() & 3),
                data,
            })
        }
        _ => {
            let command = Command(u16::from(input.u8() % 20));
            let count = input.below(64);
            data = input.bytes(count);
            let header = Header::command(id, command, no_reply);
            fds = (0..input.u8() & 3).map(|_| descriptor(input)).collect();
            return (header.emit(data), fds);
        }
    };
    (request.emit(id, no_reply), fds)
}

/// Something to send along.
fn descriptor(input: &mut Input<'_>) -> OwnedFd {
    match input.u8() {
        0..150 => memfd(u64::from(input.u8() & 0x1f) << 12),
        150..230 => eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd"),
        230..240 => UnixStream::pair().expect("a socket").0.into(),
        240..250 => memfd(100),
        _ => std::fs::File::open("/dev/null").expect("a file").into(),
    }
}
