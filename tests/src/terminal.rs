//! A terminal, as a user sits at it: a pseudo-terminal of a given width.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What is started at it, and read from it.
#[derive(Debug)]
pub struct Terminal {
    screen: File,
    columns: u16,
}

impl Terminal {
    /// One that is so wide.
    ///
    /// # Panics
    /// If the kernel gives none.
    #[must_use]
    pub fn new(columns: u16) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&screen).expect("a pseudo-terminal of our own");
        unlockpt(&screen).expect("a pseudo-terminal of our own");
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size).expect("a terminal has a size");
        let screen = screen.into();
        Self { screen, columns }
    }

    /// Starts a program whose standard input, output and error it is.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(&self, mut command: Command) -> Child {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let own = || ioctl_tiocgptpeer(&self.screen, flags).expect("the terminal's other end");
        command.stdin(own()).stdout(own()).stderr(own());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.env_remove("COLUMNS");
        command.spawn().expect("it starts")
    }

    /// All that comes until nothing can, or `enough` holds of it.
    ///
    /// # Panics
    /// If it is no text.
    pub fn read_until(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        // When all have closed its other end, this is an error.
        while let Ok(count @ 1..) = self.screen.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if std::str::from_utf8(&all).is_ok_and(&enough) {
                break;
            }
        }
        String::from_utf8(all).expect("text").replace("\r\n", "\n")
    }

    /// Runs a program to its end; what it said, without colours.
    ///
    /// # Panics
    /// If it does not start, fails, or says something that is no text or does not fit.
    pub fn run(&mut self, command: Command) -> String {
        let mut child = self.start(command);
        let said = plain(&self.read_until(|_| false));
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{status}: {said}");
        for line in said.lines() {
            let width = line.chars().count();
            assert!(width <= self.columns.into(), "{width} columns: {line}");
        }
        said
    }
}

/// Without the sequences that set colours and weights.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}
