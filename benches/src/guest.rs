//! fio in a Linux guest on an unmodified QEMU: on a disk behind the emulator, and on QEMU's own controller, in turn.

mod fio;
mod jobs;
mod present;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use outrigger_tests::guest::{Board, Emulator, Kit, Machine, Running};

use crate::context_switches;
use crate::report::Report;
use jobs::{JOBS, Job};
use present::Samples;

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// The user's own image; `None`: make one.
    pub disk: Option<PathBuf>,
    /// How many times each disk is measured.
    pub rounds: u32,
    /// Seconds that each job runs.
    pub seconds: u32,
    /// Where the report and the plot go.
    pub reports: PathBuf,
}

/// Where the controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// In the emulator's process.
    Outrigger,
    /// In QEMU's.
    Qemu,
}

impl Side {
    const ALL: [Self; 2] = [Self::Outrigger, Self::Qemu];

    const fn name(self) -> &'static str {
        match self {
            Self::Outrigger => "outrigger-vfio-user",
            Self::Qemu => "qemu-in-process",
        }
    }
}

/// Bytes of the disk that is made.
const DISK_BYTES: u64 = 256 << 20;

/// Measures. Whether all that had to hold held.
///
/// # Errors
/// If something could not be fetched, started or understood.
pub fn run(options: &Options) -> Result<bool> {
    println!("QEMU, kernel and tools: target/guest (fetched once)");
    let kit = Kit::open()?;
    let version = kit.qemu_version()?;
    println!("{version}, TCG, 1 vCPU, nothing pinned");
    // Away from a real disk: the controllers are compared, not what is below them.
    let directory = match Path::new("/dev/shm") {
        memory if memory.is_dir() => tempfile::tempdir_in(memory)?,
        _ => tempfile::tempdir()?,
    };
    let (disk, read_only) = match &options.disk {
        Some(disk) => (disk.canonicalize()?, true),
        None => (make_disk(directory.path())?, false),
    };
    let chosen: Vec<Job> = JOBS
        .into_iter()
        .filter(|job| !(read_only && job.writes()))
        .collect();

    let mut report = Report::new();
    let mut samples = Samples::default();
    for round in 0..options.rounds {
        for side in Side::ALL {
            println!("round {} of {}: {}", round + 1, options.rounds, side.name());
            let disk = Disk {
                path: &disk,
                read_only,
            };
            measure(
                &kit,
                side,
                disk,
                options,
                &chosen,
                round,
                &mut samples,
                &mut report,
            )
            .with_context(|| format!("{} in round {}", side.name(), round + 1))?;
        }
    }
    present::finish(options, &version, &samples, &mut report)
}

/// The image that both sides use.
#[derive(Clone, Copy, Debug)]
struct Disk<'a> {
    path: &'a Path,
    read_only: bool,
}

fn make_disk(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("disk.img");
    let mut file = File::create(&path)?;
    // Written through, so that no read finds a hole.
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0x5a), DISK_BYTES),
        &mut file,
    )?;
    Ok(path)
}

#[expect(clippy::too_many_arguments, reason = "one round, spelt out")]
fn measure(
    kit: &Kit,
    side: Side,
    disk: Disk<'_>,
    options: &Options,
    chosen: &[Job],
    round: u32,
    samples: &mut Samples,
    report: &mut Report,
) -> Result<()> {
    let machine = Machine::new(Board::Pc, 1);
    let (machine, emulator) = match side {
        Side::Qemu => (machine.in_process(disk.path, disk.read_only), None),
        Side::Outrigger => {
            let emulator = Emulator::with_disks(&[disk.path], disk.read_only)?;
            (machine.vfio_user(&emulator.socket()), Some(emulator))
        }
    };
    let mut running = machine.run_script(kit, &jobs::script(chosen, options.seconds))?;
    for job in chosen {
        running.wait_for("RESULT begin")?;
        let before = switches(&running, emulator.as_ref());
        running.wait_for("RESULT end")?;
        let after = switches(&running, emulator.as_ref());
        let spent = [after[0] - before[0], after[1] - before[1]];
        let line = running.next_result("fio")?;
        let sample = fio::Sample::parse(*job, &line, spent)?;
        sample.report(*job, side.name(), round, report);
        samples.add(*job, side, sample);
    }
    let transcript = running.finish()?;
    let clean = transcript.result("no-complaint") == Some("ok");
    report.check(
        format!("{}: no driver warning in round {}", side.name(), round + 1),
        clean,
    );
    if let Some(emulator) = emulator {
        report.check(
            format!(
                "the emulator has nothing to complain of in round {}",
                round + 1
            ),
            emulator.log().is_empty(),
        );
    }
    Ok(())
}

/// Context switches so far of QEMU and of the emulator.
fn switches(running: &Running, emulator: Option<&Emulator>) -> [u64; 2] {
    [
        context_switches::of_process(running.id()),
        emulator.map_or(0, |emulator| context_switches::of_process(emulator.id())),
    ]
}
