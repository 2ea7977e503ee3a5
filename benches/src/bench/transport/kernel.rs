//! What the kernel offers, as peers: a pair of eventfds and a UNIX stream socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use super::Waiting;
use super::ring::Leaving;
use crate::bench::clock::{Timed, time};
use crate::bench::cpus::{Cpus, Place};

/// Bytes of a message over the socket: what a slot of the ring has.
const MESSAGE: usize = 64;

fn ring_bell(bell: &OwnedFd) -> Result<()> {
    write(bell, &1_u64.to_ne_bytes())?;
    Ok(())
}

/// Waits for a bell; `false` if `stop` is set instead.
fn await_bell(bell: &OwnedFd, stop: &AtomicBool) -> Result<bool> {
    loop {
        match read(bell, &mut [0; 8]) {
            Ok(_) => return Ok(!stop.load(Ordering::Acquire)),
            Err(Errno::AGAIN) if stop.load(Ordering::Acquire) => return Ok(false),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => bail!("eventfd: {errno}"),
        }
    }
}

/// Rings the server's bell once more when the client goes, with the flag set.
struct LastRing<'a>(Option<Leaving<'a>>, &'a OwnedFd);

impl Drop for LastRing<'_> {
    fn drop(&mut self) {
        self.0.take();
        // The counter is far from full.
        let _ = ring_bell(self.1);
    }
}

/// Two eventfds, one each way.
pub(super) fn eventfds(
    cpus: Cpus,
    place: Place,
    waiting: Waiting,
    budget: Duration,
) -> Result<Timed> {
    let mut flags = EventfdFlags::CLOEXEC;
    if waiting == Waiting::Spinning {
        flags |= EventfdFlags::NONBLOCK;
    }
    let there = &eventfd(0, flags)?;
    let back = &eventfd(0, flags)?;
    let stop = &AtomicBool::new(false);
    let never = &AtomicBool::new(false);
    cpus.pair(
        place,
        move || {
            while await_bell(there, stop)? {
                ring_bell(back)?;
            }
            Ok(())
        },
        move || {
            let _last = LastRing(Some(Leaving(stop)), there);
            time(budget, || {
                ring_bell(there)?;
                await_bell(back, never)?;
                Ok(())
            })
        },
    )
}

/// Receives a whole message; `false` at the peer's end.
fn receive(socket: &mut UnixStream) -> Result<bool> {
    let mut message = [0; MESSAGE];
    let mut got = 0;
    while let Some(rest) = message.get_mut(got..)
        && !rest.is_empty()
    {
        match socket.read(rest) {
            Ok(0) => return Ok(false),
            Ok(count) => got += count,
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// A UNIX stream socket, 64 bytes each way.
pub(super) fn unix_stream(
    cpus: Cpus,
    place: Place,
    waiting: Waiting,
    budget: Duration,
) -> Result<Timed> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    for socket in [&ours, &theirs] {
        socket.set_nonblocking(waiting == Waiting::Spinning)?;
    }
    cpus.pair(
        place,
        move || {
            while receive(&mut theirs)? {
                theirs.write_all(&[7; MESSAGE])?;
            }
            Ok(())
        },
        move || {
            time(budget, || {
                ours.write_all(&[7; MESSAGE])?;
                if !receive(&mut ours)? {
                    bail!("the echo ended");
                }
                Ok(())
            })
        },
    )
}
