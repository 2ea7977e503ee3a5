use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::health::Event;
use crate::options::ProxyOptions;
use crate::proxy::Proxy;

const LONG: Duration = Duration::from_secs(20);

/// A shell that runs `script`; `$0` is `--export`, `$1` the export, which ends in the inherited
/// descriptor's number.
fn shell(script: &str) -> EmulatorCommand {
    EmulatorCommand::new("/bin/sh", "lsi0").args(["-c", script])
}

#[test]
fn the_child_gets_its_socket_and_nothing_else() {
    // A descriptor that a careless library left inheritable.
    let (leak, _other) = UnixStream::pair().unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let script = format!(
        "[ -e /proc/self/fd/{} ] && exit 3
        [ \"$0 ${{1%fd=*}}\" = '--export type=vfio-user,device=lsi0,' ] || exit 4
        [ -e /proc/self/fd/${{1##*fd=}} ]",
        leak.as_raw_fd()
    );
    let (mut emulator, _socket) = shell(&script).spawn().unwrap();
    assert_eq!(
        emulator
            .wait(LONG)
            .unwrap()
            .and_then(|status| status.code()),
        Some(0)
    );
}

#[test]
fn a_child_is_waited_for_and_killed() {
    let (mut emulator, _socket) = shell("exit 7").spawn().unwrap();
    assert_eq!(
        emulator
            .wait(LONG)
            .unwrap()
            .and_then(|status| status.code()),
        Some(7)
    );
    assert_eq!(emulator.kill().unwrap().code(), Some(7));

    let (mut emulator, _socket) = shell("exec sleep 1000").spawn().unwrap();
    assert_eq!(emulator.wait(Duration::from_millis(1)).unwrap(), None);
    assert_eq!(emulator.kill().unwrap().signal(), Some(9));
    assert_eq!(
        emulator
            .wait(LONG)
            .unwrap()
            .and_then(|status| status.signal()),
        Some(9)
    );
}

#[test]
fn a_dropped_emulator_is_dead() {
    let (emulator, socket) = shell("exec sleep 1000").spawn().unwrap();
    drop(emulator);
    assert_eq!(UnixStream::from(socket).read(&mut [0]).unwrap(), 0);
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
    for (script, expected) in [
        (
            "echo 'emulator: no such image' >&2; exit 2",
            "negotiating the version: the emulator has ended (exit status: 2), its last words: emulator: no such image",
        ),
        (
            "exit 3",
            "negotiating the version: the emulator has ended (exit status: 3), without a word",
        ),
        (
            "kill -KILL $$",
            "negotiating the version: the emulator has ended (signal: 9 (SIGKILL)), without a word",
        ),
    ] {
        let options = ProxyOptions {
            deadline: LONG,
            ..ProxyOptions::default()
        };
        let error = Proxy::spawn(shell(script), options).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        crate::port::PortError::PeerGone.to_event(),
        Event::Exited(None)
    );
}
