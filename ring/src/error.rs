//! What can go wrong: while a session is set up, and while it runs.

/// Why a session failed. A session that failed once stays failed: every later call gives the same
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer wrote what the protocol does not allow.
    #[error("the peer broke the ring protocol: {0}")]
    Corrupt(#[from] Violation),
    /// The peer did not answer, or did not make room, within the deadline.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The peer's process, or its end of the socket, is gone.
    #[error("the peer is gone")]
    PeerGone,
    /// The kernel refused to wait; the number is an errno.
    #[error("cannot wait for the doorbell: {}", std::io::Error::from_raw_os_error(*.0))]
    Wait(i32),
    /// The caller's access cannot travel: its region is above 8, or it runs over the end of the
    /// 64-bit range. The only error that leaves the session as it was.
    #[error("the access cannot be encoded")]
    Access,
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A slot's or mailbox's stamp is neither the old nor the next one.
    #[error("stamp {found:#x} where {expected:#x} comes next")]
    Stamp {
        /// The stamp that would announce something new.
        expected: u64,
        /// What was there.
        found: u64,
    },
    /// A mailbox request names a ring position that is not the end of its own ring.
    #[error("position {position:#x} named, {published:#x} published")]
    Position {
        /// The position named.
        position: u64,
        /// What the ring showed.
        published: u64,
    },
    /// A consumed counter went back, or beyond what was published.
    #[error("consumed counter {0:#x} is impossible")]
    Consumed(u64),
    /// A message has an unknown kind, region or width, an offset that overflows, too wide a value
    /// or a reserved bit.
    #[error("message field out of range")]
    Message,
    /// A reply has bits above the access's width.
    #[error("reply {0:#x} is wider than the access")]
    Reply(u64),
    /// A mirrored register contains more, or far fewer, posted writes than were published.
    #[error("mirror with {0:#x} posted writes is impossible")]
    Mirror(u32),
    /// A read-to-clear group's word is neither the snapshot that the worker published nor that
    /// snapshot claimed.
    #[error("clear word {0:#x} is no snapshot of the worker's")]
    ReadToClear(u64),
    /// More posted writes claim to come before a read than all rings can hold.
    #[error("posted writes without end before a read")]
    Order,
}

/// Why a session could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The geometry is outside the protocol's limits.
    #[error(
        "{channels} channels of {slots} slots: outside 1-64 channels, 16-4096 slots, power of two"
    )]
    Geometry {
        /// Channels named.
        channels: u32,
        /// Slots named.
        slots: u32,
    },
    /// The register mirror has more than 16 registers, or not a line for each.
    #[error("a register mirror of {0} bytes: not 64 for each of at most 16 registers")]
    Mirror(u32),
    /// The descriptor is no memfd of ordinary pages.
    #[error("{0}: not a memfd of ordinary pages")]
    NotMemfd(&'static str),
    /// The memfd lacks a seal, or has one too many.
    #[error("{0}: wrong seals")]
    Seals(&'static str),
    /// The memfd has another size than the geometry asks for.
    #[error("{memory}: {found} bytes where {expected} belong")]
    Size {
        /// Which memory.
        memory: &'static str,
        /// The size that the geometry gives.
        expected: u64,
        /// The size that the memfd has.
        found: u64,
    },
    /// Magic, version or geometry in the header differ from what was announced.
    #[error("{0}: header does not match what was announced")]
    Header(&'static str),
    /// A doorbell is no eventfd, or it can block.
    #[error("doorbell: not a non-blocking eventfd")]
    Doorbell,
    /// Doorbells came out of order, twice, or too many.
    #[error("doorbells from channel {first} on, {count} of them: {expected} comes next")]
    DoorbellRange {
        /// First channel named.
        first: u32,
        /// How many came.
        count: usize,
        /// The channel that is next.
        expected: u32,
    },
    /// The kernel refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<rustix::io::Errno> for SetupError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}
