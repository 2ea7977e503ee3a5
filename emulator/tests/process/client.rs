//! A client as a VMM is one: over the socket, and over rings.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_ring::{ClientSetup, Geometry, PeerWatch};
use outrigger_vfio_user::{
    DmaMap, DmaMapFlags, Message, Received, Receiver, RegionData, RegionRange, Reply, Request,
    RingDoorbells, RingSetup, Version, Wait, send,
};

const OFFER: &[u8] = b"{\"capabilities\":{\"outrigger_ring\":{\"version\":1}}}\0";
/// Long: an emulator that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) socket: UnixStream,
    receiver: Receiver,
    id: u16,
}

impl Client {
    pub(crate) fn connect(path: &Path) -> Self {
        Self::new(UnixStream::connect(path).unwrap())
    }

    /// A client on this socket, its version negotiated.
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self::with_offer(socket, OFFER)
    }

    /// The same with these capabilities.
    pub(crate) fn with_offer(socket: UnixStream, offer: &[u8]) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self {
            socket,
            receiver: Receiver::new(1 << 20),
            id: 0,
        };
        let version = Version {
            major: 0,
            minor: 1,
            data: offer,
        };
        client.ask(&Request::Version(version), &[]);
        client
    }

    /// The reply, which is no error, and its descriptors.
    fn ask(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> (Vec<u8>, Vec<OwnedFd>) {
        self.id += 1;
        send(&self.socket, &request.emit(self.id, false), fds).unwrap();
        let Received::Message { bytes, fds } =
            self.receiver.receive(&self.socket, Wait::AsSocket).unwrap()
        else {
            panic!("no reply to {request:?}");
        };
        let reply = Reply::parse(Message::new(&bytes).unwrap()).unwrap();
        assert!(
            !matches!(reply, Reply::Error { .. }),
            "{request:?}: {reply:?}"
        );
        (bytes, fds)
    }

    /// Vendor and device from config space.
    pub(crate) fn identity(&mut self) -> u32 {
        let range = RegionRange {
            region: 7,
            offset: 0,
            count: 4,
        };
        let (bytes, _) = self.ask(&Request::RegionRead(range), &[]);
        match Reply::parse(Message::new(&bytes).unwrap()).unwrap() {
            Reply::RegionRead(read) => u32::from_le_bytes(read.data.try_into().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Writes to a region.
    pub(crate) fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        let write = RegionData {
            region,
            offset,
            data,
        };
        self.ask(&Request::RegionWrite(write), &[]);
    }

    /// The same without a reply.
    pub(crate) fn post(&mut self, region: u32, offset: u64, data: &[u8]) {
        let write = RegionData {
            region,
            offset,
            data,
        };
        self.id += 1;
        let request = Request::RegionWrite(write).emit(self.id, true);
        send(&self.socket, &request, &[]).unwrap();
    }

    /// Says that there is a page of guest RAM at address 0, and does not share it.
    pub(crate) fn keep_guest_ram(&mut self) {
        let map = DmaMap {
            flags: DmaMapFlags::READ | DmaMapFlags::WRITE,
            offset: 0,
            address: 0,
            size: 4096,
        };
        self.ask(&Request::DmaMap(map), &[]);
    }

    /// Hands over a page of guest RAM at address 0.
    pub(crate) fn map_guest_ram(&mut self) {
        let ram = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&ram, 4096).unwrap();
        let flags = DmaMapFlags::READ | DmaMapFlags::WRITE;
        let map = DmaMap {
            flags,
            offset: 0,
            address: 0,
            size: 4096,
        };
        self.ask(&Request::DmaMap(map), &[ram.as_fd()]);
    }

    /// Attaches rings with one channel.
    pub(crate) fn attach_ring(&mut self) -> outrigger_ring::Client {
        let setup = ClientSetup::new(Geometry::new(1, 64).unwrap()).unwrap();
        let ask = RingSetup {
            version: 1,
            channels: 1,
            slots: 64,
            reserved: 0,
        };
        let (bytes, mut fds) = self.ask(
            &Request::RingSetup(ask),
            &[setup.requests(), setup.mailboxes()],
        );
        let reply = Reply::parse(Message::new(&bytes).unwrap()).unwrap();
        let Reply::RingReady(ready) = reply else {
            panic!("{reply:?}")
        };
        let (doorbell, device) = (fds.pop().unwrap(), fds.pop().unwrap());
        let doorbells = setup.doorbells();
        self.ask(
            &Request::RingDoorbells(RingDoorbells { first: 0, count: 1 }),
            &doorbells,
        );
        let watch = PeerWatch::Socket(Arc::new(self.socket.try_clone().unwrap().into()));
        let mut clients = setup
            .finish(device, doorbell, ready.mirror_bytes, &watch, PATIENCE)
            .unwrap();
        clients.pop().unwrap()
    }
}
