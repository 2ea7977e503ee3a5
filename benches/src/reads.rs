//! 4 KiB reads at random places: what a guest asks, and what each request cost.

use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{LatencyHistogram, Report as Run, Request};

use crate::bench::median;
use crate::front::{Cost, Front};

/// Blocks of 512 bytes per request.
const BLOCKS: u16 = 8;
/// Bytes per request.
pub(crate) const BYTES: u32 = BLOCKS as u32 * 512;
/// Buffers that the requests take in turn.
const BUFFER_COUNT: u32 = 64;

/// So many requests at places on a disk of `bytes` that `seed` alone determines.
pub(crate) fn random(disk: u8, bytes: u64, count: u32, seed: u64) -> Vec<Request> {
    let places = (bytes / u64::from(BYTES)).max(1);
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    (0..count)
        .map(|index| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let lba = u32::try_from(state % places * u64::from(BLOCKS)).unwrap_or(0);
            Request::read(disk, lba, BLOCKS, BUFFERS + index % BUFFER_COUNT * BYTES)
        })
        .collect()
}

/// What the runs of one kind have cost, over all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// One figure per round.
    pub(crate) iops: Vec<f64>,
    /// Each access's time in the VMM.
    pub(crate) latency: LatencyHistogram,
    requests: u64,
    crossings: u64,
    exits: u64,
    context_switches: u64,
    device_nanoseconds: u64,
    spin_nanoseconds: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of short runs")]
impl Sample {
    /// Adds a round: the runs of each guest. Guests that ran at once add up.
    pub(crate) fn add(&mut self, front: Front, guests: &[Vec<(Run, Cost)>]) {
        let mut iops = 0.0;
        for runs in guests {
            let mut seconds = 0.0;
            let mut done = 0;
            for (run, cost) in runs {
                seconds += run.working.as_secs_f64();
                done += run.statuses.len() as u64;
                self.count(front, run, *cost);
            }
            iops += done as f64 / seconds;
        }
        self.iops.push(iops);
    }

    fn count(&mut self, front: Front, run: &Run, cost: Cost) {
        self.requests += run.statuses.len() as u64;
        self.latency.merge(&run.latency());
        // In the VMM's own process there is nothing to cross.
        if front != Front::InProcess {
            self.crossings += run.costs().crossings;
        }
        self.exits += run.exits();
        let vcpus = run.vcpus.iter().map(|vcpu| vcpu.context_switches);
        self.context_switches += cost.spent.context_switches + vcpus.sum::<u64>();
        self.device_nanoseconds += cost.spent.nanoseconds;
        self.spin_nanoseconds += cost.spin_nanoseconds;
    }

    /// The median of the rounds; NaN before the first.
    pub(crate) fn median_iops(&self) -> f64 {
        median(&mut self.iops.clone())
    }

    /// IOPS over those of `other`: the median of the rounds' ratios.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let ratios = self.iops.iter().zip(&other.iops).map(|(a, b)| a / b);
        median(&mut ratios.collect::<Vec<_>>())
    }

    fn per_io(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }

    pub(crate) fn crossings_per_io(&self) -> f64 {
        self.per_io(self.crossings)
    }

    pub(crate) fn exits_per_io(&self) -> f64 {
        self.per_io(self.exits)
    }

    /// Of vCPUs and device together.
    pub(crate) fn context_switches_per_io(&self) -> f64 {
        self.per_io(self.context_switches)
    }

    /// What the device's process, or the thread beside the vCPUs, was on a CPU for, spinning included.
    pub(crate) fn device_microseconds_per_io(&self) -> f64 {
        self.per_io(self.device_nanoseconds) / 1e3
    }

    /// The part of it that the device's process polled its rings for, with nothing to do.
    pub(crate) fn spin_microseconds_per_io(&self) -> f64 {
        self.per_io(self.spin_nanoseconds) / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_asks_for_the_same_places() {
        let requests = random(3, 1 << 20, 500, 7);
        assert_eq!(requests, random(3, 1 << 20, 500, 7));
        assert_ne!(requests, random(3, 1 << 20, 500, 8));
        for request in requests {
            let lba = u32::from_be_bytes(request.cdb[2..6].try_into().unwrap());
            assert!(lba < 2048 && lba % 8 == 0);
            assert_eq!((request.target, request.length), (3, 4096));
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let of = |iops: &[f64]| Sample {
            iops: iops.to_vec(),
            ..Sample::default()
        };
        // The second round met a machine at a tenth of its speed.
        let ratio = of(&[100.0, 10.0, 120.0]).over(&of(&[50.0, 5.0, 60.0]));
        assert!((ratio - 2.0).abs() < 1e-9);
    }
}
