//! A connection's bytes in any portions, with descriptors among them: the messages come out as they went in.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use outrigger_vfio_user::{Received, Receiver, Wait, send};

/// The longest message that the receiver takes.
const LIMIT: usize = 4096;
/// Portions longer than this could fill the socket.
const MOST: usize = 512;

/// Sends the input in portions. The first byte of each is its length, or the number of descriptors that go with the next.
///
/// # Panics
/// If a message's length is not what its header says, or more descriptors come out than went in.
pub fn run(input: &[u8]) {
    let Ok((ours, theirs)) = UnixStream::pair() else {
        return;
    };
    let mut receiver = Receiver::new(LIMIT);
    let mut sent = 0;
    let mut received = 0;
    let mut fds = 0;
    let mut rest = input;
    while let Some((&control, bytes)) = rest.split_first() {
        if control >= 0xe0 {
            fds = usize::from(control & 0x1f);
            rest = bytes;
            continue;
        }
        let length = (usize::from(control) * 3).min(MOST).min(bytes.len());
        let (portion, later) = bytes.split_at(length);
        rest = later;
        if fds == 0 || portion.is_empty() {
            (&ours).write_all(portion).expect("room in the socket");
        } else {
            let fd = theirs.as_fd();
            // More than a message can have is refused here already.
            if send(&ours, portion, &vec![fd; fds]).is_ok() {
                sent += fds;
            }
            fds = 0;
        }
        if !take_all(&mut receiver, &theirs, &mut received) {
            break;
        }
    }
    drop(ours);
    take_all(&mut receiver, &theirs, &mut received);
    assert!(received <= sent, "{received} descriptors of {sent}");
}

/// Whether more can come.
fn take_all(receiver: &mut Receiver, socket: &UnixStream, descriptors: &mut usize) -> bool {
    loop {
        match receiver.receive(socket, Wait::Never) {
            Ok(Received::Message { bytes, fds }) => {
                assert!(bytes.len() <= LIMIT);
                let size = bytes.get(4..8).expect("a header").try_into();
                let size = u32::from_le_bytes(size.expect("four bytes"));
                assert_eq!(usize::try_from(size), Ok(bytes.len()));
                *descriptors += fds.len();
            }
            Ok(Received::WouldBlock) => return true,
            Ok(Received::Closed) | Err(_) => return false,
        }
    }
}
