//! fio's terse output, version 3: fields between semicolons, in a fixed order (fio's manual, "Terse output").

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::jobs::Job;
use crate::report::{Measure, Report};

/// What one run of a job gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Requests that were completed.
    pub(super) requests: f64,
    pub(super) iops: f64,
    pub(super) mb_per_s: f64,
    /// From submission to completion, in microseconds.
    pub(super) mean_us: f64,
    pub(super) p99_us: f64,
    pub(super) interrupts_per_io: f64,
    /// Of QEMU's process.
    pub(super) qemu_switches_per_io: f64,
    /// Of the emulator's process.
    pub(super) emulator_switches_per_io: f64,
}

/// Fields before those of the reads, and fields of each direction.
const HEADER: usize = 5;
const DIRECTION: usize = 41;

/// Places within a direction's fields: KiB in all, KiB/s, IOPS, run time, submission and completion latency (minimum,
/// maximum, mean, deviation each), twenty percentiles, total latency, ...
const TOTAL_KIB: usize = 0;
const KIB_PER_S: usize = 1;
const IOPS: usize = 2;
const PERCENTILES: std::ops::Range<usize> = 12..32;
const TOTAL_MEAN: usize = 34;

impl Sample {
    /// Reads `<interrupts>;<terse line>`; `switches` are QEMU's and the emulator's context switches meanwhile.
    pub(super) fn parse(job: Job, line: &str, switches: [u64; 2]) -> Result<Self> {
        let (interrupts, terse) = line.split_once(';').context("no fields")?;
        let fields: Vec<&str> = terse.split(';').collect();
        if fields.first() != Some(&"3") || fields.get(4) != Some(&"0") {
            bail!("fio has failed: {line}");
        }
        let start = HEADER + if job.writes() { DIRECTION } else { 0 };
        let fields = fields
            .get(start..start + DIRECTION)
            .with_context(|| format!("too few fields: {line}"))?;
        let number = |text: &str| -> Result<f64> {
            text.parse()
                .with_context(|| format!("{text:?} is no number in {line}"))
        };
        let p99 = fields[PERCENTILES]
            .iter()
            .find_map(|field| field.strip_prefix("99.000000%="))
            .with_context(|| format!("no 99th percentile: {line}"))?;
        let requests = number(fields[TOTAL_KIB])? * 1024.0 / f64::from(job.pattern.block_bytes());
        if requests < 1.0 {
            bail!("no request was completed: {line}");
        }
        Ok(Self {
            requests,
            iops: number(fields[IOPS])?,
            mb_per_s: number(fields[KIB_PER_S])? * 1024.0 / 1e6,
            mean_us: number(fields[TOTAL_MEAN])?,
            p99_us: number(p99)?,
            interrupts_per_io: number(interrupts)? / requests,
            qemu_switches_per_io: to_f64(switches[0]) / requests,
            emulator_switches_per_io: to_f64(switches[1]) / requests,
        })
    }

    /// Adds it to the report.
    pub(super) fn report(&self, job: Job, disk: &str, round: u32, report: &mut Report) {
        let context = BTreeMap::from([
            ("job", json!(job.pattern.name())),
            ("qd", json!(job.depth)),
            ("disk", json!(disk)),
            ("round", json!(round)),
        ]);
        for (name, value, unit) in [
            ("fio_iops", self.iops, "1/s"),
            ("fio_mb_per_s", self.mb_per_s, "MB/s"),
            ("fio_lat_us_mean", self.mean_us, "us"),
            ("fio_lat_us_p99", self.p99_us, "us"),
            ("interrupts_per_io", self.interrupts_per_io, "1"),
            (
                "qemu_context_switches_per_io",
                self.qemu_switches_per_io,
                "1",
            ),
            (
                "emulator_context_switches_per_io",
                self.emulator_switches_per_io,
                "1",
            ),
        ] {
            report.measures.push(Measure {
                name,
                value,
                unit,
                context: context.clone(),
            });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::jobs::Pattern;
    use super::*;

    fn terse(direction: usize) -> String {
        let mut fields = vec![
            "3".to_owned(),
            "fio-3.39".to_owned(),
            "job".to_owned(),
            "0".to_owned(),
            "0".to_owned(),
        ];
        for section in 0..3 {
            for field in 0..DIRECTION {
                fields.push(match field {
                    _ if section != direction => "0".to_owned(),
                    TOTAL_KIB => "4000".to_owned(),
                    KIB_PER_S => "2048".to_owned(),
                    IOPS => "512.5".to_owned(),
                    20 => "99.000000%=777".to_owned(),
                    TOTAL_MEAN => "123.5".to_owned(),
                    _ => "0".to_owned(),
                });
            }
        }
        fields.join(";")
    }

    #[test]
    fn a_read_and_a_write_are_found_in_their_places() {
        for (direction, pattern) in [(0, Pattern::RandRead), (1, Pattern::RandWrite)] {
            let job = Job { pattern, depth: 4 };
            let sample =
                Sample::parse(job, &format!("500;{}", terse(direction)), [2000, 3000]).unwrap();
            assert_eq!(
                sample,
                Sample {
                    requests: 1000.0,
                    iops: 512.5,
                    mb_per_s: 2.097_152,
                    mean_us: 123.5,
                    p99_us: 777.0,
                    interrupts_per_io: 0.5,
                    qemu_switches_per_io: 2.0,
                    emulator_switches_per_io: 3.0,
                }
            );
        }
    }

    #[test]
    fn a_failed_run_is_no_sample() {
        let job = Job {
            pattern: Pattern::Read,
            depth: 1,
        };
        for line in [
            "",
            "1;",
            "1;3;fio-3.39;job;0;5;1",
            "1;fio: failed",
            &format!("1;{}", terse(1)),
        ] {
            assert!(Sample::parse(job, line, [0, 0]).is_err(), "{line}");
        }
    }
}
