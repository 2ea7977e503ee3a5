//! A whole attachment to an emulator whose answers lie in the socket before they are asked for.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use outrigger_fuzz::Input;
use outrigger_proxy::{Endpoint, Intx, Proxy, ProxyOptions, Transport, Width};
use outrigger_vfio_user::{
    AccessEntry, AccessMap, Command, DeviceFlags, DeviceInfo, DmaUnmap, DmaUnmapFlags, Header,
    IrqInfo, IrqInfoFlags, RegionData, RegionFlags, RegionInfo, RegionRange, Reply, RingReady,
    Treatment, Version, send,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::pwrite;

use crate::identity::memory;

/// How long the proxy waits for an answer that is not there.
const DEADLINE: Duration = Duration::from_millis(1);
/// BAR sizes of the honest device.
const SIZES: [u64; 9] = [0x100, 0x400, 0x2000, 0, 0, 0, 0, 0x100, 0];

/// The emulator, which writes ahead.
struct Emulator {
    socket: UnixStream,
    id: u16,
}

/// Writes an emulator's answers, has the proxy attach, and uses the device.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (ours, theirs) = UnixStream::pair().expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    let mut emulator = Emulator {
        socket: ours,
        id: 0,
    };
    let choices = input.u8();
    let ring = choices & 1 != 0;
    emulator.describe(&mut input, ring);
    if ring {
        emulator.rings(&mut input);
    }
    emulator.accesses(&mut input);
    if choices & 6 != 0 {
        // Who finds no answer finds the end instead.
        let _ = emulator.socket.shutdown(std::net::Shutdown::Write);
    }
    let options = ProxyOptions {
        vcpus: 1,
        transport: if ring {
            Transport::Ring
        } else {
            Transport::Socket
        },
        ring_slots: 16,
        deadline: DEADLINE,
        ..ProxyOptions::default()
    };
    let Ok((proxy, mut ports)) = Proxy::connect(Endpoint::Socket(theirs.into()), options) else {
        return;
    };
    let port = &mut ports[0];
    while !input.is_empty() {
        let (choice, offset) = (input.u8(), input.u8());
        let width = [Width::Byte, Width::Word, Width::Dword, Width::Dword];
        let width = width[usize::from(choice & 3)];
        let mut data = [0; 8];
        let data = &mut data[..usize::from(width.bytes())];
        match choice >> 2 & 7 {
            0 => {
                let value = port.config_read(offset.into(), width);
                assert_eq!(value & !width.mask(), 0);
            }
            1 => port.config_write(offset.into(), width, input.u32().into()),
            2 => drop(port.mmio_read(0xfe00_0000 + u64::from(offset), data)),
            3 => drop(port.mmio_write(0xfe00_0000 + u64::from(offset), data)),
            4 => drop(port.pio_read(0xc000 + u16::from(offset), data)),
            5 => {
                if let Ok(intx) = Intx::new() {
                    let _ = proxy.enable_interrupt(&intx);
                }
            }
            6 => drop(proxy.reset()),
            _ => drop((proxy.take_event(), proxy.memories())),
        }
    }
}

