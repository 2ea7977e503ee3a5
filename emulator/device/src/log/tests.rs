use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;

use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

fn lines() -> Lines {
    Lines(Mutex::new(State {
        lost: 0,
        cut: false,
    }))
}

/// A reader that never reads costs lines, never a wait; when it reads again it learns how many.
#[test]
fn a_reader_that_sleeps_loses_lines_and_is_told() {
    let (pipe_reader, pipe_writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (socket_reader, socket_writer) = UnixStream::pair().unwrap();
    let ends = [
        (pipe_reader, pipe_writer),
        (socket_reader.into(), socket_writer.into()),
    ];
    for (reader, writer) in ends {
        let lines = lines();
        // The descriptor would wait: that is what matters.
        assert!(
            !rustix::fs::fcntl_getfl(&writer)
                .unwrap()
                .contains(rustix::fs::OFlags::NONBLOCK)
        );
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..2000 {
            lines.write(writer.as_fd(), &line);
        }
        let lost = lines.0.lock().unwrap().lost;
        assert!(lost > 0, "all of it was taken");
        let mut reader = File::from(reader);
        let mut room = vec![0; 1 << 20];
        let mut text = Vec::new();
        // As much as is certainly there.
        let count = reader.read(&mut room).unwrap();
        text.extend_from_slice(&room[..count]);
        lines.write(writer.as_fd(), b"the last\n");
        drop(writer);
        reader.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let note = format!("outrigger-emulator: {lost} lines of the log lost");
        let mut all = text.lines();
        assert_eq!(all.next_back(), Some("the last"));
        assert!(all.next_back().unwrap().starts_with(&note), "{lost}");
        assert_eq!(all.count() as u64 + lost, 2000);
    }
}

#[test]
fn what_cannot_be_written_is_no_error() {
    let lines = lines();
    let full = File::options().write(true).open("/dev/full").unwrap();
    lines.write(full.as_fd(), b"one\n");
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    drop(reader);
    lines.write(writer.as_fd(), b"two\n");
    let read_only = File::open("/dev/null").unwrap();
    lines.write(read_only.as_fd(), b"three\n");
    assert_eq!(lines.0.lock().unwrap().lost, 3);
    let mut kept = tempfile::tempfile().unwrap();
    lines.write(kept.as_fd(), b"four\n");
    assert_eq!(lines.0.lock().unwrap().lost, 0);
    let mut text = String::new();
    std::io::Seek::rewind(&mut kept).unwrap();
    kept.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("outrigger-emulator: 3 lines of the log lost"),
        "{text}"
    );
    assert!(text.ends_with("\nfour\n"), "{text}");
}

/// A line that is longer than a pipe takes at once ends somewhere; the next one begins on a line of
/// its own.
#[test]
fn a_line_that_was_cut_is_ended() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let lines = lines();
    let line = [&vec![b'x'; 1 << 20][..], b"\n"].concat();
    lines.write(writer.as_fd(), &line);
    assert!(lines.0.lock().unwrap().cut);
    let mut reader = File::from(reader);
    let mut room = vec![0; 1 << 20];
    let count = reader.read(&mut room).unwrap();
    assert!(room[..count].iter().all(|byte| *byte == b'x'));
    lines.write(writer.as_fd(), b"next\n");
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(
        text.trim_start_matches('x')
            .starts_with("\noutrigger-emulator: 1 line of the log lost")
    );
    assert!(text.ends_with("\nnext\n"), "{text}");
}
