//! How round trips are timed: batch means for the middle, single trips for the tail.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

/// How a batch's length is chosen: long against a clock read, short against the machine's moods.
const BATCH: Duration = Duration::from_micros(100);
const LONGEST_BATCH: u32 = 4096;

/// What a series of round trips took.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    /// Nanoseconds per trip: the median of batch means, so without clock reads.
    pub(crate) nanoseconds: f64,
    /// Single trips in nanoseconds, with one clock read in each.
    pub(crate) single: Histogram<u64>,
}

impl Timed {
    /// The time that a share of the single trips stays under, in nanoseconds.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        self.single.value_at_quantile(share)
    }
}

/// Repeats `trip` for about `budget`.
pub(crate) fn time(budget: Duration, mut trip: impl FnMut() -> Result<()>) -> Result<Timed> {
    let part = budget / 5;
    let start = Instant::now();
    let mut warm = 0_u32;
    while start.elapsed() < part && warm < u32::MAX {
        trip()?;
        warm += 1;
    }
    let each = start.elapsed() / warm.max(1);
    let batch = u32::try_from(BATCH.as_nanos() / each.as_nanos().max(1))
        .unwrap_or(LONGEST_BATCH)
        .clamp(1, LONGEST_BATCH);

    let mut means = Vec::new();
    let start = Instant::now();
    let mut last = start;
    while means.is_empty() || last - start < 2 * part {
        for _ in 0..batch {
            trip()?;
        }
        let now = Instant::now();
        means.push((now - last).as_secs_f64() * 1e9 / f64::from(batch));
        last = now;
    }

    let mut single = Histogram::new(3)?;
    let start = Instant::now();
    let mut last = start;
    while single.is_empty() || last - start < 2 * part {
        trip()?;
        let now = Instant::now();
        single.record(u64::try_from((now - last).as_nanos())?)?;
        last = now;
    }
    Ok(Timed {
        nanoseconds: median(&mut means),
        single,
    })
}

/// The median, NaN of nothing. Sorts the values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trips_are_counted_and_errors_end_it() {
        let mut trips = 0_u64;
        let timed = time(Duration::from_millis(5), || {
            trips += 1;
            Ok(())
        })
        .unwrap();
        assert!(timed.single.len() < trips);
        assert!(timed.nanoseconds >= 0.0);
        assert!(time(Duration::from_secs(60), || anyhow::bail!("no")).is_err());
    }

    #[test]
    fn medians() {
        assert!(median(&mut []).is_nan());
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    }
}
