//! fio in a Linux guest on an unmodified QEMU: on a disk behind the emulator, and on QEMU's own controller, in turn.

mod counts;
mod disk;
mod fio;
mod jobs;
mod present;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use outrigger_tests::guest::{Board, Emulator, Kit, Machine, Running};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::bench::system_calls::Counter;
use crate::narrator::Narrator;
use crate::report::{Report, prepare};
use crate::spent::Snapshot;
use counts::Counts;
use disk::Disk;
use jobs::{COUNTED, JOBS, Job};
use present::Samples;

/// Boots Linux on an unmodified QEMU and runs fio in it: on a disk whose controller is a sandboxed process behind
/// vfio-user-pci, and on QEMU's own lsi53c895a, in turn. Fetches QEMU, kernel and tools into target/guest first.
///
/// Prints IOPS, latency, interrupts, system calls and context switches of both, and whether the aims are met; writes
/// guest.json and guest.svg. Takes five minutes; figures mean something on an idle machine only.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "outrigger-guest",
    after_help = "Environment:\n  QEMU    a qemu-system-x86_64 (10.1 or later) to use instead\n  KERNEL  a kernel image (bzImage) to use instead; its modules are looked for\n          in lib/modules beside its directory, and in /lib/modules\n\nExamples:\n  outrigger-guest\n  outrigger-guest --rounds 1 --seconds 1  a quick look\n  outrigger-guest --disk image.raw        only reads the image, never writes it\n  QEMU=/usr/bin/qemu-system-x86_64 outrigger-guest --rounds 5\n  taskset -c 1 outrigger-guest            on one CPU: wake-ups are cheaper there\n  outrigger-guest --json | jq '.measures[] | select(.name == \"fio_iops_ratio\")'\n\nExit status: 0 all went well (an aim may be missed), 1 something failed, 2 a value will not do."
)]
pub struct Options {
    /// Read this raw disk image or block device instead of an image made for the occasion. It is opened
    /// read-only, and the jobs that write are left out.
    #[arg(long, value_name = "PATH")]
    pub disk: Option<PathBuf>,

    /// How many times each of the two is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// How long each job runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,

    /// Where guest.json and guest.svg go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/reports")]
    pub reports: PathBuf,

    /// Print the report as JSON and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
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

/// Measures. Whether all that had to hold held; an aim that is missed does not count.
///
/// # Errors
/// [`outrigger_tests::guest::Refusal`] for a value of the user's that will not do. If something could not be fetched, started or
/// understood.
pub fn run(options: &Options) -> Result<bool> {
    let narrator = Narrator::new(options.json);
    prepare(&options.reports)?;
    let disk = Disk::open(options.disk.as_deref())?;
    narrator.say("QEMU, kernel and tools: target/guest (fetched once)");
    let kit = Kit::open()?;
    let version = kit.qemu_version()?;
    narrator.say(&format!(
        "{version}, TCG, 1 vCPU; {}; all QEMU threads and the emulator may run on {}",
        disk.description,
        cpus()?
    ));
    let jobs: Vec<Job> = JOBS
        .into_iter()
        .filter(|job| !(disk.read_only && job.writes()))
        .collect();

    let mut run = Run {
        kit: &kit,
        disk: &disk,
        options,
        report: Report::new(),
    };
    let mut samples = Samples::default();
    for round in 0..options.rounds {
        for side in Side::ALL {
            let what = format!("round {} of {}: {}", round + 1, options.rounds, side.name());
            let progress = narrator.progress(
                &what,
                jobs.len() as u64,
                "{msg} [{wide_bar}] {pos}/{len} jobs {elapsed}",
            );
            run.round(side, round, &jobs, &mut samples, || progress.inc(1))
                .with_context(|| format!("{} in round {}", side.name(), round + 1))?;
            progress.finish_and_clear();
        }
    }
    let counter = Counter::find();
    let mut counts = Vec::new();
    if let Some(counter) = counter {
        for side in Side::ALL {
            narrator.say(&format!(
                "counting system calls ({}): {}",
                counter.name(),
                side.name()
            ));
            counts.extend(run.count(side, counter)?);
        }
    } else {
        narrator.say("system calls are not counted: that takes perf or strace");
    }
    present::finish(
        &narrator,
        options,
        &version,
        &samples,
        &counts,
        &mut run.report,
    )
}

/// The CPUs that this process and those that it starts may use.
fn cpus() -> Result<String> {
    let set = sched_getaffinity(None)?;
    let allowed: Vec<String> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .map(|cpu| cpu.to_string())
        .collect();
    let plural = if allowed.len() == 1 { "" } else { "s" };
    Ok(format!("CPU{plural} {}", allowed.join(", ")))
}

/// What all rounds share.
#[derive(Debug)]
struct Run<'a> {
    kit: &'a Kit,
    disk: &'a Disk,
    options: &'a Options,
    report: Report,
}

