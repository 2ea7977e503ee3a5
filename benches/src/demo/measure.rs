//! What it costs: 4 KiB random reads at two queue depths, counted and timed.

use std::collections::BTreeMap;

use anyhow::Result;
use outrigger_proxy::vmm::guest::layout::BUFFERS;
use outrigger_proxy::vmm::{LatencyHistogram, Report as Run, Request, Workload};
use serde_json::json;

use super::DISK;
use crate::front::{Attached, Counts, Front};
use crate::image::Image;
use crate::report::{Measure, Report};

/// Queue depths that are measured.
pub(super) const DEPTHS: [u32; 2] = [1, 16];
/// Requests per run.
const REQUESTS: u64 = 3000;
/// Blocks of 512 bytes per request.
const BLOCKS: u16 = 8;

/// What was found at one front and depth, over all rounds.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// One figure per round.
    pub(super) iops: Vec<f64>,
    pub(super) latency: LatencyHistogram,
    requests: u64,
    crossings: u64,
    exits: u64,
    context_switches: u64,
}

/// By front and depth.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(Front, u32), Sample>);

/// Reads 4 KiB from random places, at each depth.
pub(super) fn random_reads(
    guest: &mut Attached,
    image: &Image,
    round: usize,
    samples: &mut Samples,
) -> Result<()> {
    for depth in DEPTHS {
        let workload = Workload::new(random(image, round, depth), depth);
        let before = guest.counts();
        let run = guest.machine.run(&workload)?;
        guest.expect_good(&run)?;
        let spent = guest.counts().since(before);
        samples
            .0
            .entry((guest.front, depth))
            .or_default()
            .add(&run, spent);
    }
    Ok(())
}

/// Requests at places that the round determines, the same for all fronts.
fn random(image: &Image, round: usize, depth: u32) -> Vec<Request> {
    let places = (image.bytes / (512 * u64::from(BLOCKS))).max(1);
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (round as u64) << 8 ^ u64::from(depth);
    (0..REQUESTS)
        .map(|index| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let lba = u32::try_from(state % places * u64::from(BLOCKS)).unwrap_or(0);
            let buffer = u32::try_from(index % 64).unwrap_or(0);
            Request::read(DISK, lba, BLOCKS, BUFFERS + buffer * 4096)
        })
        .collect()
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
    fn add(&mut self, run: &Run, spent: Counts) {
        self.iops
            .push(run.statuses.len() as f64 / run.working.as_secs_f64());
        self.latency.merge(&run.latency());
        self.requests += run.statuses.len() as u64;
        self.crossings += spent.crossings;
        self.exits += run.exits();
        self.context_switches += spent.context_switches
            + run
                .vcpus
                .iter()
                .map(|vcpu| vcpu.context_switches)
                .sum::<u64>();
    }

    /// The median of the rounds.
    pub(super) fn median_iops(&self) -> f64 {
        let mut sorted = self.iops.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
    fn per_io(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }

    pub(super) fn crossings_per_io(&self) -> f64 {
        self.per_io(self.crossings)
    }

    pub(super) fn exits_per_io(&self) -> f64 {
        self.per_io(self.exits)
    }

    pub(super) fn context_switches_per_io(&self) -> f64 {
        self.per_io(self.context_switches)
    }
}

impl Samples {
    /// By front and depth, in the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Front, u32, &Sample)> {
        self.0
            .iter()
            .map(|(&(front, depth), sample)| (front, depth, sample))
    }

    /// IOPS over those in the VMM's own process at the same depth.
    pub(super) fn over_in_process(&self, depth: u32, sample: &Sample) -> f64 {
        self.0
            .get(&(Front::InProcess, depth))
            .map_or(f64::NAN, |in_process| {
                sample.median_iops() / in_process.median_iops()
            })
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
