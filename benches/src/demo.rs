//! The demo, in order: make a disk, attach it over each front in turn, check what arrives, measure, and say so.

mod checks;
mod measure;
mod present;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use outrigger_vmm::VcpuKind;

use crate::front::{Attached, Front, Pinning, Source};
use crate::image::Image;
use crate::narrator::Narrator;
use crate::noise::{Moment, Noise};
use crate::report::{Report, prepare};
use measure::Samples;

/// A guest reads and writes a disk whose controller is emulated in a sandboxed process of its own: over the
/// shared-memory ring, over the vfio-user socket and, to compare, in the VMM's own process.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "outrigger-demo",
    after_help = "Examples:\n  outrigger-demo\n  outrigger-demo --disk image.raw\n  outrigger-demo --json > demo.json"
)]
pub struct Options {
    /// Read this raw disk image (opened read-only) instead of one made for the occasion.
    #[arg(long, value_name = "PATH")]
    pub disk: Option<PathBuf>,

    /// Where demo.json and demo.svg go.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/reports")]
    pub reports: PathBuf,

    /// Print the report as JSON and nothing else on standard output.
    #[arg(long)]
    pub json: bool,
}

/// SCSI ID of the disk that is read.
const DISK: u8 = 0;
/// SCSI ID of the disk that is written.
const SCRATCH: u8 = 1;
/// Bytes of the scratch disk.
const SCRATCH_BYTES: u64 = 16 << 20;

/// Each front is measured this many times, in turn, so that the machine's moods hit all of them.
const ROUNDS: usize = 3;

/// Runs the demo. Whether all checks held.
///
/// # Errors
/// Something could not be set up; a check that fails is no error.
pub fn run(options: &Options) -> Result<bool> {
    let narrator = Narrator::new(options.json);
    let mut report = Report::new();
    prepare(&options.reports)?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    narrator.say("making the disk");
    let image = match &options.disk {
        Some(path) => Image::open(path)?,
        None => Image::make(directory.path())?,
    };
    narrator.disk(&image);
    let mut attached = Front::ALL
        .into_iter()
        .map(|front| {
            // An image that is written has one user.
            let scratch = directory.path().join(format!("scratch-{front}.img"));
            std::fs::File::create(&scratch)?.set_len(SCRATCH_BYTES)?;
            let disks = [
                Source::file(&image.path, true),
                Source::file(&scratch, false),
            ];
            Attached::new(front, VcpuKind::best(), Pinning::Apart, &disks)
                .with_context(|| format!("cannot attach over {front}"))
        })
        .collect::<Result<Vec<_>>>()?;
    narrator.machines(&attached);

    for guest in &mut attached {
        checks::ready(guest, &narrator, &mut report)?;
        checks::whole_disk(guest, &image, &narrator, &mut report)?;
        checks::scratch(guest, SCRATCH_BYTES, &narrator, &mut report)?;
        checks::two_vcpus(guest, &narrator, &mut report)?;
    }
    let mut samples = Samples::default();
    let emulators: Vec<u32> = attached.iter().filter_map(Attached::emulator).collect();
    let before = Moment::now(emulators.iter().copied());
    for round in 0..ROUNDS {
        for guest in &mut attached {
            narrator.round(round, ROUNDS, guest.front);
            measure::random_reads(guest, &image, round, &mut samples)?;
        }
    }
    let noise = Noise::between(before, Moment::now(emulators), samples.rounds());
    report.noise = Some(noise);
    samples.report(&attached, &mut report);
    for guest in attached {
        let front = guest.front;
        report.check(format!("{front}: clean end"), guest.detach()?);
    }
    present::finish(&narrator, options, &samples, &report)?;
    Ok(report.passed())
}
