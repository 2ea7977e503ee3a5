//! Lock-free request rings and mailboxes in sealed shared memory.

#[cfg(not(loom))]
mod session;

mod client;
mod consumer;
mod doorbell;
mod error;
#[cfg(not(loom))]
mod layout;
mod mailbox;
mod memory;
mod message;
mod producer;
mod server;
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
pub use layout::{Geometry, MAX_MIRROR_BYTES, VERSION};
pub use message::{Access, Request, Width};
pub use server::Server;
#[cfg(not(loom))]
pub use session::{ClientSetup, ServerSetup};
pub use statistics::{Counters, Statistics};
#[cfg(not(loom))]
pub use wait::wake_cost;
