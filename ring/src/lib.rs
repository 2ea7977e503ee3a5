//! Lock-free request rings and mailboxes in sealed shared memory.
//!
//! A *session* connects the vCPUs of one virtual machine with the worker that serves one device in
//! another process. It has one *channel* for each vCPU: a [`Client`] on the vCPU's side; the worker
//! has all of them in one [`Server`]. The crate knows memory, order and wake-ups. It knows nothing
//! of PCI or SCSI, and nothing of how descriptors get from one process to the other.
//!
//! - A *posted* write ([`Client::post`]) goes into the channel's request ring and does not wait.
//! - A read, or a write that waits ([`Client::read`], [`Client::write`]), is a *crossing*: one
//!   cache line, the mailbox, travels there and back.
//! - A *doorbell* (an eventfd) is written only when the other side has said that it sleeps.
//!
//! Some registers can be read without a crossing ([`Client::mirrored`]): the worker shows their
//! values in the *register mirror*. So can some that a read clears ([`Client::claim`]): the worker
//! publishes a snapshot of what a read would give.
//!
//! # Order
//! The accesses of one client take effect in program order. If one access happened before another,
//! in whatever way the guest's vCPUs arranged that, it takes effect before it, whichever channels
//! they went through: a read never overtakes a posted write, nor does one posted write overtake
//! another. How that is reached stands at `Server::turn`'s parts, is argued in
//! `docs/ring-protocol.md`, and is checked by loom in `models.rs`.
//!
//! # A session's life
//! ```text
//!     client                                   worker
//!     ClientSetup::new ── requests, mailboxes ──▶ ServerSetup::new
//!     ClientSetup::finish ◀── device, doorbell ── │
//!     │ ──────────── the channels' doorbells ───▶ ServerSetup::add_doorbells
//!     Vec<Client>                                 ServerSetup::finish: Server
//!
//!     a client that waits          the worker that has nothing to do
//!     ┌─▶ spinning ──budget──▶ flag = n, fence, look again ──nothing──▶ asleep ─┐
//!     │       └──found──▶ on     └──found──▶ flag = 0, on          rung: flag = 0, look
//! ```
//!
//! # The peer is not trusted
//! Each side checks a memory's seals, size and header before it maps it, so that it can neither
//! shrink nor change its shape. What only one side writes, the other cannot map to write. Every
//! value in shared memory is an atomic that is loaded once, validated, and used from the copy: what
//! is out of place is [`Error::Corrupt`], never a panic, a hang, or an access outside the mapping.
//! "Corrupt" is not "empty". All waits end: by what they wait for, by the deadline, or by the
//! peer's end ([`PeerWatch`]). What remains is said at the doorbell: a peer that clears
//! `O_NONBLOCK` on a shared eventfd and saturates it at the right instant blocks the writer, so the
//! emulator's system call filter must forbid `fcntl(F_SETFL)`.
//!
//! # Example
//! Both sides in one process, without the socket in between (`examples/ping_pong.rs` has two
//! processes):
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use outrigger_ring::{Access, ClientSetup, Geometry, PeerWatch, Request, ServerSetup, Width};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (socket, peer) = UnixStream::pair()?;
//! let ours = ClientSetup::new(Geometry::new(1, 64)?)?;
//! let requests = ours.requests().try_clone_to_owned()?;
//! let mailboxes = ours.mailboxes().try_clone_to_owned()?;
//! let mut theirs = ServerSetup::new(Geometry::new(1, 64)?, requests, mailboxes, 0)?;
//! for (channel, doorbell) in (0..).zip(ours.doorbells()) {
//!     theirs.add_doorbells(channel, vec![doorbell.try_clone_to_owned()?])?;
//! }
//! let device = theirs.device().try_clone_to_owned()?;
//! let doorbell = theirs.doorbell().try_clone_to_owned()?;
//! let watch = PeerWatch::Socket(Arc::new(socket.into()));
//! let mut clients = ours.finish(device, doorbell, 0, &watch, Duration::from_secs(1))?;
//! let mut server = theirs.finish()?;
//!
//! let worker = std::thread::spawn(move || {
//!     let mut register = 0;
//!     let mut reads = 0;
//!     while reads == 0 {
//!         let turn = server.turn(|request| match request {
//!             Request::Write(_, value) => {
//!                 register = value;
//!                 0
//!             }
//!             Request::Read(_) => {
//!                 reads += 1;
//!                 register
//!             }
//!         });
//!         turn.expect("this client is honest");
//!     }
//!     drop(peer);
//! });
//! let register = Access { region: 0, offset: 0x10, width: Width::Dword };
//! clients[0].post(register, 0xcafe)?;
//! assert_eq!(clients[0].read(register)?, 0xcafe);
//! worker.join().expect("the worker ends after a read");
//! # Ok(())
//! # }
//! ```

#[cfg(not(loom))]
mod session;

mod client;
mod consumer;
mod doorbell;
mod error;
#[cfg(not(loom))]
mod layout;
mod limits;
mod mailbox;
mod memory;
mod message;
mod mirror;
#[cfg(not(loom))]
mod page;
mod producer;
mod read_to_clear;
mod server;
#[cfg(not(loom))]
mod shared;
mod statistics;
mod sync;
mod wait;

#[cfg(all(test, loom))]
mod models;

pub use client::Client;
#[cfg(not(loom))]
pub use doorbell::PeerWatch;
pub use error::{Error, SetupError, Violation};
#[cfg(not(loom))]
pub use layout::{Geometry, VERSION};
pub use limits::{MAX_MIRRORED, MAX_READ_TO_CLEAR};
pub use message::{Access, Request, Width};
pub use mirror::{Effect, Mirrored, Serve};
#[cfg(not(loom))]
pub use page::{CounterPage, CounterView, LINE_COUNTERS, PAGE_LINES, PageCounters};
pub use read_to_clear::{Claimed, Snapshot, Snapshots, Summary};
pub use server::Server;
#[cfg(not(loom))]
pub use session::{ClientSetup, ServerSetup};
pub use statistics::{Counters, Statistics};
#[cfg(not(loom))]
pub use wait::wake_cost;
