//! Step 9, block: agreeing with an NBD server on an export: the newstyle handshake of the NBD protocol, with `NBD_OPT_GO`
//! or, where a server does not know that, `NBD_OPT_EXPORT_NAME`. Before the sandbox closes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::Geometry;

/// A server that says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of an option's reply that are taken.
const MAX_REPLY: u32 = 4096;
/// The most replies to an option.
const MAX_REPLIES: usize = 64;

const GREETING: u64 = u64::from_be_bytes(*b"NBDMAGIC");
/// After the greeting, where the oldstyle handshake of 2010 and before is spoken.
const OLDSTYLE: u64 = 0x0000_4202_8186_1253;
const OPTION: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;

/// Handshake flags, both sides'.
const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

const OPT_EXPORT_NAME: u32 = 1;
const OPT_GO: u32 = 7;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERROR: u32 = 1 << 31;
const REP_ERR_UNSUPPORTED: u32 = REP_ERROR | 1;
const REP_ERR_POLICY: u32 = REP_ERROR | 2;
const REP_ERR_TLS_REQUIRED: u32 = REP_ERROR | 5;
const REP_ERR_UNKNOWN: u32 = REP_ERROR | 6;
const REP_ERR_SHUTDOWN: u32 = REP_ERROR | 7;

/// Transmission flags.
const READ_ONLY: u16 = 1 << 1;
const SEND_FLUSH: u16 = 1 << 2;
const SEND_FUA: u16 = 1 << 3;
const SEND_TRIM: u16 = 1 << 5;
const SEND_WRITE_ZEROES: u16 = 1 << 6;

/// Why an export cannot be a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NbdError {
    /// The server cannot be reached, or ends the connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server does not keep to the protocol.
    #[error("the server does not speak the NBD protocol")]
    Protocol,
    /// The server speaks the handshake of 2010 and before, which cannot name an export.
    #[error("the server speaks the oldstyle NBD protocol only")]
    Oldstyle,
    /// The server wants TLS.
    #[error("the server wants TLS")]
    Tls,
    /// The server does not serve us, or not now.
    #[error("the server {0}")]
    Unwilling(&'static str),
    /// The server does not know the export.
    #[error("the server has no export '{0}'")]
    NoExport(String),
    /// The server does not let us have the export.
    #[error("the server refuses the export (reply {0:#x})")]
    Refused(u32),
    /// The export cannot be written.
    #[error("the export is read-only")]
    ReadOnly,
    /// No byte in it, or not a whole number of blocks.
    #[error("the export's size, {0} bytes, is not a multiple of 512, more than 0")]
    Size(u64),
    /// The server only takes larger requests than a disk's block.
    #[error("the server wants blocks of {0} bytes; a disk has 512")]
    BlockSize(u32),
    /// The server takes so little at a time that one request of the guest's would become very many.
    #[error("the server takes {0} bytes in a request at most; a disk needs {LEAST_MAX}")]
    MaxBlockSize(u32),
}

/// The least that a server's largest request may be: a guest that has zeroes written, which may be done by hand, gets no more than a
/// few thousand requests by one of its own.
const LEAST_MAX: u32 = 64 << 10;

/// An export that can be a disk; no thread runs yet.
#[derive(Debug)]
pub struct OpenedNbd {
    pub(super) socket: UnixStream,
    pub(super) geometry: Geometry,
    pub(super) abilities: Abilities,
}

/// What the server can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    pub(super) flush: bool,
    pub(super) fua: bool,
    pub(super) trim: bool,
    pub(super) write_zeroes: bool,
    /// The most bytes of data in one request.
    pub(super) max_data: u32,
}

/// How to use an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NbdOptions {
    /// Refuse writes.
    pub read_only: bool,
    /// Pass discards on.
    pub discard: bool,
}

/// Connects to a server's UNIX socket and asks for an export.
///
/// # Errors
/// [`NbdError`], to be shown to the user with the socket's name.
pub fn connect(path: &Path, export: &str, options: NbdOptions) -> Result<OpenedNbd, NbdError> {
    negotiate(UnixStream::connect(path)?, export, options)
}

/// The same on a connection that is there.
pub(super) fn negotiate(
    mut socket: UnixStream,
    export: &str,
    options: NbdOptions,
) -> Result<OpenedNbd, NbdError> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let outcome = ask(&mut socket, export);
    let (size, flags, block_sizes) = outcome.map_err(|error| match error {
        NbdError::Io(error) if error.kind() == ErrorKind::WouldBlock => {
            let silent = "the server says nothing";
            NbdError::Io(io::Error::new(ErrorKind::TimedOut, silent))
        }
        NbdError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let closed = "the server ends the connection";
            NbdError::Io(io::Error::new(ErrorKind::ConnectionReset, closed))
        }
        other => other,
    })?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;

    if flags & READ_ONLY != 0 && !options.read_only {
        return Err(NbdError::ReadOnly);
    }
    if size == 0 || !size.is_multiple_of(512) || i64::try_from(size).is_err() {
        return Err(NbdError::Size(size));
    }
    let (min, max) = block_sizes.unwrap_or((1, u32::MAX));
    if min > 512 {
        return Err(NbdError::BlockSize(min));
    }
    if max < LEAST_MAX {
        return Err(NbdError::MaxBlockSize(max));
    }
    let has = |flag| flags & flag != 0;
    Ok(OpenedNbd {
        socket,
        geometry: Geometry {
            bytes: size,
            read_only: options.read_only,
            discard: has(SEND_TRIM) && options.discard && !options.read_only,
        },
        abilities: Abilities {
            flush: has(SEND_FLUSH),
            fua: has(SEND_FUA),
            trim: has(SEND_TRIM),
            write_zeroes: has(SEND_WRITE_ZEROES),
            max_data: max & !511,
        },
    })
}

