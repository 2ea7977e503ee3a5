//! Step 9, block: an export of an NBD server.
//!
//! One thread sends requests, another takes replies, so many are on their way at a time. When the connection ends, or
//! the server breaks the protocol, all requests fail, and so do those that come later: a guest sees errors, never a
//! disk that does not answer. A server that stays silent while somebody waits for all requests is cut off too.

mod handshake;
mod piece;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::net::SendFlags;

use super::{BlockError, Completion, Geometry, Request};
use handshake::{Abilities, part};
pub use handshake::{NbdError, NbdOptions, OpenedNbd, connect};
use outrigger_device::crash::or_abort;
use piece::{Command, MAX_DATA, Piece, cut};

const REPLY_MAGIC: u32 = 0x6744_6698;

/// How long a drain waits for the next reply.
const PATIENCE: Duration = Duration::from_secs(20);

/// An export of an NBD server.
#[derive(Debug)]
pub struct Nbd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    geometry: Geometry,
    fresh: bool,
}

#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    abilities: Abilities,
    state: Mutex<State>,
    /// There is something to send, or it is time to stop.
    work: Condvar,
    /// A reply has come, or will never come.
    progress: Condvar,
    /// Written when `done` has something new.
    wake: OwnedFd,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Not sent yet, in order.
    queue: VecDeque<Piece>,
    /// Sent, by the cookie on the wire.
    sent: BTreeMap<u64, Piece>,
    /// The requests that `queue` and `sent` have pieces of.
    active: BTreeMap<u64, Active>,
    done: Vec<Completion>,
    /// The last number that was given out, for requests and for cookies.
    last: u64,
    /// Replies so far.
    replies: u64,
    /// Nothing more is sent or taken.
    closed: bool,
}

/// What a thread does until the connection ends.
type Job = fn(&Shared) -> io::Result<()>;

/// A request on its way.
#[derive(Debug)]
struct Active {
    request: Request,
    /// Pieces without an answer.
    left: usize,
    /// Some piece was sent.
    started: bool,
    then_flush: bool,
    error: Option<BlockError>,
}

impl Nbd {
    /// Starts the two threads.
    pub(super) fn start(opened: OpenedNbd) -> io::Result<Self> {
        Self::with_patience(opened, PATIENCE)
    }

    fn with_patience(opened: OpenedNbd, patience: Duration) -> io::Result<Self> {
        let OpenedNbd {
            socket,
            geometry,
            abilities,
        } = opened;
        let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared {
            socket,
            abilities,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            wake,
            patience,
        });
        let mut nbd = Self {
            shared,
            threads: Vec::new(),
            geometry,
            fresh: false,
        };
        let jobs: [(&str, Job); 2] = [("nbd-send", Shared::send), ("nbd-receive", Shared::receive)];
        for (name, job) in jobs {
            let shared = Arc::clone(&nbd.shared);
            let run = move || {
                let outcome = or_abort(|| job(&shared));
                shared.close(outcome);
            };
            let thread = std::thread::Builder::new().name(name.to_owned());
            nbd.threads.push(thread.spawn(run)?);
        }
        Ok(nbd)
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn submit(&mut self, request: Request) -> Option<Completion> {
        if let Some(result) = request.foregone(&self.geometry) {
            return Some(request.complete(result));
        }
        let mut state = self.shared.lock();
        if state.closed {
            return Some(request.complete(Err(gone())));
        }
        state.last += 1;
        let of = state.last;
        let (pieces, then_flush) = cut(of, &request, &self.shared.abilities);
        if pieces.is_empty() {
            return Some(request.complete(Ok(())));
        }
        let active = Active {
            request,
            left: pieces.len(),
            started: false,
            then_flush,
            error: None,
        };
        state.active.insert(of, active);
        state.queue.extend(pieces);
        self.fresh = true;
        None
    }

    pub(super) fn kick(&mut self) {
        if std::mem::take(&mut self.fresh) {
            self.shared.work.notify_one();
        }
    }

    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        // First the counter, then the list: what comes in between is announced again.
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        into.append(&mut self.shared.lock().done);
    }

    /// Waits for all replies, as long as some come.
    pub(super) fn drain(&mut self, cancel: bool, into: &mut Vec<Completion>) {
        self.kick();
        let mut state = self.shared.lock();
        if cancel {
            state.cancel_unsent();
        }
        while !state.active.is_empty() {
            let before = state.replies;
            let (next, wait) = self
                .shared
                .progress
                .wait_timeout(state, self.shared.patience)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if wait.timed_out() && state.replies == before {
                drop(state);
                self.shared
                    .close(Err(io::Error::other("the server does not answer")));
                state = self.shared.lock();
            }
        }
        drop(state);
        self.reap(into);
    }

    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}

