//! A scripted emulator on a thread, for tests: a device that stores what is written, and that misbehaves on demand.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

use outrigger_vfio_user::{
    AccessEntry, AccessMap, Capabilities, DeviceFlags, DeviceInfo, DmaMap, HeaderFlags, IrqInfo,
    IrqInfoFlags, IrqSetFlags, Message, Received, Receiver, RegionData, RegionFlags, RegionInfo,
    RegionRange, Reply, Request, RingCapability, Version, Wait, send,
};

mod device;
mod ring;

use device::Device;

/// What the emulator does with one request instead of answering it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The reply has another id.
    WrongId,
    /// The reply is to another command.
    WrongCommand,
    /// A command comes where the reply is due.
    CommandInstead,
    /// The reply ends early, and the connection with it.
    CutOff,
    /// The header announces a huge message.
    Huge,
    /// The header announces less than itself.
    Tiny,
    /// The reply's payload lacks its last byte (or has one too many, where it is empty).
    Short,
    /// The reply's payload has more than belongs there.
    Long,
    /// An error without a number.
    NoErrno,
    /// An error.
    Refuse(u32),
    /// The reply carries this many descriptors.
    Fds(usize),
    /// The reply's payload is this, whatever was asked.
    Payload(Vec<u8>),
    /// These bytes.
    Raw(Vec<u8>),
    /// The connection closes.
    HangUp,
    /// Nothing, and the connection stays.
    Silence,
}

/// The device and when it misbehaves.
#[derive(Clone, Debug)]
pub struct Script {
    /// The request, by number from 0, that meets the fault.
    pub fault: Option<(usize, Fault)>,
    /// Bytes of each region; 0 if there is none.
    pub sizes: [u64; 9],
    /// The first 256 bytes of config space.
    pub header: [u8; 256],
    /// What DEVICE_GET_INFO says of the device.
    pub flags: DeviceFlags,
    /// How many regions it claims to have.
    pub regions: u32,
    /// How many interrupt indices it claims to have.
    pub irqs: u32,
    /// The minor version that it answers with.
    pub minor: u16,
    /// It offers rings; with a number, it serves so many accesses over them and then none.
    pub ring: Option<Option<usize>>,
    /// The access map that it sends with a memory for region 2, instead of one that says just that.
    pub access_map: Option<Vec<AccessEntry>>,
}

impl Default for Script {
    /// The LSI's shape: an I/O BAR of 256 bytes, memory BARs of 1 KiB and 8 KiB.
    fn default() -> Self {
        let mut header = [0; 256];
        header[..4].copy_from_slice(&[0x00, 0x10, 0x12, 0x00]);
        header[9..12].copy_from_slice(&[0x00, 0x00, 0x01]);
        header[0x10] = 1;
        header[0x3d] = 1;
        Self {
            fault: None,
            sizes: [0x100, 0x400, 0x2000, 0, 0, 0, 0, 0x100, 0],
            header,
            flags: DeviceFlags::PCI | DeviceFlags::RESET,
            regions: 9,
            irqs: 5,
            minor: 1,
            ring: None,
            access_map: None,
        }
    }
}

impl Script {
    /// The default device, which misbehaves at this request.
    #[must_use]
    pub fn with_fault(request: usize, fault: Fault) -> Self {
        Self {
            fault: Some((request, fault)),
            ..Self::default()
        }
    }
}

/// What the emulator saw by the time its client had gone.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many messages came.
    pub requests: usize,
    /// Region writes in order: region, offset, data, whether the client waited.
    pub writes: Vec<(u32, u64, Vec<u8>, bool)>,
    /// The guest RAM that was handed over and not taken back.
    pub mapped: Vec<DmaMap>,
    /// All descriptors that came.
    pub fds: Vec<OwnedFd>,
    /// How many resets there were.
    pub resets: usize,
    /// The flags of each SET_IRQS, in order.
    pub irq_flags: Vec<IrqSetFlags>,
}

/// A running fake; the client's end of its connection was returned with it.
#[derive(Debug)]
pub struct FakeEmulator(JoinHandle<Seen>);

