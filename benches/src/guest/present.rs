//! What people see: the table, the plot, the report.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets};
use plotters::prelude::*;

use super::fio::Sample;
use super::jobs::{Job, Pattern};
use super::{Options, Side};
use crate::report::Report;

/// Every sample, by job and side.
#[derive(Debug, Default)]
pub(super) struct Samples {
    runs: BTreeMap<(Job, Side), Vec<Sample>>,
}

impl Samples {
    pub(super) fn add(&mut self, job: Job, side: Side, sample: Sample) {
        self.runs.entry((job, side)).or_default().push(sample);
    }

    /// The median of one figure over the rounds.
    fn median(&self, job: Job, side: Side, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.runs.get(&(job, side))?.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn jobs(&self) -> Vec<Job> {
        self.runs
            .keys()
            .filter(|(_, side)| *side == Side::Outrigger)
            .map(|(job, _)| *job)
            .collect()
    }

    /// IOPS as a share of QEMU's own: the median of each round's ratio, since the rounds' machines differ in mood.
    fn ratio(&self, job: Job) -> Option<f64> {
        let ours = self.runs.get(&(job, Side::Outrigger))?;
        let theirs = self.runs.get(&(job, Side::Qemu))?;
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(a, b)| a.iops / b.iops)
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }
}

/// Prints the table, writes report and plot. Whether all checks held.
pub(super) fn finish(
    options: &Options,
    version: &str,
    samples: &Samples,
    report: &mut Report,
) -> Result<bool> {
    let json = options.reports.join("guest.json");
    let svg = options.reports.join("guest.svg");
    report.write(&json)?;
    plot(&svg, version, samples)?;
    println!("\n{}", table(samples));
    println!(
        "medians of {} rounds of {} s; × in-process: IOPS against QEMU's own lsi53c895a; CSW: context switches",
        options.rounds, options.seconds
    );
    for check in report.checks.iter().filter(|check| !check.ok) {
        println!("FAILED {}", check.name);
    }
    println!("wrote {} and {}", json.display(), svg.display());
    Ok(report.passed())
}

fn table(samples: &Samples) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header([
        "job",
        "QD",
        "controller",
        "IOPS",
        "MiB/s",
        "mean µs",
        "p99 µs",
        "× in-process",
        "interrupts/IO",
        "QEMU CSW/IO",
        "emulator CSW/IO",
    ]);
    for job in samples.jobs() {
        for side in Side::ALL {
            let figure = |digits: usize, figure: fn(&Sample) -> f64| {
                samples
                    .median(job, side, figure)
                    .map_or_else(String::new, |value| format!("{value:.digits$}"))
            };
            let ratio = match side {
                Side::Outrigger => samples.ratio(job).map(|ratio| format!("{ratio:.2}")),
                Side::Qemu => None,
            };
            table.add_row([
                job.to_string(),
                job.depth.to_string(),
                side.name().to_owned(),
                figure(0, |sample| sample.iops),
                figure(1, |sample| sample.mib_per_s),
                figure(0, |sample| sample.mean_us),
                figure(0, |sample| sample.p99_us),
                ratio.unwrap_or_default(),
                figure(2, |sample| sample.interrupts_per_io),
                figure(2, |sample| sample.qemu_switches_per_io),
                match side {
                    Side::Outrigger => figure(2, |sample| sample.emulator_switches_per_io),
                    Side::Qemu => String::new(),
                },
            ]);
        }
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// IOPS of the random jobs over the queue depth.
fn plot(path: &Path, version: &str, samples: &Samples) -> Result<()> {
    let lines: Vec<(String, Vec<(f64, f64)>)> = [Pattern::RandRead, Pattern::RandWrite]
        .into_iter()
        .flat_map(|pattern| Side::ALL.map(|side| (pattern, side)))
        .map(|(pattern, side)| {
            let points = samples
                .jobs()
                .into_iter()
                .filter(|job| job.pattern == pattern)
                .filter_map(|job| {
                    let iops = samples.median(job, side, |sample| sample.iops)?;
                    Some((f64::from(job.depth), iops))
                })
                .collect();
            (format!("{}, {}", pattern.name(), side.name()), points)
        })
        .collect();
    let top = lines
        .iter()
        .flat_map(|(_, points)| points)
        .map(|(_, iops)| *iops)
        .fold(1.0, f64::max);
    const COLOURS: [RGBColor; 4] = [
        RGBColor(0, 114, 178),
        RGBColor(86, 180, 233),
        RGBColor(213, 94, 0),
        RGBColor(230, 159, 0),
    ];
    let area = SVGBackend::new(path, (880, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            format!("fio, 4 KiB, in a Linux guest: {version}"),
            ("sans-serif", 18),
        )
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d((1.0..32.0_f64).log_scale().base(2.0), 0.0..top * 1.4)?;
    chart
        .configure_mesh()
        .x_desc("queue depth")
        .y_desc("IOPS")
        .x_label_formatter(&|depth| format!("{depth:.0}"))
        .y_label_formatter(&|iops| format!("{iops:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for ((name, points), colour) in lines.into_iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()
        .with_context(|| format!("cannot write {}", path.display()))
}
