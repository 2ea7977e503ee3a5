//! Messages and their descriptors on a UNIX stream socket.
//!
//! A stream has no message boundaries, and the kernel hands descriptors over with the bytes that they were
//! sent with: they are a barrier, so the last byte of the call that brings them is one of those (unix(7), SCM_RIGHTS). The receiver
//! takes all that is there in one call, and gives descriptors to the message which that byte is a part of. So a peer that has
//! descriptors to send sends one message at a time.

mod hang_up;
mod receiver;
mod sender;

pub use hang_up::hang_up;
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