impl FakeEmulator {
    /// Starts it; the descriptor is the client's end of its connection.
    ///
    /// # Panics
    /// If the kernel gives no socket pair.
    #[must_use]
    pub fn start(script: Script) -> (Self, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = spawn(move || serve(&ours, script));
        (Self(thread), theirs.into())
    }

    /// What it saw; waits until the client has gone.
    ///
    /// # Panics
    /// If the thread did: it was asked for something that the fake does not know.
    pub fn seen(self) -> Seen {
        self.0.join().unwrap()
    }
}

struct Fake {
    script: Script,
    device: Arc<Mutex<Device>>,
    rings: ring::Rings,
    seen: Seen,
}

fn serve(socket: &UnixStream, script: Script) -> Seen {
    let mut memory: Vec<Vec<u8>> = script
        .sizes
        .iter()
        .map(|&size| vec![0; usize::try_from(size.min(0x1_0000)).unwrap()])
        .collect();
    let config = script.header.len().min(memory[7].len());
    memory[7][..config].copy_from_slice(&script.header[..config]);
    let writes = Vec::new();
    let mut fake = Fake {
        script,
        device: Arc::new(Mutex::new(Device { memory, writes })),
        rings: ring::Rings::default(),
        seen: Seen::default(),
    };
    let mut receiver = Receiver::new(1 << 16);
    while let Ok(Received::Message { bytes, fds }) = receiver.receive(socket, Wait::AsSocket) {
        let message = Message::new(&bytes).unwrap();
        let number = fake.seen.requests;
        fake.seen.requests += 1;
        let (reply, reply_fds) = fake.answer(message, &fds);
        fake.seen.fds.extend(fds);
        let fault = fake
            .script
            .fault
            .clone()
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        let went = match fault {
            Some(fault) => misbehave(socket, message, reply, reply_fds, fault),
            None if message.header().flags.contains(HeaderFlags::NO_REPLY) => true,
            None => {
                let fds: Vec<_> = reply_fds.iter().map(AsFd::as_fd).collect();
                send(socket, &reply, &fds).is_ok()
            }
        };
        if !went {
            break;
        }
    }
    let Fake {
        device,
        rings,
        mut seen,
        ..
    } = fake;
    drop(rings);
    seen.writes = std::mem::take(&mut device.lock().unwrap().writes);
    seen
}

impl Fake {
    fn answer(&mut self, message: Message<'_>, fds: &[OwnedFd]) -> (Vec<u8>, Vec<OwnedFd>) {
        let id = message.header().id;
        let data;
        let mut reply_fds = Vec::new();
        let device = Arc::clone(&self.device);
        let mut device = device.lock().unwrap();
        let request = Request::parse(message).unwrap();
        let reply = match &request {
            Request::Version(_) => {
                let mut capabilities = Capabilities::default();
                capabilities.max_msg_fds = Some(3);
                capabilities.outrigger_ring =
                    self.script.ring.map(|_| RingCapability { version: 1 });
                data = capabilities.emit();
                Reply::Version(Version {
                    major: 0,
                    minor: self.script.minor,
                    data: &data,
                })
            }
            Request::DeviceInfo => Reply::DeviceInfo(DeviceInfo {
                flags: self.script.flags,
                regions: self.script.regions,
                irqs: self.script.irqs,
            }),
            Request::RegionInfo(query) => Reply::RegionInfo(RegionInfo {
                flags: RegionFlags::READ | RegionFlags::WRITE,
                index: query.index,
                cap_offset: 0,
                size: self.script.sizes[query.index as usize],
                offset: 0,
                capabilities: &[],
            }),
            Request::IrqInfo(index) => Reply::IrqInfo(IrqInfo {
                flags: IrqInfoFlags::EVENTFD,
                index: *index,
                count: 1,
            }),
            Request::RegionRead(range) => {
                match device.bytes(range.region, range.offset, range.count as usize) {
                    Some(bytes) => {
                        data = bytes.to_vec();
                        Reply::RegionRead(RegionData {
                            region: range.region,
                            offset: range.offset,
                            data: &data,
                        })
                    }
                    None => Reply::Error {
                        command: request.command(),
                        errno: 22,
                    },
                }
            }
            Request::RegionWrite(write) => {
                let waits = !message.header().flags.contains(HeaderFlags::NO_REPLY);
                let RegionData {
                    region,
                    offset,
                    data,
                } = *write;
                device.write(region, offset, data, waits);
                Reply::RegionWrite(RegionRange {
                    region,
                    offset,
                    count: u32::try_from(data.len()).unwrap(),
                })
            }
            Request::DmaMap(map) => {
                self.seen.mapped.push(*map);
                Reply::Done(request.command())
            }
            Request::DmaUnmap(unmap) => {
                self.seen.mapped.retain(|map| map.address != unmap.address);
                Reply::DmaUnmap(*unmap)
            }
            Request::SetIrqs(set) => {
                self.seen.irq_flags.push(set.flags);
                Reply::Done(request.command())
            }
            Request::DeviceReset => {
                self.seen.resets += 1;
                Reply::Done(request.command())
            }
            Request::RingSetup(setup) if self.script.ring.is_some() => {
                let (ready, fds) = self.rings.set_up(*setup, fds);
                reply_fds = fds;
                Reply::RingReady(ready)
            }
            Request::RingDoorbells(doorbells) => {
                let serves = self.script.ring.flatten();
                self.rings
                    .add_doorbells(*doorbells, fds, &self.device, serves);
                Reply::Done(request.command())
            }
            Request::AccessMap if self.script.ring.is_some() => {
                let entries = self.script.access_map.as_deref();
                (data, reply_fds) = ring::access_map(self.script.sizes[2], entries);
                Reply::AccessMap(AccessMap::new(&data).unwrap())
            }
            other => Reply::Error {
                command: other.command(),
                errno: 95,
            },
        };
        (reply.emit(id), reply_fds)
    }
}