impl Run<'_> {
    /// Boots the guest with the disk on that side; it runs the jobs, each after `pause` seconds.
    fn boot(&self, side: Side, jobs: &[Job], pause: u32) -> Result<(Running, Option<Emulator>)> {
        let machine = Machine::new(Board::Pc, 1);
        let Disk {
            path, read_only, ..
        } = self.disk;
        let (machine, emulator) = match side {
            Side::Qemu => (machine.in_process(path, *read_only), None),
            Side::Outrigger => {
                let emulator = Emulator::with_disks(&[path], *read_only)?;
                (machine.vfio_user(&emulator.socket()), Some(emulator))
            }
        };
        let script = jobs::script(jobs, self.options.seconds, pause);
        Ok((machine.run_script(self.kit, &script)?, emulator))
    }

    fn round(
        &mut self,
        side: Side,
        round: u32,
        jobs: &[Job],
        samples: &mut Samples,
        mut done: impl FnMut(),
    ) -> Result<()> {
        let (mut running, emulator) = self.boot(side, jobs, 0)?;
        for job in jobs {
            running.wait_for("RESULT begin")?;
            let before = switches(&running, emulator.as_ref());
            running.wait_for("RESULT end")?;
            let after = switches(&running, emulator.as_ref());
            let spent = [0, 1].map(|side| after[side].since(&before[side]).context_switches);
            let line = running.next_result("fio")?;
            let sample = fio::Sample::parse(*job, &line, spent)?;
            sample.report(*job, side.name(), round, &mut self.report);
            samples.add(*job, side, sample);
            done();
        }
        self.end(side, round, running, emulator)
    }

    /// Counts system calls, apart from the rounds: counting slows what it counts.
    fn count(&mut self, side: Side, counter: Counter) -> Result<Vec<Counts>> {
        /// Time for the counters to begin while the guest waits.
        const PAUSE: u32 = 1;
        let (mut running, emulator) = self.boot(side, &COUNTED, PAUSE)?;
        let mut found = Vec::new();
        for job in COUNTED {
            running.wait_for("RESULT begin")?;
            let qemu = running.id();
            let work = || running.wait_for("RESULT end");
            let (qemu_calls, emulator_calls) = match &emulator {
                Some(emulator) => {
                    let both = || counter.during(emulator.id(), work);
                    let (qemu_calls, (emulator_calls, ())) = counter.during(qemu, both)?;
                    (qemu_calls, Some(emulator_calls))
                }
                None => (counter.during(qemu, work)?.0, None),
            };
            let line = running.next_result("fio")?;
            let sample = fio::Sample::parse(job, &line, [0; 2])?;
            let per_io = |calls| fio::to_f64(calls) / sample.requests;
            let counts = Counts {
                job,
                side,
                qemu_calls_per_io: per_io(qemu_calls),
                emulator_calls_per_io: emulator_calls.map(per_io),
            };
            counts.report(counter, &mut self.report);
            found.push(counts);
        }
        self.end(side, self.options.rounds, running, emulator)?;
        Ok(found)
    }

    /// Switches the guest off, and notes what had to hold in this round (counted from 0).
    fn end(
        &mut self,
        side: Side,
        round: u32,
        running: Running,
        emulator: Option<Emulator>,
    ) -> Result<()> {
        let transcript = running.finish()?;
        let clean = transcript.result("no-complaint") == Some("ok");
        let round = round + 1;
        self.report.check(
            format!("{}: no driver warning in round {round}", side.name()),
            clean,
        );
        if let Some(emulator) = emulator {
            self.report.check(
                format!("the emulator has nothing to complain of in round {round}"),
                emulator.log().is_empty(),
            );
        }
        Ok(())
    }
}

/// Context switches so far of QEMU and of the emulator.
fn switches(running: &Running, emulator: Option<&Emulator>) -> [Snapshot; 2] {
    [
        Snapshot::of_process(running.id()),
        emulator.map_or_else(Snapshot::default, |emulator| {
            Snapshot::of_process(emulator.id())
        }),
    ]
}
