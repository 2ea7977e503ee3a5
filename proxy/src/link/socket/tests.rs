use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use outrigger_ring::{Access, Width};

use super::*;
use crate::port::Port;
use outrigger_fake_emulator::{FakeEmulator, Script};

fn connection(socket: OwnedFd, deadline: Duration) -> Arc<Connection> {
    let health = Arc::new(Health::new(Some(socket.try_clone().unwrap())).unwrap());
    Arc::new(Connection::new(socket, deadline, health))
}

#[test]
fn ports_share_a_connection() {
    let (fake, socket) = FakeEmulator::start(Script::default());
    let connection = connection(socket, Duration::from_secs(20));
    let threads: Vec<_> = (0..3_u64)
        .map(|vcpu| {
            let mut port = SocketPort::new(Arc::clone(&connection));
            thread::spawn(move || {
                let access = Access {
                    region: 1,
                    offset: 8 * vcpu,
                    width: Width::Qword,
                };
                for value in 0..300 {
                    let value = vcpu << 32 | value;
                    port.post(access, value).unwrap();
                    assert_eq!(port.read(access).unwrap(), value);
                    port.write(access, !value).unwrap();
                    assert_eq!(port.read(access).unwrap(), !value);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(connection);
    assert_eq!(fake.seen().requests, 3 * 300 * 4);
}

#[test]
fn a_trickle_does_not_stretch_the_deadline() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let trickle = thread::spawn(move || {
        let mut theirs = theirs;
        let mut header = [0; 16];
        theirs.read_exact(&mut header).unwrap();
        header[4..8].copy_from_slice(&4096_u32.to_le_bytes());
        header[8] = 1;
        theirs.write_all(&header).unwrap();
        // One byte in good time before each wait would be over, until the client hangs up.
        while theirs.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let connection = connection(ours.into(), Duration::from_millis(30));
    let result = connection.request(&Request::DeviceInfo, &[], 0);
    assert!(
        matches!(result, Err(RequestError::Dead(PortError::TimedOut))),
        "{result:?}"
    );
    let again = connection.request(&Request::DeviceInfo, &[], 0);
    assert!(
        matches!(again, Err(RequestError::Dead(PortError::PeerGone))),
        "{again:?}"
    );
    trickle.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_blocks_no_one() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut port = SocketPort::new(connection(ours.into(), Duration::from_millis(20)));
    let access = Access {
        region: 1,
        offset: 0,
        width: Width::Byte,
    };
    let error = (0..1_000_000).find_map(|_| port.post(access, 1).err());
    assert!(matches!(error, Some(PortError::TimedOut)), "{error:?}");
    assert!(matches!(port.read(access), Err(PortError::PeerGone)));
}
