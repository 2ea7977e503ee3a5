//! What can be wrong with a message.

use crate::message::Command;

/// Why bytes are not a message, or not the message that they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than the structure has.
    #[error("{what} needs {needed} bytes, {have} are there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Its size.
        needed: usize,
        /// What is left of the message.
        have: usize,
    },
    /// Bytes after the end of a structure that ends the message.
    #[error("{extra} bytes after {what}")]
    Trailing {
        /// The structure.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// The header's size is not the message's.
    #[error("the header says {size} bytes, the message has {have}")]
    Size {
        /// What the header says.
        size: u32,
        /// What is there.
        have: usize,
    },
    /// The header's size is below the header's own or above the receiver's limit.
    #[error("a message of {size} bytes is not between {HEADER} and {limit}", HEADER = crate::HEADER_SIZE)]
    Limit {
        /// What the header says.
        size: u32,
        /// The receiver's limit.
        limit: usize,
    },
    /// A count does not match the bytes that it counts.
    #[error("{what} counts {count} but carries {have} bytes")]
    Count {
        /// The structure.
        what: &'static str,
        /// The count.
        count: u64,
        /// The bytes.
        have: usize,
    },
    /// The message is neither a command nor a reply, or not the one that is parsed for.
    #[error("message type {0} is not expected here")]
    Kind(u32),
    /// An error reply without an error number.
    #[error("an error reply without an error number")]
    NoErrno,
    /// The reply answers another command.
    #[error("a reply to command {got}, not to {expected}")]
    Command {
        /// The command that was sent.
        expected: Command,
        /// The command in the reply.
        got: Command,
    },
    /// VERSION's data are not a NUL-terminated JSON object of the known shape.
    #[error("bad version data")]
    VersionData,
    /// More file descriptors than a message may carry, or they were cut off on the way.
    #[error("too many file descriptors")]
    TooManyFds,
}
