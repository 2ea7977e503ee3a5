//! Commands for the disks behind both chips, by a script that follows the target wherever it goes.

mod drive;
mod generate;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

pub use drive::sequence as drive_sequence;
pub use generate::{Command, sequence};

use super::chip::{Action, Chip, at};
use super::program::Program;

/// The script, its data, and the buffer of a command's data.
const SCRIPT: u32 = 0x11_0000;
const IDENTIFY: u32 = SCRIPT + 0x800;
const CDB: u32 = SCRIPT + 0x810;
const STATUS: u32 = SCRIPT + 0x830;
const MESSAGE: u32 = SCRIPT + 0x834;
const BUFFER: u32 = 0x12_0000;
/// More than any command here moves.
pub const BUFFER_BYTES: u32 = 0x2_0000;

/// INTs of the script.
const DONE: u32 = 1;
const OVERRUN: u32 = 2;
const LOST: u32 = 3;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// How the script ended.
    pub end: &'static str,
    /// The status byte.
    pub status: u8,
    /// Bytes that moved.
    pub moved: u32,
    /// The buffer.
    pub buffer: Vec<u8>,
}

impl Answer {
    /// The bytes that came.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.buffer[..self.moved as usize]
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            end, status, moved, ..
        } = self;
        let shown = self.data().get(..64).unwrap_or(self.data());
        write!(f, "{end}, status {status:02x}, {moved} bytes {shown:02x?}")
    }
}

/// Addresses within the script, by instruction.
const fn place(instruction: u32) -> u32 {
    SCRIPT + 8 * instruction
}

/// WHEN (and IF) a phase, JUMP.
const fn jump(phase: u32, wait: bool, to: u32) -> [u32; 2] {
    [0x800a_0000 | phase << 24 | (wait as u32) << 16, to]
}

/// JUMP if SFBR is this.
const fn jump_if(byte: u32, to: u32) -> [u32; 2] {
    [0x800c_0000 | byte, to]
}

const DISPATCH: u32 = 3;

/// The script for a command of `length` bytes to `target`.
fn script(target: u8, length: u32) -> Vec<u8> {
    const CLEAR_ACK: [u32; 2] = [0x6000_0040, 0];
    const WAIT_DISCONNECT: [u32; 2] = [0x4800_0000, 0];
    let go_on = [0x8008_0000, place(DISPATCH)];
    let words = [
        [0x4100_0000 | u32::from(target) << 16, place(26)],
        [0x0e00_0001, IDENTIFY],
        [0x0a00_0000 | length, CDB],
        // DISPATCH: after data have moved there must be no more of them.
        jump(1, true, place(8)),
        jump(0, false, place(10)),
        jump(3, false, place(12)),
        jump(7, false, place(14)),
        [0x9808_0000, LOST],
        [0x0900_0000 | BUFFER_BYTES, BUFFER],
        [0x9808_0000, OVERRUN],
        [0x0800_0000 | BUFFER_BYTES, BUFFER],
        [0x9808_0000, OVERRUN],
        [0x0b00_0001, STATUS],
        go_on,
        [0x0f00_0001, MESSAGE],
        jump_if(0, place(19)),
        jump_if(4, place(22)),
        CLEAR_ACK,
        go_on,
        // COMMAND COMPLETE.
        CLEAR_ACK,
        WAIT_DISCONNECT,
        [0x9808_0000, DONE],
        // DISCONNECT.
        CLEAR_ACK,
        WAIT_DISCONNECT,
        [0x5000_0000, place(26)],
        go_on,
        [0x9808_0000, LOST],
    ];
    words
        .into_iter()
        .flatten()
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// Gives a command to a chip's disk.
///
/// # Errors
/// The chip's process has ended.
pub fn exchange(chip: &mut dyn Chip, command: &Command) -> io::Result<Answer> {
    let length = u32::try_from(command.cdb.len()).unwrap_or(6);
    let mut buffer = vec![0xa5; BUFFER_BYTES as usize];
    buffer[..command.out.len()].copy_from_slice(&command.out);
    chip.poke(SCRIPT, &script(command.target, length))?;
    chip.poke(IDENTIFY, &[0xc0])?;
    chip.poke(CDB, &command.cdb)?;
    chip.poke(STATUS, &[0xff; 8])?;
    chip.poke(BUFFER, &buffer)?;
    let mut moved = 0;
    let mut from = place(0);
    let end = loop {
        chip.act(&[Action::dword(at::DSP, from)])?;
        if !stops(chip)? {
            break "waits for ever";
        }
        let seen = chip.act(&[
            Action::read(at::DSTAT, 1),
            Action::read(at::SIST0, 2),
            Action::read(0x24, 4),
            Action::read(0x30, 4),
        ])?;
        let dword = |bytes: &[u8]| {
            bytes
                .first_chunk()
                .map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        if seen[0][0] & 0x04 != 0 {
            break match dword(&seen[3]) {
                DONE => "done",
                OVERRUN => "too many data",
                _ => "lost",
            };
        }
        // A phase mismatch in data: they were fewer.
        let left = dword(&seen[2]) & 0x00ff_ffff;
        if seen[1] != [0x80, 0] || moved != 0 {
            break "another interrupt";
        }
        moved = BUFFER_BYTES - left;
        from = place(DISPATCH);
    };
    let mut status = [0];
    chip.peek(STATUS, &mut status)?;
    chip.peek(BUFFER, &mut buffer)?;
    Ok(Answer {
        end,
        status: status[0],
        moved,
        buffer,
    })
}

/// Waits until SCRIPTS stop.
fn stops(chip: &mut dyn Chip) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        let istat = chip.act(&[Action::read(at::ISTAT0, 1)])?;
        if istat[0][0] & 3 != 0 {
            return Ok(true);
        }
        if begun.elapsed() > PATIENCE {
            return Ok(false);
        }
        chip.release();
    }
}

/// What brings a chip's disks to where commands begin.
///
/// # Errors
/// The chip's process has ended.
pub fn begin(chip: &mut dyn Chip, targets: &[u8]) -> io::Result<()> {
    chip.act(&Program::reset())?;
    for &target in targets {
        // The first one tells of the reset.
        for _ in 0..2 {
            exchange(chip, &Command::test_unit_ready(target))?;
        }
    }
    Ok(())
}
