//! Messages and their descriptors on a UNIX stream socket.
//!
//! A stream has no message boundaries, and the kernel hands descriptors over with the bytes that they were
//! sent with. So the receiver never reads across a boundary: first a header, then what is
//! left of that message. What a call hands over belongs to that message.

mod receiver;
mod sender;

pub use receiver::{ReceiveError, Received, Receiver};
pub use sender::{Sender, send};

/// Descriptors that one message may carry.
pub const MAX_FDS: usize = 16;

/// Whether a call may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Never, whatever the socket's mode is: the peer may share it and change the mode.
    Never,
    /// As the socket's mode and time-outs say.
    AsSocket,
}

#[cfg(test)]
mod tests;
