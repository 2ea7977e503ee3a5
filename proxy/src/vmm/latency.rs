//! Latencies in logarithmic buckets.

use std::time::Duration;

/// Each power of two is split into this many equal buckets: a quantile is at most 1/16 too high.
const SPLIT: u32 = 16;
const SPLIT_BITS: u32 = SPLIT.trailing_zeros();
const BUCKETS: usize = 64 * SPLIT as usize;

/// How long accesses took, in nanoseconds. Fixed memory, exact to 1/16.
#[derive(Clone, PartialEq, Eq)]
pub struct LatencyHistogram {
    counts: Vec<u32>,
    total: u64,
    max: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }
}

impl std::fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LatencyHistogram")
            .field("count", &self.total)
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish()
    }
}

/// Values below [`SPLIT`] have a bucket each; from there on, each power of two has [`SPLIT`].
fn bucket_of(value: u64) -> usize {
    let exponent = value.max(1).ilog2().saturating_sub(SPLIT_BITS);
    let within = value >> exponent;
    usize::try_from(u64::from(exponent * SPLIT) + within).unwrap_or(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let split = u64::from(SPLIT);
    if bucket < 2 * split {
        return bucket;
    }
    let exponent = bucket / split - 1;
    let within = bucket % split + split;
    (within + 1)
        .checked_shl(u32::try_from(exponent).unwrap_or(64))
        .map_or(u64::MAX, |end| end.wrapping_sub(1))
}

impl LatencyHistogram {
    /// Counts one access.
    pub fn record(&mut self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(nanoseconds)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many accesses were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The longest, in nanoseconds; 0 if there was none.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The time within which the fraction `q` (0 to 1) of the accesses was served, in nanoseconds, rounded up to
    /// its bucket's end; 0 if there was no access.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among fewer than 2^52 accesses; the float is not negative"
    )]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.total as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return bucket_end(bucket).min(self.max);
            }
        }
        self.max
    }

    /// The filled buckets: the greatest time in each, in nanoseconds, and how many accesses are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u32)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count != 0)
            .map(|(bucket, &count)| (bucket_end(bucket), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_known_times() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for nanoseconds in 1..=1000 {
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max(), 1000);
        assert!(
            (500..=531).contains(&histogram.quantile(0.5)),
            "{}",
            histogram.quantile(0.5)
        );
        assert!((990..=1000).contains(&histogram.quantile(0.99)));
        assert_eq!(histogram.quantile(1.0), 1000);
        let twice = {
            let mut copy = histogram.clone();
            copy.merge(&histogram);
            copy
        };
        assert_eq!(twice.count(), 2000);
        assert_eq!(twice.quantile(0.5), histogram.quantile(0.5));
        assert_eq!(
            histogram.buckets().map(|(_, count)| count).sum::<u32>(),
            1000
        );
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value: u64) {
            let bucket = bucket_of(value);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(value <= bucket_end(bucket));
            prop_assert!(bucket == 0 || value > bucket_end(bucket - 1));
            prop_assert!(bucket_end(bucket) - value <= value / 16);
        }
    }
}
