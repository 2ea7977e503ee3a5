//! A virtual machine of stock QEMU that boots the kit's Linux and runs a script.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::NamedTempFile;

use super::{Kit, Transcript};

/// QEMU's model of the main board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// i440FX and PIIX: PCI.
    Pc,
    /// Q35: PCI Express.
    Q35,
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pc => "pc",
            Self::Q35 => "q35",
        })
    }
}

/// What a machine has. Guest RAM is shared, so that a device in another process reaches it.
#[derive(Clone, Debug)]
pub struct Machine {
    board: Board,
    vcpus: u32,
    accelerator: &'static str,
    arguments: Vec<String>,
    reboots: bool,
}

/// Guest RAM.
const RAM: &str = "512M";

/// A guest that is silent for this long is stuck, even if the machine has ten other things to do.
const SILENCE: Duration = Duration::from_secs(600);

/// How often scripts repeat what may be repeated.
fn rounds() -> Result<u16> {
    let Ok(text) = std::env::var("OUTRIGGER_ROUNDS") else {
        return Ok(1);
    };
    match text.parse() {
        Ok(rounds @ 1..=1000) => Ok(rounds),
        _ => bail!("OUTRIGGER_ROUNDS={text}: give a number from 1 to 1000"),
    }
}

impl Machine {
    /// A machine without a disk, on QEMU's translator: it works everywhere.
    #[must_use]
    pub const fn new(board: Board, vcpus: u32) -> Self {
        Self {
            board,
            vcpus,
            accelerator: "tcg",
            arguments: Vec::new(),
            reboots: false,
        }
    }

    /// Adds a device process that listens on `socket`.
    #[must_use]
    pub fn vfio_user(self, socket: &Path) -> Self {
        let device = serde_json::json!({
            "driver": "vfio-user-pci",
            "socket": {"type": "unix", "path": socket},
        });
        self.arguments(["-device".to_owned(), device.to_string()])
    }

    /// Adds QEMU's own controller, in QEMU's process, with a raw disk.
    #[must_use]
    pub fn in_process(self, disk: &Path, read_only: bool) -> Self {
        let file = serde_json::json!({
            "driver": "raw",
            "node-name": "disk",
            "read-only": read_only,
            "file": {"driver": "file", "filename": disk, "read-only": read_only},
        });
        self.arguments([
            "-blockdev".to_owned(),
            file.to_string(),
            "-device".to_owned(),
            "lsi53c895a,id=lsi".to_owned(),
            "-device".to_owned(),
            "scsi-hd,bus=lsi.0,scsi-id=0,drive=disk".to_owned(),
        ])
    }

    /// Adds arguments of QEMU's.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A reboot starts the guest and its script again; otherwise it ends the machine.
    #[must_use]
    pub const fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// Boots Linux, which runs `script` and then switches the machine off. In the script, `$rounds` says how often what may be
    /// repeated is done: once, or as the environment's `OUTRIGGER_ROUNDS` has it.
    ///
    /// # Errors
    /// If QEMU cannot be started, or `OUTRIGGER_ROUNDS` is no number from 1 to 1000.
    pub fn run_script(&self, kit: &Kit, script: &str) -> Result<Running> {
        let mut file = NamedTempFile::new()?;
        writeln!(file, "rounds={}", rounds()?)?;
        file.write_all(script.as_bytes())?;
        let machine = self
            .clone()
            .arguments(["-kernel", path_text(&kit.kernel)?])
            .arguments(["-initrd", path_text(&kit.initramfs)?])
            .arguments([
                "-append",
                "console=ttyS0 quiet panic=-1 reboot=t no_timer_check",
            ])
            .arguments(["-fw_cfg".to_owned()])
            .arguments([format!(
                "name=opt/outrigger/script,file={}",
                file.path().display()
            )]);
        let mut running = machine.boot(kit)?;
        running.script = Some(file);
        Ok(running)
    }

    /// Boots what its disks have.
    ///
    /// # Errors
    /// If QEMU cannot be started.
    pub fn boot(&self, kit: &Kit) -> Result<Running> {
        let mut command = kit.qemu();
        command
            .args(["-machine", &format!("{},memory-backend=ram", self.board)])
            .arg("-object")
            .arg(format!("memory-backend-memfd,id=ram,size={RAM},share=on"))
            .args(["-m", RAM, "-accel", self.accelerator])
            .args(["-smp", &self.vcpus.to_string()])
            .args(["-nodefaults", "-display", "none", "-serial", "stdio"])
            .args(&self.arguments);
        if !self.reboots {
            command.arg("-no-reboot");
        }
        let errors = NamedTempFile::new()?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.reopen()?)
            .spawn()
            .context("cannot start QEMU")?;
        let mut serial = BufReader::new(child.stdout.take().context("QEMU has no output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while serial
                .read_until(b'\n', &mut bytes)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(&bytes);
                if sender.send(text.trim_end().to_owned()).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        Ok(Running {
            child,
            lines,
            transcript: Transcript::default(),
            errors,
            script: None,
        })
    }
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not text", path.display()))
}

/// A machine that runs. Dropping it ends it as a power cut does.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    transcript: Transcript,
    errors: NamedTempFile,
    /// QEMU reads it again when the guest reboots.
    script: Option<NamedTempFile>,
}

impl Running {
    /// Reads the serial port until a line contains `text`.
    ///
    /// # Errors
    /// If the machine ends or falls silent before.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        while let Some(found) = self.next_line()? {
            if found.contains(text) {
                return Ok(());
            }
        }
        bail!("the guest ended without {text:?}:\n{}", self.everything());
    }

    /// Reads the serial port until the result `name` comes; its value.
    ///
    /// # Errors
    /// If the machine ends or falls silent before.
    pub fn next_result(&mut self, name: &str) -> Result<String> {
        let prefix = format!("RESULT {name} ");
        while let Some(line) = self.next_line()? {
            if let Some(value) = line.strip_prefix(&prefix) {
                return Ok(value.to_owned());
            }
        }
        bail!("the guest ended without {name}:\n{}", self.everything());
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the guest switches the machine off.
    ///
    /// # Errors
    /// If it falls silent, or QEMU fails.
    pub fn finish(mut self) -> Result<Transcript> {
        while self.next_line()?.is_some() {}
        // The port closes as the process ends.
        let deadline = Instant::now() + SILENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => bail!("QEMU does not end"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            bail!("QEMU: {status}\n{}", self.everything());
        }
        Ok(std::mem::take(&mut self.transcript))
    }

    /// Ends the machine as a power cut does. What it said until then.
    ///
    /// # Errors
    /// If QEMU does not end.
    pub fn cut_power(mut self) -> Result<Transcript> {
        self.child.kill()?;
        self.child.wait()?;
        while self.next_line()?.is_some() {}
        Ok(std::mem::take(&mut self.transcript))
    }

    /// What QEMU itself has complained about.
    #[must_use]
    pub fn complaints(&self) -> String {
        std::fs::read_to_string(self.errors.path()).unwrap_or_default()
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => {
                self.transcript.push(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the guest has fallen silent:\n{}", self.everything())
            }
        }
    }

    fn everything(&self) -> String {
        format!("{}{}", self.transcript, self.complaints())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
