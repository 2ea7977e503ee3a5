//! What an emulator says on standard error: passed on to the VMM's, and its end kept for the error
//! that explains its death.

use std::io::{self, PipeReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that are kept.
const KEPT: usize = 4096;
/// Lines that an error quotes.
const QUOTED: usize = 3;

/// The end of what was said so far.
#[derive(Debug, Default)]
struct Heard {
    tail: Vec<u8>,
    /// Nobody can say more.
    ended: bool,
}

/// Listens to one emulator.
#[derive(Debug)]
pub(super) struct LastWords {
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

impl LastWords {
    /// Starts a thread that passes on what comes out of `pipe`, until its other end is closed.
    pub(super) fn listen(mut pipe: PipeReader) -> io::Result<Self> {
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let said = Arc::clone(&heard);
        let relay = move || {
            let mut buffer = [0; 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or(&[]);
                        // Without a standard error there is nobody to tell.
                        let _ = io::stderr().write_all(bytes);
                        lock(&said.0).keep(bytes);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            lock(&said.0).ended = true;
            said.1.notify_all();
        };
        thread::Builder::new()
            .name("outrigger-stderr".to_owned())
            .spawn(relay)?;
        Ok(Self { heard })
    }

    /// The last lines so far, each at most once, in one line. If the emulator has ended, this waits
    /// until all that it said has come, for at most `timeout`: a process that it may have started
    /// can hold the pipe open.
    pub(super) fn quote(&self, timeout: Duration) -> String {
        let (heard, end) = &*self.heard;
        let waited = end.wait_timeout_while(lock(heard), timeout, |heard| !heard.ended);
        let (heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        heard.quote()
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heard {
    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }

    /// Without what a terminal would obey: an emulator that a guest has taken over may write
    /// anything.
    fn quote(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let last = lines.len().saturating_sub(QUOTED);
        let quoted = lines.get(last..).unwrap_or(&[]).join("; ");
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        quoted.chars().map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: &str) -> Heard {
        let mut heard = Heard::default();
        for piece in said.as_bytes().chunks(100) {
            heard.keep(piece);
        }
        heard
    }

    #[test]
    fn the_last_lines_are_quoted() {
        assert_eq!(heard("").quote(), "");
        assert_eq!(heard("one\n\n").quote(), "one");
        assert_eq!(heard("1\n2\n3\n4").quote(), "2; 3; 4");
        assert_eq!(heard("\x1b[31mred\n").quote(), "\u{fffd}[31mred");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let heard = heard(&"x".repeat(100_000));
        assert_eq!(heard.tail.len(), KEPT);
        assert_eq!(heard.quote().len(), KEPT);
    }

    #[test]
    fn it_waits_for_the_end_and_no_longer_than_asked() {
        let (reader, mut writer) = io::pipe().unwrap();
        let words = LastWords::listen(reader).unwrap();
        assert_eq!(words.quote(Duration::from_millis(1)), "");
        writer.write_all(b"farewell\n").unwrap();
        drop(writer);
        assert_eq!(words.quote(Duration::from_secs(20)), "farewell");
    }
}
