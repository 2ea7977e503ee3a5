//! A session with both ends in one place; the tests of what can happen to it.

mod doorbells;
mod peer;
mod setup;

use std::os::unix::net::UnixStream;

use super::*;
use crate::memory::Mapping;
use crate::message::{Access, Message, Request, Width};

const SHORT: Duration = Duration::from_millis(5);
const ACCESS: Access = Access {
    region: 1,
    offset: 8,
    width: Width::Dword,
};

fn geometry() -> Geometry {
    Geometry::new(2, 16).unwrap()
}

fn own(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().unwrap()
}

/// A session whose memories stay reachable to misuse, and the socket that keeps the clients' peer
/// alive.
struct Session {
    clients: Vec<Client>,
    server: Server,
    requests: Arc<Mapping>,
    mailboxes: Arc<Mapping>,
    device: Arc<Mapping>,
    _socket: UnixStream,
}

fn session() -> Session {
    let (ours, socket) = UnixStream::pair().unwrap();
    let client = ClientSetup::new(geometry()).unwrap();
    let mut server = ServerSetup::new(
        geometry(),
        own(client.requests()),
        own(client.mailboxes()),
        0,
    )
    .unwrap();
    let doorbells = client.doorbells().into_iter().map(own).collect();
    server.add_doorbells(0, doorbells).unwrap();
    let (requests, mailboxes) = (
        client.requests.mapping.clone(),
        client.mailboxes.mapping.clone(),
    );
    let device = server.device.mapping.clone();
    let watch = PeerWatch::Socket(Arc::new(ours.into()));
    let (memory, doorbell) = (own(server.device()), own(server.doorbell()));
    let clients = client.finish(memory, doorbell, 0, &watch, SHORT).unwrap();
    let server = server.finish().unwrap();
    Session {
        clients,
        server,
        requests,
        mailboxes,
        device,
        _socket: socket,
    }
}
