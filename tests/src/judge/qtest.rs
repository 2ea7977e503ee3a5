//! QEMU's chip, driven through qtest: no CPU runs, every access comes through a socket.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use outrigger_emulator::lsi::Model;
use outrigger_proxy::Width;
use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::NamedTempFile;

use super::chip::{Action, Chip, IO, RAM, REGISTERS, SCRIPTS_RAM};
use super::units::{DISK, Disks, Unit};
use crate::guest::Kit;

/// Where the chip is on the PCI bus.
const SLOT: u32 = 4;
/// QEMU answers at once; what takes longer is a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A QEMU with a chip and its disks.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    socket: BufReader<UnixStream>,
    ram: NamedTempFile,
    errors: NamedTempFile,
    /// Its disks' images live as long.
    _images: Vec<NamedTempFile>,
}

/// A file in memory, if there is a place for such.
fn file() -> io::Result<NamedTempFile> {
    NamedTempFile::new_in("/dev/shm").or_else(|_| NamedTempFile::new())
}

impl Qemu {
    /// Starts a QEMU whose chip is set up as firmware does it.
    ///
    /// # Errors
    /// QEMU cannot be started, or has no such chip.
    pub fn start(kit: &Kit, model: Model, disks: &Disks) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        fcntl_setfd(&theirs, FdFlags::empty())?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let ram = file()?;
        ram.as_file().set_len(2 * RAM)?;
        let errors = NamedTempFile::new()?;
        let driver = match model {
            Model::Lsi53c895a => "lsi53c895a",
            Model::Lsi53c810 => "lsi53c810",
        };
        let mut command = kit.qemu();
        command
            .arg("-machine")
            .arg(format!("pc,memory-backend=ram,max-ram-below-4g={RAM}"))
            .args(["-accel", "qtest", "-m"])
            .arg(format!("{}M", (2 * RAM) >> 20))
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=ram,share=on,size={},mem-path={}",
                2 * RAM,
                ram.path().display()
            ))
            .args(["-nodefaults", "-display", "none"])
            .arg("-chardev")
            .arg(format!("socket,id=qtest,fd={}", theirs.as_raw_fd()))
            .args(["-qtest", "chardev:qtest", "-qtest-log", "/dev/null"])
            .args(["-device", &format!("{driver},id=lsi,addr={SLOT}")]);
        let mut images = Vec::new();
        for (id, unit, bytes) in disks.images() {
            let mut image = file()?;
            image.write_all(bytes)?;
            let (device, access) = match unit {
                Unit::Disk => ("scsi-hd", "discard=unmap"),
                Unit::Drive => ("scsi-cd", "read-only=on"),
            };
            command
                .arg("-blockdev")
                .arg(format!(
                    "driver=file,node-name=disk{id},{access},filename={}",
                    image.path().display()
                ))
                .arg("-device")
                .arg(format!(
                    "{device},bus=lsi.0,scsi-id={id},drive=disk{id},{DISK}"
                ));
            images.push(image);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.reopen()?)
            .spawn()
            .context("cannot start QEMU")?;
        drop(theirs);
        let mut qemu = Self {
            child,
            socket: BufReader::new(ours),
            ram,
            errors,
            _images: images,
        };
        qemu.set_up(model)
            .with_context(|| qemu.last_words().unwrap_or_default())?;
        Ok(qemu)
    }

    fn set_up(&mut self, model: Model) -> Result<()> {
        let identity = self.config(0x00, None)?;
        let device = match model {
            Model::Lsi53c895a => 0x0012,
            Model::Lsi53c810 => 0x0001,
        };
        if identity != device << 16 | 0x1000 {
            bail!("no chip, but {identity:#x}");
        }
        self.config(0x10, Some(IO.into()))?;
        self.config(0x14, Some(REGISTERS))?;
        if model == Model::Lsi53c895a {
            self.config(0x18, Some(SCRIPTS_RAM))?;
        }
        self.config(0x04, Some(7))?;
        Ok(())
    }

    /// Writes a Dword of the chip's config space, and reads it.
    fn config(&mut self, at: u32, value: Option<u32>) -> Result<u32> {
        let mut commands = format!("outl 0xcf8 {:#x}\n", 0x8000_0000 | SLOT << 11 | at);
        if let Some(value) = value {
            writeln!(commands, "outl 0xcfc {value:#x}")?;
        }
        commands.push_str("inl 0xcfc\n");
        let answers = self.ask(&commands)?;
        let last = answers.last().context("no answer")?;
        Ok(u32::from_str_radix(last.trim_start_matches("0x"), 16)?)
    }

    /// Sends commands, one a line; what is behind each one's OK.
    fn ask(&mut self, commands: &str) -> io::Result<Vec<String>> {
        self.socket.get_mut().write_all(commands.as_bytes())?;
        let mut answers = Vec::new();
        for command in commands.lines() {
            let mut line = String::new();
            self.socket.read_line(&mut line)?;
            let Some(answer) = line.trim_end().strip_prefix("OK") else {
                return Err(io::Error::other(format!("{command}: {line:?}")));
            };
            answers.push(answer.trim_start().to_owned());
        }
        Ok(answers)
    }

    /// What QEMU has complained about.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        std::fs::read_to_string(self.errors.path()).ok()
    }

    fn memory(&self) -> &File {
        self.ram.as_file()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of a hexadecimal number, the first first.
fn bytes(hex: &str) -> io::Result<Vec<u8>> {
    let digits = hex.trim_start_matches("0x");
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(io::Error::other))
        .collect()
}

