//! What people see: the table, the plot, the report.

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::Table;
use serde_json::json;

use super::counts::Counts;
use super::fio::Sample;
use super::jobs::{COUNTED, Job, Pattern};
use super::{Options, Side};
use crate::narrator::Narrator;
use crate::plot;
use crate::report::{Measure, Report};
use crate::table::{fitted, table};

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

/// What a random read over stock vfio-user should reach of QEMU's own controller, by queue depth.
const AIMS: [(u32, f64); 2] = [(1, 0.5), (32, 1.0)];

/// Prints tables and verdicts, writes report and plot. Whether all checks held.
pub(super) fn finish(
    narrator: &Narrator,
    options: &Options,
    version: &str,
    samples: &Samples,
    counts: &[Counts],
    report: &mut Report,
) -> Result<bool> {
    for job in samples.jobs() {
        if let Some(value) = samples.ratio(job) {
            report.measures.push(Measure {
                name: "fio_iops_ratio",
                value,
                unit: "1",
                context: BTreeMap::from([
                    ("job", json!(job.pattern.name())),
                    ("qd", json!(job.depth)),
                ]),
            });
        }
    }
    if options.json {
        say!("{}", serde_json::to_string_pretty(report)?);
    }
    narrator.say(&format!("\n{}", fitted(&speeds(samples))));
    narrator.say(&format!(
        "medians of {} rounds of {} s; ÷ in-process: IOPS against QEMU's own lsi53c895a,\nthe median of each round's ratio\n",
        options.rounds, options.seconds
    ));
    narrator.say(&fitted(&costs(samples, counts)));
    narrator.say(
        "per 4 KiB random read; all threads of a process; under TCG the guest's own work\nis QEMU's\n",
    );
    for (depth, aim) in AIMS {
        narrator.say(&verdict(samples, depth, aim));
    }
    for check in report.checks.iter().filter(|check| !check.ok) {
        narrator.say(&format!("FAILED {}", check.name));
    }
    let json = options.reports.join("guest.json");
    let svg = options.reports.join("guest.svg");
    report.write(&json)?;
    plot::iops_by_depth(
        &svg,
        &format!("fio in a Linux guest, 4 KiB requests, {}", short(version)),
        &lines(samples),
    )?;
    narrator.say(&format!("wrote {} and {}", json.display(), svg.display()));
    Ok(report.passed())
}

/// "QEMU 11.1.3" of "QEMU emulator version 11.1.3 (Debian …)".
fn short(version: &str) -> String {
    match version.split_once("version ") {
        Some((_, number)) => format!("QEMU {}", number.split(' ').next().unwrap_or(number)),
        None => version.to_owned(),
    }
}

/// Whether an aim is met, and by how much it is not.
fn verdict(samples: &Samples, depth: u32, aim: f64) -> String {
    let pattern = Pattern::RandRead;
    let found = samples.ratio(Job { pattern, depth });
    let outcome = match found {
        Some(ratio) if ratio >= aim => format!("{ratio:.2}: met"),
        Some(ratio) => format!("{ratio:.2}: missed by {:.2}", aim - ratio),
        None => "not measured".to_owned(),
    };
    format!("aim: random read, QD {depth}, ÷ in-process ≥ {aim:.1}: {outcome}")
}

fn speeds(samples: &Samples) -> Table {
    let mut table = table(
        &[
            "job",
            "QD",
            "controller",
            "IOPS",
            "MB/s",
            "mean\nµs",
            "p99\nµs",
            "÷ in-\nprocess",
            "interrupts\n/IO",
        ],
        3,
    );
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
                figure(1, |sample| sample.mb_per_s),
                figure(0, |sample| sample.mean_us),
                figure(0, |sample| sample.p99_us),
                ratio.unwrap_or_default(),
                figure(2, |sample| sample.interrupts_per_io),
            ]);
        }
    }
    table
}

/// What one random read costs each process.
fn costs(samples: &Samples, counts: &[Counts]) -> Table {
    let mut table = table(
        &[
            "QD",
            "controller",
            "system calls:\nQEMU",
            "\nemulator",
            "context switches:\nQEMU",
            "\nemulator",
        ],
        2,
    );
    for job in COUNTED {
        for side in Side::ALL {
            let calls = counts
                .iter()
                .find(|counts| (counts.job, counts.side) == (job, side));
            let show = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            let switches = |figure: fn(&Sample) -> f64| samples.median(job, side, figure);
            table.add_row([
                job.depth.to_string(),
                side.name().to_owned(),
                show(calls.map(|counts| counts.qemu_calls_per_io)),
                show(calls.and_then(|counts| counts.emulator_calls_per_io)),
                show(switches(|sample| sample.qemu_switches_per_io)),
                show(
                    switches(|sample| sample.emulator_switches_per_io)
                        .filter(|_| side == Side::Outrigger),
                ),
            ]);
        }
    }
    table
}

/// IOPS of the random jobs over the queue depth, a line per pattern and side.
fn lines(samples: &Samples) -> Vec<(String, Vec<(f64, f64)>)> {
    [Pattern::RandRead, Pattern::RandWrite]
        .into_iter()
        .flat_map(|pattern| Side::ALL.map(|side| (pattern, side)))
        .map(|(pattern, side)| {
            let points: Vec<(f64, f64)> = samples
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
        .filter(|(_, points)| !points.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_was_found() {
        let sample = |iops| Sample {
            requests: 1.0,
            iops,
            mb_per_s: 1.0,
            mean_us: 1.0,
            p99_us: 1.0,
            interrupts_per_io: 1.0,
            qemu_switches_per_io: 1.0,
            emulator_switches_per_io: 1.0,
        };
        let job = Job {
            pattern: Pattern::RandRead,
            depth: 1,
        };
        let mut samples = Samples::default();
        assert!(verdict(&samples, 1, 0.5).ends_with("not measured"));
        samples.add(job, Side::Outrigger, sample(400.0));
        samples.add(job, Side::Qemu, sample(1000.0));
        assert!(verdict(&samples, 1, 0.5).ends_with("0.40: missed by 0.10"));
        assert!(verdict(&samples, 1, 0.4).ends_with("0.40: met"));
    }
}