/// Whether the connection goes on.
fn misbehave(
    socket: &UnixStream,
    request: Message<'_>,
    reply: Vec<u8>,
    reply_fds: Vec<OwnedFd>,
    fault: Fault,
) -> bool {
    let mut reply = reply;
    let header = request.header();
    let size = |reply: &mut Vec<u8>, size: u32| reply[4..8].copy_from_slice(&size.to_le_bytes());
    let mut fds: Vec<_> = reply_fds.iter().map(AsFd::as_fd).collect();
    match fault {
        Fault::WrongId => reply[0] ^= 0x80,
        Fault::WrongCommand => reply[2] ^= 1,
        Fault::CommandInstead => reply[8] &= !1,
        Fault::CutOff => {
            reply.pop();
            let _ = send(socket, &reply, &[]);
            return false;
        }
        Fault::Huge => size(&mut reply, u32::MAX),
        Fault::Tiny => size(&mut reply, 15),
        Fault::Short | Fault::Long => {
            if matches!(fault, Fault::Long) || reply.len() == 16 {
                reply.push(0);
            } else {
                reply.pop();
            }
            let length = u32::try_from(reply.len()).unwrap();
            size(&mut reply, length);
        }
        Fault::NoErrno => reply = with_error(&reply, 0),
        Fault::Refuse(errno) => reply = with_error(&reply, errno),
        Fault::Fds(count) => fds = vec![socket.as_fd(); count],
        Fault::Payload(payload) => {
            reply = Reply::Other {
                command: header.command,
                payload: &payload,
            }
            .emit(header.id);
        }
        Fault::Raw(bytes) => reply = bytes,
        Fault::HangUp => return false,
        Fault::Silence => return true,
    }
    // More than the codec is willing to send is two messages' worth.
    let (first, rest) = fds.split_at(fds.len().min(16));
    if rest.is_empty() {
        send(socket, &reply, first).is_ok()
    } else {
        let (head, tail) = reply.split_at(8);
        send(socket, head, first).is_ok() && send(socket, tail, rest).is_ok()
    }
}

fn with_error(reply: &[u8], errno: u32) -> Vec<u8> {
    let mut reply = reply[..16].to_vec();
    reply[4..8].copy_from_slice(&16_u32.to_le_bytes());
    reply[8] |= 0x20;
    reply[12..16].copy_from_slice(&errno.to_le_bytes());
    reply
}
