//! Sockets: inherited ones are adopted, paths are bound. All are non-blocking afterwards.
//!
//! A socket's file stays when the process ends: an emulator in its sandbox can no longer reach it, and the right to
//! remove files is not worth keeping for it. Instead, a file on which nobody listens any more is
//! replaced at the next start.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::inherited::Inherited;
use crate::config::export::{Export, Socket};
use crate::config::{OptionError, Problem};
use outrigger_device::front::{Endpoint, Listener};

/// For each export its inherited socket, if it has one.
pub(super) fn adopt_all(
    exports: &[Export],
    descriptors: &mut Inherited,
) -> Result<Vec<Option<Endpoint>>, OptionError> {
    let adopt = |export: &Export| match export.socket {
        Socket::Path(_) => Ok(None),
        Socket::Descriptor(number) => {
            // The configuration has no number twice.
            let endpoint = (descriptors.remove(number))
                .map_err(io::Error::from)
                .and_then(inherited);
            endpoint.map(Some).map_err(|error| {
                let mend = "let the parent leave a UNIX stream socket open under that number";
                export.place.error(Problem::refused(
                    format!("cannot serve descriptor {number}: {error}"),
                    mend,
                ))
            })
        }
    };
    exports.iter().map(adopt).collect()
}

/// Binds the sockets that were not inherited.
pub(super) fn bind_rest(
    exports: &[Export],
    inherited: Vec<Option<Endpoint>>,
) -> Result<Vec<Endpoint>, OptionError> {
    let endpoint =
        |(export, inherited): (&Export, Option<Endpoint>)| match (&export.socket, inherited) {
            (Socket::Path(path), None) => {
                let socket = listen(path).map_err(|problem| export.place.error(problem))?;
                Ok(Endpoint::Listening(Listener::bound(socket)))
            }
            (_, Some(endpoint)) => Ok(endpoint),
            (Socket::Descriptor(number), None) => Err(export.place.error(Problem::refused(
                format!("descriptor {number} was not adopted"),
                "use path",
            ))),
        };
    exports.iter().zip(inherited).map(endpoint).collect()
}

/// Binds the sockets for readers of statistics.
pub(super) fn bind_statistics(exports: &[Export]) -> Result<Vec<Option<Listener>>, OptionError> {
    let bind = |export: &Export| {
        let socket = export.statistics.as_deref().map(listen).transpose();
        let socket = socket.map(|socket| socket.map(Listener::bound));
        socket.map_err(|problem| export.place.error(problem))
    };
    exports.iter().map(bind).collect()
}

/// What an inherited descriptor is.
fn inherited(fd: OwnedFd) -> io::Result<Endpoint> {
    let unfit = |what| Err(io::Error::new(ErrorKind::InvalidInput, what));
    match sockopt::socket_domain(&fd) {
        Ok(AddressFamily::UNIX) => {}
        Ok(_) => return unfit("it is not a UNIX socket"),
        Err(Errno::NOTSOCK) => return unfit("it is not a socket"),
        Err(error) => return Err(error.into()),
    }
    if sockopt::socket_type(&fd)? != SocketType::STREAM {
        return unfit("it is not a stream socket");
    }
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    if sockopt::socket_acceptconn(&fd)? {
        Ok(Endpoint::Listening(Listener::inherited(fd)))
    } else if rustix::net::getpeername(&fd).is_ok() {
        Ok(Endpoint::Connected(fd.into()))
    } else {
        unfit("it is neither connected nor listening")
    }
}

/// Listens on a path, after removing a socket on which nobody listens any more.
fn listen(path: &Path) -> Result<OwnedFd, Problem> {
    let name = path.display();
    let cannot = |why: &dyn std::fmt::Display, mend: &str| {
        Problem::refused(format!("cannot listen on '{name}': {why}"), mend)
    };
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            match is_stale(path) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(cannot(
                        &"another process does",
                        "choose another path, or stop that process",
                    ));
                }
                Err(error) => {
                    return Err(cannot(
                        &error,
                        "choose another path, or remove what is there",
                    ));
                }
            }
            tracing::info!("replacing {name}, on which nobody listens");
            std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        other => other,
    };
    let listener = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => Ok(listener.into()),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => cannot(
                &"there is no such directory",
                "create it, or choose another path",
            ),
            ErrorKind::PermissionDenied => cannot(
                &"no permission to create it",
                "choose another path, or change the directory's permissions",
            ),
            _ => cannot(&error, "choose another path"),
        }),
    }
}

/// Whether what is at `path` is a socket on which nobody listens.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is something that is not a socket",
        ));
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
    }
}
