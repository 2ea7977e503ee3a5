//! What it costs: 4 KiB random reads at two queue depths, counted and timed.

use std::collections::BTreeMap;

use anyhow::Result;
use outrigger_vmm::Workload;
use serde_json::json;

use super::DISK;
use crate::front::{Attached, Front};
use crate::image::Image;
use crate::reads::{self, Sample};
use crate::report::{Measure, Report};

/// Queue depths that are measured.
pub(super) const DEPTHS: [u32; 2] = [1, 16];
/// Requests per run.
const REQUESTS: u32 = 3000;

/// By front and depth.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(Front, u32), Sample>);

/// Reads 4 KiB from random places, at each depth: the same places for all fronts.
pub(super) fn random_reads(
    guest: &mut Attached,
    image: &Image,
    round: usize,
    samples: &mut Samples,
) -> Result<()> {
    for depth in DEPTHS {
        let seed = (round as u64) << 8 ^ u64::from(depth);
        let requests = reads::random(DISK, image.bytes, REQUESTS, seed);
        let run = guest.run(&Workload::new(requests, depth))?;
        let sample = samples.0.entry((guest.front, depth)).or_default();
        sample.add(guest.front, &[vec![run]]);
    }
    Ok(())
}

impl Samples {
    /// By front and depth, in the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Front, u32, &Sample)> {
        self.0
            .iter()
            .map(|(&(front, depth), sample)| (front, depth, sample))
    }

    /// IOPS of each round, by front and depth.
    pub(super) fn rounds(&self) -> impl Iterator<Item = &[f64]> {
        self.0.values().map(|sample| sample.iops.as_slice())
    }

    /// IOPS over those in the VMM's own process at the same depth.
    pub(super) fn over_in_process(&self, depth: u32, sample: &Sample) -> f64 {
        let in_process = self.0.get(&(Front::InProcess, depth));
        in_process.map_or(f64::NAN, |in_process| sample.over(in_process))
    }

    /// Puts the figures into the report.
    pub(super) fn report(&self, attached: &[Attached], report: &mut Report) {
        let vcpu = attached
            .first()
            .map_or_else(String::new, |guest| guest.vcpu.to_string());
        for (front, depth, sample) in self.iter() {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one access")]
            let latency = |quantile| sample.latency.quantile(quantile) as f64;
            for (name, value, unit) in [
                ("iops", sample.median_iops(), "1/s"),
                (
                    "iops_over_in_process",
                    self.over_in_process(depth, sample),
                    "ratio",
                ),
                ("access_ns_p50", latency(0.5), "ns"),
                ("access_ns_p99", latency(0.99), "ns"),
                ("access_ns_p999", latency(0.999), "ns"),
                ("crossings_per_io", sample.crossings_per_io(), "1"),
                ("exits_per_io", sample.exits_per_io(), "1"),
                (
                    "context_switches_per_io",
                    sample.context_switches_per_io(),
                    "1",
                ),
            ] {
                let context = BTreeMap::from([
                    ("front", json!(front.to_string())),
                    ("qd", json!(depth)),
                    ("vcpu", json!(vcpu)),
                ]);
                report.measures.push(Measure {
                    name,
                    value,
                    unit,
                    context,
                });
            }
        }
    }
}
