//! Step 9, block: requests as they go to an NBD server, in pieces that it takes; the header of each.

use super::handshake::Abilities;
use crate::{Op, Request};

const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Command flags.
const FUA: u16 = 1;
const NO_HOLE: u16 = 2;

/// The most bytes of data in a piece, where the server would take more.
pub(super) const MAX_DATA: u32 = 1 << 20;
/// The most bytes that a piece without data concerns.
const MAX_RANGE: u32 = 1 << 30;

/// A command, as the protocol numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    WriteZeroes = 6,
}

/// A part of a request, or all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// The request that it is of.
    pub(super) of: u64,
    pub(super) command: Command,
    pub(super) flags: u16,
    /// Where in the request it starts.
    pub(super) at: u64,
    /// Byte offset on the disk.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: u32,
}

impl Piece {
    /// What the server gets, but for the data.
    pub(super) fn header(&self, cookie: u64) -> [u8; 28] {
        let mut bytes = [0; 28];
        let fields = REQUEST_MAGIC
            .to_be_bytes()
            .into_iter()
            .chain(self.flags.to_be_bytes())
            .chain((self.command as u16).to_be_bytes())
            .chain(cookie.to_be_bytes())
            .chain(self.offset.to_be_bytes())
            .chain(self.length.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    /// A flush on behalf of the request `of`.
    pub(super) fn flush(of: u64) -> Self {
        Self {
            of,
            command: Command::Flush,
            flags: 0,
            at: 0,
            offset: 0,
            length: 0,
        }
    }
}

/// How a request is made of what the server can do: its pieces, and whether a flush has to follow. No pieces: nothing is
/// to be done.
pub(super) fn cut(of: u64, request: &Request, can: &Abilities) -> (Vec<Piece>, bool) {
    let data = can.max_data.min(MAX_DATA);
    let (command, flags, most, then_flush) = match request.op {
        Op::Flush if can.flush => return (vec![Piece::flush(of)], false),
        Op::Flush => return (Vec::new(), false),
        Op::Discard if can.trim => (Command::Trim, 0, MAX_RANGE, false),
        Op::Discard => return (Vec::new(), false),
        Op::Read => (Command::Read, 0, data, false),
        Op::Write { fua: true } if can.fua => (Command::Write, FUA, data, false),
        Op::Write { fua } => (Command::Write, 0, data, fua && can.flush),
        Op::WriteZeroes { unmap } if can.write_zeroes => {
            let flags = if unmap { 0 } else { NO_HOLE };
            (Command::WriteZeroes, flags, MAX_RANGE, false)
        }
        Op::WriteZeroes { .. } => (Command::Write, 0, data, false),
    };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < request.length {
        let left = request.length - at;
        let length = u32::try_from(left).unwrap_or(most).min(most);
        pieces.push(Piece {
            of,
            command,
            flags,
            at,
            offset: request.offset + at,
            length,
        });
        at += u64::from(length);
    }
    (pieces, then_flush)
}
