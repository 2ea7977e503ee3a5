use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::health::Event;
use crate::proxy::{Proxy, ProxyOptions};

const LONG: Duration = Duration::from_secs(20);

/// A shell that runs `script`; its last argument, in `$2`, ends in the inherited descriptor's number.
fn shell(script: &str) -> EmulatorCommand {
    EmulatorCommand::new("/bin/sh", "lsi0").args(["-c", script])
}

#[test]
fn the_child_gets_its_socket_and_nothing_else() {
    // A descriptor that a careless library left inheritable.
    let (leak, _other) = UnixStream::pair().unwrap();
    fcntl_inheritable(&leak);
    let script = format!(
        "fd=${{1##*fd=}}; [ -e /proc/self/fd/{} ] && [ $fd != {0} ] && echo leak >&$fd; echo \"$0 $1\" >&$fd",
        leak.as_raw_fd()
    );
    let (mut emulator, socket) = shell(&script).spawn().unwrap();
    let mut text = String::new();
    UnixStream::from(socket).read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("--export type=vfio-user,device=lsi0,fd="),
        "{text}"
    );
    assert!(emulator.wait(LONG).unwrap().unwrap().success());
}

fn fcntl_inheritable(fd: &UnixStream) {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
}

#[test]
fn a_child_is_waited_for_and_killed() {
    let (mut emulator, mut socket) = start("fd=${1##*fd=}; read line <&$fd; exit 7");
    assert_eq!(emulator.wait(Duration::from_millis(1)).unwrap(), None);
    socket.write_all(b"go\n").unwrap();
    assert_eq!(
        emulator
            .wait(LONG)
            .unwrap()
            .and_then(|status| status.code()),
        Some(7)
    );
    assert_eq!(emulator.kill().unwrap().code(), Some(7));

    let (mut emulator, _socket) = start("fd=${1##*fd=}; read line <&$fd");
    assert_eq!(emulator.kill().unwrap().signal(), Some(9));
    assert_eq!(
        emulator
            .wait(LONG)
            .unwrap()
            .and_then(|status| status.signal()),
        Some(9)
    );
}

fn start(script: &str) -> (Emulator, UnixStream) {
    let (emulator, socket) = shell(script).spawn().unwrap();
    (emulator, socket.into())
}

#[test]
fn a_dropped_emulator_is_dead() {
    let (emulator, mut socket) = start("fd=${1##*fd=}; read line <&$fd");
    drop(emulator);
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_missing_binary_is_named() {
    let error = EmulatorCommand::new("/nonexistent/emulator", "lsi0")
        .spawn()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot start the emulator /nonexistent/emulator: "),
        "{error}"
    );
}

#[test]
fn an_emulator_that_ends_at_once_is_an_error() {
    let result = Proxy::spawn(
        shell("exit 2"),
        ProxyOptions {
            deadline: LONG,
            ..ProxyOptions::default()
        },
    );
    assert!(result.unwrap_err().to_string().contains("gone"));
    assert_eq!(
        crate::port::PortError::PeerGone.to_event(),
        Event::Exited(None)
    );
}
