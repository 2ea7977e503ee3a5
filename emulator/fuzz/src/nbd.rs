//! NBD servers: the handshake, and replies to requests.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use outrigger_block::{Backend, NbdOptions, connect};
use outrigger_fuzz::Input;

use crate::image::{folder, use_it};

/// A server that says what it is told, whatever it is asked.
struct Server {
    path: PathBuf,
    script: Mutex<Sender<Vec<u8>>>,
}

/// Connects to a server that says what the input says, and uses its export.
///
/// # Panics
/// As `image::use_it`.
pub fn run(input: &[u8]) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(Server::start);
    let mut input = Input::new(input);
    let requests = input.array::<24>();
    let script = script(&mut input);
    let sender = server.script.lock().unwrap_or_else(PoisonError::into_inner);
    sender.send(script).expect("the server's thread");
    drop(sender);
    let options = NbdOptions {
        read_only: requests[23] & 3 == 0,
        discard: true,
    };
    if let Ok(opened) = connect(&server.path, "disk", options)
        && let Ok(backend) = Backend::nbd(opened)
    {
        use_it(backend, &mut Input::new(&requests));
    }
}

impl Server {
    fn start() -> Self {
        let path = folder().join("nbd");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (sender, scripts) = channel();
        std::thread::spawn(move || serve(&listener, &scripts));
        Self {
            path,
            script: Mutex::new(sender),
        }
    }
}

fn serve(listener: &UnixListener, scripts: &Receiver<Vec<u8>>) {
    for script in scripts {
        let Ok((socket, _)) = listener.accept() else {
            return;
        };
        // Short enough for the socket's buffer. Behind it comes the end, so that nobody waits.
        let _ = (&socket).write_all(&script);
        let _ = socket.shutdown(Shutdown::Write);
        drain(socket);
    }
}

/// Until the client has gone.
fn drain(mut socket: UnixStream) {
    let mut bytes = [0; 4096];
    while socket.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

const EXPORT_BYTES: u64 = 1 << 20;

/// What an honest server says, but for what the input changes.
fn script(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"NBDMAGICIHAVEOPT");
    bytes.extend([0, 3]);
    for _ in 0..=input.u8() & 3 {
        let choice = input.u8();
        let mut body = Vec::new();
        let kind: u32 = match choice & 7 {
            0..=2 => {
                // The export.
                body.extend([0, 0]);
                let size = if choice & 8 == 0 {
                    EXPORT_BYTES
                } else {
                    input.near(EXPORT_BYTES)
                };
                body.extend(size.to_be_bytes());
                body.extend((u16::from(input.u8()) | 1).to_be_bytes());
                3
            }
            3 => {
                // Block sizes.
                body.extend([0, 3]);
                let sizes = [1 << (choice >> 3 & 15), 4096, 1 << (input.u8() % 32)];
                body.extend(sizes.map(u32::to_be_bytes).as_flattened());
                3
            }
            4 => {
                body.extend([0, choice >> 4]);
                let count = input.below(64);
                body.extend(input.bytes(count));
                3
            }
            5 => input.u32(),
            6 => (1 << 31) | u32::from(choice >> 4),
            _ => 1,
        };
        reply(&mut bytes, kind, &body);
    }
    reply(&mut bytes, 1, &[]);
    // Cookies count on from 1 with each request and each message of it, so that an honest one can be written ahead.
    let mut cookie = 2;
    let [at, value] = input.array();
    while !input.is_empty() && bytes.len() < 60_000 {
        let choice = input.u8();
        let error = if choice & 0x30 == 0x30 {
            u32::from(input.u8())
        } else {
            0
        };
        bytes.extend(0x6744_6698_u32.to_be_bytes());
        bytes.extend(error.to_be_bytes());
        let odd = if choice & 0xc0 == 0xc0 {
            input.near(cookie)
        } else {
            cookie
        };
        bytes.extend(odd.to_be_bytes());
        bytes.resize(bytes.len() + 512 * usize::from(choice & 15), choice);
        cookie += 2;
    }
    // Bits that are wrong anywhere.
    if let Some(byte) = bytes.get_mut(usize::from(at)) {
        *byte ^= value;
    }
    bytes
}

fn reply(bytes: &mut Vec<u8>, kind: u32, body: &[u8]) {
    bytes.extend(0x0003_e889_0455_65a9_u64.to_be_bytes());
    bytes.extend(7_u32.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    let length = u32::try_from(body.len()).expect("a few");
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
}