type Export = (u64, u16, Option<(u32, u32)>);

/// The handshake up to the transmission phase: the export's size, flags, and least and largest request.
fn ask(socket: &mut UnixStream, export: &str) -> Result<Export, NbdError> {
    let greeting: [u8; 16] = take(socket)?;
    match (
        u64::from_be_bytes(part(&greeting, 0)),
        u64::from_be_bytes(part(&greeting, 8)),
    ) {
        (GREETING, OPTION) => {}
        (GREETING, OLDSTYLE) => return Err(NbdError::Oldstyle),
        _ => return Err(NbdError::Protocol),
    }
    let flags = u16::from_be_bytes(take(socket)?);
    let accepted = flags & (FIXED_NEWSTYLE | NO_ZEROES);
    let name = u32::try_from(export.len())
        .ok()
        .filter(|length| *length <= 4096)
        .ok_or_else(|| NbdError::NoExport(export.to_owned()))?;
    socket.write_all(&u32::from(accepted).to_be_bytes())?;
    if flags & FIXED_NEWSTYLE == 0 {
        // One that knows a single option, and answers no other.
        return ask_by_name(socket, export, accepted);
    }
    let mut message = Vec::new();
    message.extend(OPTION.to_be_bytes());
    message.extend(OPT_GO.to_be_bytes());
    message.extend((4 + name + 2 + 2).to_be_bytes());
    message.extend(name.to_be_bytes());
    message.extend(export.as_bytes());
    message.extend(1_u16.to_be_bytes());
    message.extend(INFO_BLOCK_SIZE.to_be_bytes());
    socket.write_all(&message)?;

    let mut found = None;
    let mut block_sizes = None;
    for _ in 0..MAX_REPLIES {
        let header: [u8; 20] = take(socket)?;
        let kind = u32::from_be_bytes(part(&header, 12));
        let length = u32::from_be_bytes(part(&header, 16));
        if u64::from_be_bytes(part(&header, 0)) != OPTION_REPLY
            || u32::from_be_bytes(part(&header, 8)) != OPT_GO
            || length > MAX_REPLY
        {
            return Err(NbdError::Protocol);
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
        socket.read_exact(&mut body)?;
        match kind {
            REP_ACK => {
                let (size, flags) = found.ok_or(NbdError::Protocol)?;
                return Ok((size, flags, block_sizes));
            }
            REP_INFO => match u16::from_be_bytes(part(&body, 0)) {
                INFO_EXPORT if body.len() == 12 => {
                    let flags = u16::from_be_bytes(part(&body, 10));
                    found = Some((u64::from_be_bytes(part(&body, 2)), flags));
                }
                INFO_BLOCK_SIZE if body.len() == 14 => {
                    let max = u32::from_be_bytes(part(&body, 10));
                    block_sizes = Some((u32::from_be_bytes(part(&body, 2)), max));
                }
                _ => {}
            },
            REP_ERR_UNSUPPORTED => return ask_by_name(socket, export, accepted),
            REP_ERR_POLICY => return Err(NbdError::Unwilling("does not let us have the export")),
            REP_ERR_SHUTDOWN => return Err(NbdError::Unwilling("is shutting down")),
            REP_ERR_TLS_REQUIRED => return Err(NbdError::Tls),
            REP_ERR_UNKNOWN => return Err(NbdError::NoExport(export.to_owned())),
            error if error & REP_ERROR != 0 => return Err(NbdError::Refused(error)),
            _ => return Err(NbdError::Protocol),
        }
    }
    Err(NbdError::Protocol)
}

/// Asks for the export in the way of servers before 2017. One that has no such export ends the connection.
fn ask_by_name(socket: &mut UnixStream, export: &str, flags: u16) -> Result<Export, NbdError> {
    let length = u32::try_from(export.len()).map_err(io::Error::other)?;
    let mut message = Vec::new();
    message.extend(OPTION.to_be_bytes());
    message.extend(OPT_EXPORT_NAME.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.extend(export.as_bytes());
    socket.write_all(&message)?;
    let answer: [u8; 10] = take(socket).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => NbdError::NoExport(export.to_owned()),
        _ => NbdError::Io(error),
    })?;
    if flags & NO_ZEROES == 0 {
        let _: [u8; 124] = take(socket)?;
    }
    let size = u64::from_be_bytes(part(&answer, 0));
    Ok((size, u16::from_be_bytes(part(&answer, 8)), None))
}

fn take<const N: usize>(socket: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// `N` bytes from `at` on; zeroes where there are none.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let piece = bytes.get(at..at + N).and_then(|it| it.try_into().ok());
    piece.unwrap_or([0; N])
}
