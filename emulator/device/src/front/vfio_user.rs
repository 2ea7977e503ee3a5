//! Step 5, intake: the vfio-user server, as QEMU's and Cloud Hypervisor's clients need it.
//!
//! `docs/vfio-user.md` says what is served. Here, in the order of a message's way: [`session`] frames and
//! queues, [`commands`] answers, and one module per subject does the work: [`negotiation`], [`guest_ram`],
//! [`regions`], [`intx`], [`ring_setup`].
//!
//! # What a client can do
//! A bad argument in a well-formed message gets an error reply. A malformed message is an [`End`]. No call
//! waits for the client, and what is kept for it is bounded: one message that comes in, the replies to one
//! message on the way out, and [`MAX_UNREACHABLE`](crate::dma::MAX_UNREACHABLE) ranges.

mod commands;
mod guest_ram;
mod intx;
mod negotiation;
mod regions;
mod ring_setup;
mod session;

#[cfg(test)]
pub(super) use intx::{GATHER, GRACE};
pub(super) use session::{End, Progress, Session};

/// Data bytes of one region access: what a client that reads a whole config space needs, and much more.
const MAX_DATA: u32 = 0x1_0000;

/// Bytes of a message: the data and what stands before them in the longest command that has some.
const MAX_MESSAGE: usize = 0x1_0000 + 64;
