//! Lock-free request rings and mailboxes in sealed shared memory.

mod message;

pub use message::{Access, Width};
