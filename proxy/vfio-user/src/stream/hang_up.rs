//! Ending a connection so that the peer reads its end.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

/// Bytes of one call.
const PIECE: usize = 16 * 1024;
/// Calls at most: far above what a socket can hold, since a queue has a limit in bytes.
const CALLS: u32 = 1 << 20;

/// Ends a connected UNIX stream: the peer finds the end of the stream behind what was sent to it, and cannot send any more. To
/// be called before the socket is closed, by its last owner.
///
/// A socket that is closed with bytes in its receive queue resets the connection: the peer's next read fails with ECONNRESET, and
/// what it had not read yet is no excuse (unix(7) is silent about it; QEMU's vfio-user client aborts). So the bytes are taken out. After the
/// shutdown none can be added, so this ends, and it waits for nobody. Descriptors among the bytes are closed by the kernel, as no
/// room is given for them.
pub fn hang_up(socket: impl AsFd) {
    // Fails only where there is no connection any more, and then there is nothing to reset.
    let _ = shutdown(&socket, Shutdown::Both);
    let mut piece = [0; PIECE];
    for _ in 0..CALLS {
        match recv(&socket, &mut piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return,
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing is left, or the peer's own close has reset this end.
            Err(_) => return,
        }
    }
}
