//! One message as a client reads it.

use outrigger_vfio_user::{AccessMap, Message, Reply, WireError};

use crate::request::capabilities;

/// Parses a message, emits what came of it, and parses that again.
///
/// # Panics
/// If the second value is another one.
pub fn run(input: &[u8]) {
    let mut input = input.to_vec();
    if let Err(WireError::Size { have, .. }) = Message::new(&input) {
        // Nearly all inputs: most are to get beyond this.
        let size = u32::try_from(have).expect("a short input");
        input[4..8].copy_from_slice(&size.to_le_bytes());
    }
    let Ok(message) = Message::new(&input) else {
        return;
    };
    let Ok(reply) = Reply::parse(message) else {
        return;
    };
    let header = message.header();
    assert_eq!(reply.command(), header.command);
    match &reply {
        Reply::Version(version) => capabilities(version.data),
        Reply::AccessMap(map) => {
            let entries: Vec<_> = map.entries().collect();
            let encoded = AccessMap::encode(&entries);
            let again = AccessMap::new(&encoded).expect("whole entries");
            assert!(again.entries().eq(entries));
        }
        _ => {}
    }
    let emitted = reply.emit(header.id);
    let again = Message::new(&emitted).expect("a whole message");
    assert_eq!(again.header().id, header.id);
    assert_eq!(Reply::parse(again), Ok(reply));
}
