//! The connection to an emulator that runs already.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::error::Error;
use crate::options::Endpoint;

/// The connected socket of this endpoint.
pub(crate) fn connected(endpoint: Endpoint, deadline: Duration) -> Result<OwnedFd, Error> {
    match endpoint {
        Endpoint::Socket(socket) => Ok(socket),
        Endpoint::Path(path) => match dial(&path, deadline) {
            Ok(socket) => Ok(socket),
            Err(source) => Err(Error::Connect { path, source }),
        },
    }
}

/// Connects. A listener whose queue is full keeps this waiting, for at most the deadline.
fn dial(path: &Path, deadline: Duration) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(deadline))?;
    match retry_on_intr(|| rustix::net::connect(&socket, &address)) {
        Ok(()) => Ok(socket),
        Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}
