//! One message as a server reads it: any bytes are a value or an error, and a value is its bytes.

use outrigger_vfio_user::{Capabilities, HeaderFlags, Message, Request, WireError};

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
    assert_eq!(message.emit().len(), input.len());
    let Ok(request) = Request::parse(message) else {
        return;
    };
    let header = message.header();
    assert_eq!(request.command(), header.command);
    if let Request::Version(version) = &request {
        capabilities(version.data);
    }
    let no_reply = header.flags.contains(HeaderFlags::NO_REPLY);
    let emitted = request.emit(header.id, no_reply);
    let again = Message::new(&emitted).expect("a whole message");
    assert_eq!(again.header().id, header.id);
    assert_eq!(Request::parse(again).as_ref(), Ok(&request));
}

/// The JSON of VERSION.
pub(crate) fn capabilities(data: &[u8]) {
    let Ok(capabilities) = Capabilities::parse(data) else {
        return;
    };
    assert_eq!(Capabilities::parse(&capabilities.emit()), Ok(capabilities));
}
