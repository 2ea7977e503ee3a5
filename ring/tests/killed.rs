//! A worker process that is killed at any moment is noticed, long before the deadline, and nothing hangs.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger_ring::{
    Access, Client, ClientSetup, Error, Geometry, PeerWatch, Request, ServerSetup, Width,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

const ROLE: &str = "OUTRIGGER_RING_TEST_ROLE";
const DEADLINE: Duration = Duration::from_secs(120);
const ACCESS: Access = Access {
    region: 0,
    offset: 0,
    width: Width::Dword,
};

fn geometry() -> Geometry {
    Geometry::new(2, 16).unwrap()
}

fn send(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    sendmsg(
        socket,
        &[io::IoSlice::new(b"!")],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
}

fn receive<const N: usize>(socket: BorrowedFd<'_>) -> [OwnedFd; N] {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    fds.try_into().unwrap()
}

/// Not a test of its own: what the child process does, with the socket as its standard input. Elsewhere it does nothing.
#[test]
fn worker_process() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let socket = io::stdin();
    let [requests, mailboxes, first, second] = receive(socket.as_fd());
    let mut setup = ServerSetup::new(geometry(), requests, mailboxes, 0).unwrap();
    setup.add_doorbells(0, vec![first, second]).unwrap();
    send(socket.as_fd(), &[setup.device(), setup.doorbell()]);
    let mut server = setup.finish().unwrap();
    let mut register = 0;
    loop {
        let found = server.turn(|request| match request {
            Request::Read(_) => register,
            Request::Write(_, value) => {
                register = value;
                0
            }
        });
        if !found.unwrap() && server.prepare_sleep() {
            let bell = PollFd::from_borrowed_fd(server.as_fd(), PollFlags::IN);
            let mut fds = [bell, PollFd::new(&socket, PollFlags::RDHUP)];
            poll(&mut fds, None).unwrap();
            let [_, hang_up] = fds.map(|fd| fd.revents());
            if !hang_up.is_empty() {
                return;
            }
        }
        server.awake();
        server.drain_doorbell();
    }
}

fn attach() -> (Vec<Client>, Child) {
    let (socket, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process"])
        .env(ROLE, "worker")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let setup = ClientSetup::new(geometry()).unwrap();
    let mut fds = vec![setup.requests(), setup.mailboxes()];
    fds.extend(setup.doorbells());
    send(socket.as_fd(), &fds);
    let [device, doorbell] = receive(socket.as_fd());
    let watch = PeerWatch::Socket(Arc::new(socket.into()));
    let clients = setup.finish(device, doorbell, 0, &watch, DEADLINE).unwrap();
    (clients, child)
}

#[test]
fn a_killed_worker_is_noticed() {
    for moment in [0, 1, 7, 40, 300] {
        let (clients, mut child) = attach();
        let start = Instant::now();
        let vcpus: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                std::thread::spawn(move || {
                    // A few accesses at least went through; then for ever.
                    loop {
                        let writes = (0..40).map(|value| (ACCESS, value));
                        if let Err(error) =
                            client.post_all(writes).and_then(|()| client.read(ACCESS))
                        {
                            return (error, client.read(ACCESS), client.counters().snapshot());
                        }
                    }
                })
            })
            .collect();
        // Some way into the load, in the worker's own measure; where, is chance.
        for _ in 0..moment * 1000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for vcpu in vcpus {
            let (error, again, _) = vcpu.join().unwrap();
            assert_eq!(error, Error::PeerGone);
            assert_eq!(again, Err(Error::PeerGone));
        }
        assert!(start.elapsed() < DEADLINE);
    }
}

#[test]
fn a_worker_notices_that_its_client_has_gone() {
    let (mut clients, mut child) = attach();
    clients[0].post(ACCESS, 5).unwrap();
    assert_eq!(clients[1].read(ACCESS), Ok(5));
    drop(clients);
    assert!(child.wait().unwrap().success());
}
