//! The command line as a whole.

use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::options::{OptionError, Place, Problem};

/// Runs PCI devices for a virtual machine in a process of their own.
///
/// Options are QEMU's: --blockdev names an image, --device puts a controller and its disks together, and
/// --export serves the controller to one VMM at a time. Prints one line per export when clients can connect.
#[derive(Debug, Parser)]
#[command(name = "outrigger-emulator", version, after_long_help = EXAMPLES, after_help = EXAMPLES, next_line_help = true)]
pub struct CommandLine {
    /// Block nodes: where disks' bytes live.
    #[arg(long, value_name = "OPTIONS", help = BLOCKDEV)]
    pub blockdev: Vec<String>,

    /// Controllers, and disks on their buses.
    #[arg(long, value_name = "OPTIONS", help = DEVICE)]
    pub device: Vec<String>,

    /// Where controllers are served.
    #[arg(long, value_name = "OPTIONS", help = EXPORT)]
    pub export: Vec<String>,

    /// Whether to give up all rights that serving does not need, before the first byte from a guest
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub sandbox: Switch,

    /// What to log to stderr: off, error, warn, info, debug or trace, also by module (info,outrigger_emulator::lsi=debug)
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

impl CommandLine {
    /// What to log.
    ///
    /// # Errors
    /// The filter is not one.
    pub fn log_filter(&self) -> Result<EnvFilter, OptionError> {
        EnvFilter::builder()
            .parse(by_crate(&self.log))
            .map_err(|_| {
                let place = Place {
                    option: "--log",
                    text: self.log.clone(),
                };
                let mend = "give off, error, warn, info, debug or trace, or module=level";
                place.error(Problem::refused("not a filter", mend))
            })
    }
}

/// Modules that are in [`outrigger_device`] now.
const OF_DEVICE: [&str; 10] = [
    "crash",
    "device",
    "dma",
    "event_loop",
    "front",
    "log",
    "pci",
    "sandbox",
    "signals",
    "statistics",
];

/// A filter that names modules as they were called while the emulator was one crate, with the crates that have them now.
fn by_crate(filter: &str) -> String {
    let directives = filter.split(',').map(|directive| {
        let Some(rest) = directive.strip_prefix("outrigger_emulator") else {
            return directive.to_owned();
        };
        let Some(path) = rest.strip_prefix("::") else {
            return format!("outrigger{rest}");
        };
        if path.starts_with("block") {
            return format!("outrigger_{path}");
        }
        match OF_DEVICE.iter().any(|module| path.starts_with(module)) {
            true => format!("outrigger_device{rest}"),
            false => directive.to_owned(),
        }
    });
    directives.collect::<Vec<_>>().join(",")
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

// No line of these is longer than 70 characters, of the examples 80: `-h` shows them whole at a terminal of 80 columns, and
// breaks longer ones at spaces, of which they have few.
const BLOCKDEV: &str = "\
A block node, by its driver and name:
  driver=file,node-name=NAME,filename=PATH
  driver=qcow2,node-name=NAME,file.driver=file,file.filename=PATH
  driver=qcow2,node-name=NAME,file=NODE[,backing.…]
    [,data-file.…]
  driver=vmdk or driver=raw, as qcow2
  driver=nbd,node-name=NAME,server.type=unix,server.path=PATH
    [,export=NAME]
  driver=memory,node-name=NAME,size=BYTES
  driver=null-co,node-name=NAME[,size=BYTES]
Any of them takes [,read-only=on][,discard=unmap|ignore]; a file also
  [,cache.direct=on][,aio=io_uring|threads][,locking=auto|on|off]";

const DEVICE: &str = "\
A controller, or a disk or CD-ROM drive on its bus:
  lsi53c895a,id=ID
  lsi53c810,id=ID
  scsi-hd,drive=NAME[,bus=ID.0][,scsi-id=N][,lun=N][,serial=TEXT]
    [,vendor=TEXT][,product=TEXT][,ver=TEXT][,wwn=N]
    [,rerror=report|ignore|stop|auto]
    [,werror=report|ignore|enospc|stop|auto][,id=NAME]
    [,logical_block_size=N][,physical_block_size=N]
    [,rotation_rate=N][,write-cache=on|off]
  scsi-cd with the same keys up to logical_block_size; without a
    drive its tray is empty";

const EXPORT: &str = "\
Where a controller is served:
  type=vfio-user,device=ID,path=SOCKET[,stats=SOCKET]
  type=vfio-user,device=ID,fd=N[,stats=SOCKET], an inherited socket
`outrigger stats` reads from the stats socket";

const EXAMPLES: &str = "\
Examples:
  One disk on one controller, for a VMM that connects to ./lsi0.sock:
    outrigger-emulator \\
      --blockdev driver=file,node-name=disk0,filename=disk.img \\
      --device lsi53c895a,id=lsi0 \\
      --device scsi-hd,bus=lsi0.0,scsi-id=0,drive=disk0 \\
      --export type=vfio-user,device=lsi0,path=lsi0.sock

  A CD-ROM drive beside it, with an ISO image:
    --blockdev driver=file,node-name=iso0,filename=install.iso,read-only=on \\
    --device scsi-cd,bus=lsi0.0,scsi-id=2,drive=iso0

  QEMU 10.1 or later then uses it with:
    -object memory-backend-memfd,id=ram,size=1G,share=on \\
    -machine memory-backend=ram \\
    -device '{\"driver\":\"vfio-user-pci\",
              \"socket\":{\"type\":\"unix\",\"path\":\"lsi0.sock\"}}'

  The same node read-only as JSON, and as a list, in which a comma within a
  value is written twice:
    --blockdev '{\"driver\":\"file\",\"node-name\":\"disk0\",
                 \"filename\":\"a,b.img\",\"read-only\":true}'
    --blockdev driver=file,node-name=disk0,filename=a,,b.img,read-only=on

  A qcow2 image, its file past the page cache:
    --blockdev driver=qcow2,node-name=disk0,file=file0 \\
    --blockdev driver=file,node-name=file0,filename=disk.qcow2,cache.direct=on

  A scratch disk in memory, over a socket that the parent process left open as
  descriptor 3:
    --blockdev driver=memory,node-name=disk1,size=64M \\
    --export type=vfio-user,device=lsi0,fd=3
";

impl CommandLine {
    /// Splits the arguments, of which the first is the program's name.
    ///
    /// # Errors
    /// What to print and the process's exit code with it: help on stdout with 0, or one line on stderr with 2.
    pub fn parse_from(
        arguments: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, Answer> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        if let Some(answer) = arguments.iter().skip(1).find_map(|it| one_dash(it)) {
            return Err(answer);
        }
        Self::try_parse_from(arguments).map_err(|error| {
            if !error.use_stderr() {
                return Answer {
                    text: error.render().to_string(),
                    code: 0,
                };
            }
            // The first paragraph says what is wrong; a tip may follow; usage is what `-h` is for.
            let text = error.render().to_string();
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let problem = lines
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            let mend = lines.find_map(|line| {
                let known = line
                    .strip_prefix("[possible values: ")
                    .and_then(|line| line.strip_suffix(']'));
                known
                    .map(|known| format!("known: {known}"))
                    .or(line.strip_prefix("tip: ").map(str::to_owned))
            });
            let mend = mend.unwrap_or_else(|| "see -h".to_owned());
            Answer {
                text: format!("outrigger-emulator: {problem}; {mend}\n"),
                code: 2,
            }
        })
    }
}

/// QEMU's habit: its options have one dash.
fn one_dash(argument: &std::ffi::OsStr) -> Option<Answer> {
    let text = argument.to_str()?;
    let name = text.strip_prefix('-')?.split('=').next()?;
    let known = [
        "blockdev", "device", "export", "sandbox", "log", "help", "version",
    ];
    known.contains(&name).then(|| Answer {
        text: format!("outrigger-emulator: unexpected argument '-{name}'; use --{name}\n"),
        code: 2,
    })
}

/// What to print instead of running.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Text with its final newline.
    pub text: String,
    /// The process's exit code: 0 for help that was asked for.
    pub code: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_may_name_modules_by_their_former_crate() {
        for (filter, now) in [
            ("info", "info"),
            ("outrigger_emulator=debug", "outrigger=debug"),
            (
                "info,outrigger_emulator::front=debug,mio=off",
                "info,outrigger_device::front=debug,mio=off",
            ),
            ("outrigger_emulator::block=warn", "outrigger_block=warn"),
            (
                "outrigger_emulator::assembly=trace",
                "outrigger_emulator::assembly=trace",
            ),
        ] {
            assert_eq!(by_crate(filter), now);
        }
    }
}
