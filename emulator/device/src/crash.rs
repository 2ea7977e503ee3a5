//! Signals of faults: memory that is gone, and errors in this program.
//!
//! SIGBUS within guest RAM is a client's doing: it has cut its file short, or its file system has
//! no page left. The handler puts zeroes there and the thread goes on; the session ends at the next
//! look ([`crate::dma`]). Every other fault ends the process: the handler writes one line, restores
//! the signal's default action and sends the signal again. Where the system call filter does not
//! allow these two calls, the process exits, with 128 and the signal's number. There is no way back
//! into the instruction that faulted, so no thread faults for ever.
//!
//! The handlers take the place of Rust's own, which only tell of stacks that overflow and count on
//! being allowed to change the action; they tell of that too.

mod sys;

use std::fmt::{self, Write};
use std::io;

/// Installs the handlers, for all threads. Before the sandbox is closed, and before a client's
/// memory is mapped.
///
/// # Errors
/// What the kernel says.
pub fn install() -> io::Result<()> {
    sys::install()
}

/// Does `work`, on a thread that others wait for; if it panics, the process ends instead of having
/// them wait for ever. The panic has been reported by then.
pub fn or_abort<T>(work: impl FnOnce() -> T) -> T {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let bomb = Bomb;
    let done = work();
    std::mem::forget(bomb);
    done
}

/// Signals that a fault raises, with their names.
const FAULTS: [(libc::c_int, &str); 4] = [
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
];

/// How far below the stack pointer an overflow is met at most: guard pages and a large frame.
const NEAR_THE_STACK: usize = 64 << 10;

/// What a handler learns.
#[derive(Clone, Copy, Debug)]
struct Fault {
    signal: libc::c_int,
    /// The process that sent it, if it was sent.
    sender: Option<i32>,
    address: usize,
    stack_pointer: Option<usize>,
}

impl Fault {
    fn overflowed(&self) -> bool {
        let near = |pointer: usize| self.address.abs_diff(pointer) <= NEAR_THE_STACK;
        self.signal == libc::SIGSEGV && self.stack_pointer.is_some_and(near)
    }
}

/// The line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAULTS.iter().find(|(signal, _)| *signal == self.signal);
        let name = name.map_or("a signal", |(_, name)| name);
        f.write_str("outrigger-emulator: ")?;
        match self.sender {
            Some(sender) => write!(f, "{name}, sent by process {sender}")?,
            None => write!(f, "{name} at address {:#x}", self.address)?,
        }
        if self.sender.is_none() {
            f.write_str(match self.overflowed() {
                true => ": a stack has overflowed",
                false if self.signal == libc::SIGBUS => {
                    ", which is not guest RAM: the file behind it is gone"
                }
                false => ": an error in this program",
            })?;
        }
        f.write_str("\n")
    }
}

/// Text without an allocation; what does not fit is left out.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Text {
    /// Safe to call in a signal handler: numbers and constant strings are formatted in place.
    fn of(fault: &Fault) -> Self {
        let mut text = Self {
            bytes: [0; 256],
            length: 0,
        };
        // It fails where the room ends.
        let _ = write!(text, "{fault}");
        text
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.length.saturating_add(more.len());
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_happened() {
        let fault = Fault {
            signal: libc::SIGSEGV,
            sender: None,
            address: 0x10,
            stack_pointer: Some(0x7fff_0000_0000),
        };
        let lines = [
            (fault, "SIGSEGV at address 0x10: an error in this program"),
            (
                Fault {
                    address: 0x7ffe_ffff_f000,
                    ..fault
                },
                "SIGSEGV at address 0x7ffefffff000: a stack has overflowed",
            ),
            (
                Fault {
                    signal: libc::SIGBUS,
                    ..fault
                },
                "SIGBUS at address 0x10, which is not guest RAM: the file behind it is gone",
            ),
            (
                Fault {
                    signal: libc::SIGILL,
                    sender: Some(77),
                    ..fault
                },
                "SIGILL, sent by process 77",
            ),
        ];
        for (fault, line) in lines {
            let expected = format!("outrigger-emulator: {line}\n");
            assert_eq!(Text::of(&fault).bytes(), expected.as_bytes());
        }
    }
}