impl Emulator {
    /// Sends an answer, or what the input makes of it.
    fn answer(&mut self, input: &mut Input<'_>, reply: &Reply<'_>, fds: &[OwnedFd]) {
        let mut bytes = reply.emit(self.id);
        let mut fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let other;
        self.id = self.id.wrapping_add(1);
        match input.u8() {
            0..220 => {}
            220..230 => {
                let (at, value) = (usize::from(input.u8()), input.u8());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= value;
                }
            }
            230..235 => {
                let error = Reply::Error {
                    command: reply.command(),
                    errno: u32::from(input.u8()),
                };
                bytes = error.emit(self.id.wrapping_sub(1));
            }
            235..240 => {
                let count = input.below(200);
                let header = Header::reply(self.id.wrapping_sub(1), reply.command());
                bytes = header.emit(input.bytes(count));
            }
            240..245 => {
                other = memory(input);
                fds.push(other.as_fd());
            }
            245..250 => drop(fds.pop()),
            _ => return,
        }
        // What does not fit is not there.
        let _ = match fds.is_empty() {
            true => (&self.socket).write(&bytes).map(drop),
            false => send(&self.socket, &bytes, &fds),
        };
    }

    fn describe(&mut self, input: &mut Input<'_>, ring: bool) {
        let json: &[u8] = match ring {
            true => b"{\"capabilities\":{\"max_msg_fds\":8,\"outrigger_ring\":{\"version\":1}}}\0",
            false => b"{\"capabilities\":{}}\0",
        };
        let version = Version {
            major: 0,
            minor: 1,
            data: json,
        };
        self.answer(input, &Reply::Version(version), &[]);
        let odd = input.u8();
        let regions = if odd < 0xf0 { 9 } else { u32::from(odd & 15) };
        let info = DeviceInfo {
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            regions,
            irqs: u32::from(odd & 1),
        };
        self.answer(input, &Reply::DeviceInfo(info), &[]);
        for (index, size) in (0..regions.min(9)).zip(SIZES) {
            let odd = input.u8();
            let info = RegionInfo {
                flags: RegionFlags::READ | RegionFlags::WRITE,
                index,
                size: if odd < 0xe0 { size } else { input.near(0x1000) },
                offset: 0,
                cap_offset: 0,
                capabilities: &[],
            };
            self.answer(input, &Reply::RegionInfo(info), &[]);
        }
        if odd & 1 != 0 {
            let info = IrqInfo {
                flags: IrqInfoFlags::EVENTFD,
                index: 0,
                count: 1,
            };
            self.answer(input, &Reply::IrqInfo(info), &[]);
        }
        let mut header = [0; 0x100];
        header[..4].copy_from_slice(&[0x00, 0x10, 0x12, 0x00]);
        header[0x10] = 1;
        header[0x3d] = 1;
        for _ in 0..input.u8() & 3 {
            header[usize::from(input.u8())] = input.u8();
        }
        let read = RegionData {
            region: 7,
            offset: 0,
            data: &header,
        };
        self.answer(input, &Reply::RegionRead(read), &[]);
    }

    fn rings(&mut self, input: &mut Input<'_>) {
        let registers = u32::from(input.u8() % 18);
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let doorbell = eventfd(0, flags).expect("an eventfd");
        let ready = RingReady {
            version: 1,
            mirror_bytes: registers * 64,
        };
        let device = device_memory(registers * 64);
        self.answer(input, &Reply::RingReady(ready), &[device, doorbell]);
        self.answer(input, &Reply::Done(Command::RING_DOORBELLS), &[]);
        let mut entries = Vec::new();
        let mut fds = Vec::new();
        if input.u8() & 1 == 0 {
            fds.push(memory(input));
            entries.push(AccessEntry {
                region: 2,
                offset: 0,
                size: 0x2000,
                treatment: Treatment::Memory { descriptor: 0 },
            });
        }
        for _ in 0..input.u8() & 7 {
            entries.push(AccessEntry {
                region: u32::from(input.u8() & 3),
                offset: u64::from(input.u8()),
                size: 1,
                treatment: Treatment::Mirrored {
                    register: u32::from(input.u8() & 15),
                    through: input.u8(),
                    clears: 0,
                    opaque: 0,
                },
            });
        }
        let entries = AccessMap::encode(&entries);
        let map = AccessMap::new(&entries).expect("whole entries");
        self.answer(input, &Reply::AccessMap(map), &fds);
    }

    /// Answers to what the guest does, if it does it in this order.
    fn accesses(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.u8() & 15 {
            let choice = input.u8();
            let data = input.array::<4>();
            let data = &data[..[1, 2, 4, 4][usize::from(choice & 3)]];
            let (region, offset) = (7, u64::from(input.u8()));
            let count = u32::try_from(data.len()).expect("a few");
            let reply = match choice >> 2 & 7 {
                0..=2 => Reply::RegionRead(RegionData {
                    region,
                    offset,
                    data,
                }),
                3 | 4 => Reply::RegionWrite(RegionRange {
                    region,
                    offset,
                    count,
                }),
                5 => Reply::Done(Command::DEVICE_SET_IRQS),
                6 => Reply::Done(Command::DEVICE_RESET),
                _ => Reply::DmaUnmap(DmaUnmap {
                    flags: DmaUnmapFlags::empty(),
                    address: 0,
                    size: 0x1000,
                }),
            };
            self.answer(input, &reply, &[]);
        }
    }
}

/// The device memory of a session with one channel of 16 slots (`docs/ring-protocol.md`).
fn device_memory(mirror_bytes: u32) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("peer", flags).expect("a memfd");
    let size: u64 = if mirror_bytes == 0 { 0x1000 } else { 0x2000 };
    ftruncate(&fd, size).expect("room");
    let mut header = [0; 64];
    header[..8].copy_from_slice(b"OUTRDEV1");
    for (at, field) in [(8, 1), (12, 1), (16, 16), (20, mirror_bytes)] {
        header[at..at + 4].copy_from_slice(&u32::to_le_bytes(field));
    }
    header[24..32].copy_from_slice(&size.to_le_bytes());
    pwrite(&fd, &header, 0).expect("room");
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals).expect("seals");
    fd
}
