//! Fuzz targets of the rings: each side against a peer that writes anything into the memory that they share.

pub mod client;
mod layout;
mod memory;
pub mod server;
pub mod setup;

/// All of them.
pub const TARGETS: &[outrigger_fuzz::Target] = &[
    ("ring_setup", setup::run),
    ("ring_server", server::run),
    ("ring_server_race", server::race),
    ("ring_client", client::run),
    ("ring_client_race", client::race),
];