impl Drop for Nbd {
    fn drop(&mut self) {
        self.shared.close(Ok(()));
        for thread in self.threads.drain(..) {
            // It does not panic; if it did, there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl State {
    /// Ends the requests of which nothing was sent.
    fn cancel_unsent(&mut self) {
        let unsent: Vec<u64> = self
            .active
            .iter()
            .filter(|(_, it)| !it.started)
            .map(|(of, _)| *of)
            .collect();
        for of in unsent {
            self.queue.retain(|piece| piece.of != of);
            if let Some(active) = self.active.remove(&of) {
                self.done
                    .push(active.request.complete(Err(BlockError::Cancelled)));
            }
        }
    }

    /// Takes the answer to a piece. Whether its request has ended.
    fn answer(&mut self, piece: Piece, code: u32) -> bool {
        let Some(active) = self.active.get_mut(&piece.of) else {
            return false;
        };
        active.left = active.left.saturating_sub(1);
        if code != 0 && active.error.is_none() {
            active.error = Some(error(code, piece));
        }
        if active.left > 0 {
            return false;
        }
        if active.error.is_none() && std::mem::take(&mut active.then_flush) {
            active.left = 1;
            self.queue.push_back(Piece::flush(piece.of));
            return false;
        }
        if let Some(active) = self.active.remove(&piece.of) {
            let result = active.error.map_or(Ok(()), Err);
            self.done.push(active.request.complete(result));
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.progress.notify_all();
        // It can only fail when the counter is full, and then the reader is awake already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// The sending thread.
    fn send(&self) -> io::Result<()> {
        let mut message = Vec::new();
        let mut state = self.lock();
        loop {
            if state.closed {
                return Ok(());
            }
            let Some(piece) = state.queue.pop_front() else {
                state = (self.work.wait(state)).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.last += 1;
            let cookie = state.last;
            message.clear();
            message.extend(piece.header(cookie));
            if let Some(active) = state.active.get_mut(&piece.of) {
                active.started = true;
                if piece.command == Command::Write {
                    let length = usize::try_from(piece.length).unwrap_or(0);
                    let at = usize::try_from(piece.at).unwrap_or(usize::MAX);
                    let header = message.len();
                    // Zeroes where the request has no data: WRITE ZEROES by hand.
                    message.resize(header + length, 0);
                    let data = message.get_mut(header..).unwrap_or_default();
                    active.request.data.take(at, data);
                }
            }
            state.sent.insert(cookie, piece);
            drop(state);
            (&self.socket).write_all(&message)?;
            state = self.lock();
        }
    }

    /// The receiving thread.
    fn receive(&self) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(MAX_DATA).unwrap_or(0)];
        loop {
            let mut header = [0; 16];
            (&self.socket).read_exact(&mut header)?;
            let code = u32::from_be_bytes(part(&header, 4));
            let cookie = u64::from_be_bytes(part(&header, 8));
            let piece = self.lock().sent.get(&cookie).copied();
            let Some(piece) = piece.filter(|_| u32::from_be_bytes(part(&header, 0)) == REPLY_MAGIC)
            else {
                return Err(io::Error::other("the server breaks the protocol"));
            };
            let data = match usize::try_from(piece.length) {
                Ok(length) if piece.command == Command::Read && code == 0 => {
                    bytes.get_mut(..length).unwrap_or_default()
                }
                _ => &mut [],
            };
            (&self.socket).read_exact(data)?;
            let mut state = self.lock();
            if state.closed {
                return Ok(());
            }
            state.sent.remove(&cookie);
            state.replies += 1;
            if let Some(active) = state.active.get_mut(&piece.of) {
                let at = usize::try_from(piece.at).unwrap_or(usize::MAX);
                active.request.data.fill(at, data);
            }
            let ended = state.answer(piece, code);
            let more = !state.queue.is_empty();
            drop(state);
            if more {
                self.work.notify_one();
            }
            if ended {
                self.announce();
            }
        }
    }

    /// Ends the connection and all requests.
    fn close(&self, why: io::Result<()>) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        if let Err(error) = why {
            tracing::error!(%error, "an NBD server is gone: I/O on its disk fails from now on");
        }
        state.queue.clear();
        state.sent.clear();
        for (_, active) in std::mem::take(&mut state.active) {
            state.done.push(active.request.complete(Err(gone())));
        }
        drop(state);
        // The server ends the connection when it has this, which is no longer news. Good manners only: where it does not fit the
        // server sees the end.
        let goodbye = Piece {
            command: Command::Disconnect,
            ..Piece::flush(0)
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(&self.socket, &goodbye.header(0), flags);
        // Both threads come back from where they wait.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.work.notify_all();
        self.announce();
    }
}

fn gone() -> BlockError {
    BlockError::Io {
        offset: None,
        source: io::ErrorKind::NotConnected.into(),
    }
}

/// What a server's error code means; the protocol has its own numbers, which are Linux's.
fn error(code: u32, piece: Piece) -> BlockError {
    match i32::try_from(code) {
        Ok(libc::EPERM) => BlockError::ReadOnly,
        Ok(libc::ENOSPC) => BlockError::NoSpace,
        Ok(code) => BlockError::Io {
            // Of a longer piece the server does not say where it failed.
            offset: (1..=512).contains(&piece.length).then_some(piece.offset),
            source: io::Error::from_raw_os_error(code),
        },
        Err(_) => gone(),
    }
}