impl Chip for Qemu {
    fn act(&mut self, actions: &[Action]) -> io::Result<Vec<Vec<u8>>> {
        let mut commands = String::new();
        for action in actions {
            // Writing to a string cannot fail.
            let _ = match *action {
                Action::Write {
                    bar,
                    at,
                    width,
                    value,
                } => {
                    let letter = match width {
                        Width::Byte => 'b',
                        Width::Word => 'w',
                        Width::Dword | Width::Qword => 'l',
                    };
                    match place(bar, at) {
                        Place::Port(port) => writeln!(commands, "out{letter} {port:#x} {value:#x}"),
                        Place::Memory(place) => {
                            writeln!(commands, "write{letter} {place:#x} {value:#x}")
                        }
                    }
                }
                Action::Read { bar, at, bytes } => match place(bar, at) {
                    Place::Port(port) => writeln!(commands, "inb {port:#x}"),
                    Place::Memory(place) => writeln!(commands, "read {place:#x} {bytes:#x}"),
                },
                Action::Line => writeln!(
                    commands,
                    "outl 0xcf8 {:#x}\ninw 0xcfe",
                    0x8000_0000 | SLOT << 11 | 4
                ),
            };
        }
        let mut answers = self.ask(&commands)?.into_iter();
        let mut seen = Vec::new();
        for action in actions {
            let answer = answers.next().unwrap_or_default();
            match action {
                Action::Write { .. } => {}
                Action::Read { bar: 0, .. } => {
                    let value = u8::from_str_radix(answer.trim_start_matches("0x"), 16);
                    seen.push(vec![value.map_err(io::Error::other)?]);
                }
                Action::Read { .. } => seen.push(bytes(&answer)?),
                Action::Line => {
                    let status = answers.next().unwrap_or_default();
                    let status = u16::from_str_radix(status.trim_start_matches("0x"), 16);
                    let asserted = status.map_err(io::Error::other)? & 8 != 0;
                    seen.push(vec![asserted.into()]);
                }
            }
        }
        Ok(seen)
    }

    fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut command = format!("write {SCRIPTS_RAM:#x} {:#x} 0x", bytes.len());
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(command, "{byte:02x}");
        }
        command.push('\n');
        self.ask(&command).map(drop)
    }

    fn poke(&self, address: u32, bytes: &[u8]) -> io::Result<()> {
        self.memory().write_all_at(bytes, address.into())
    }

    fn peek(&self, address: u32, bytes: &mut [u8]) -> io::Result<()> {
        self.memory().read_exact_at(bytes, address.into())
    }
}

/// Where a BAR's byte is for a CPU.
enum Place {
    Port(u16),
    Memory(u32),
}

fn place(bar: u8, at: u16) -> Place {
    match bar {
        0 => Place::Port(IO + at),
        1 => Place::Memory(REGISTERS + u32::from(at)),
        _ => Place::Memory(SCRIPTS_RAM + u32::from(at)),
    }
}
