//! How long accesses took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies in nanoseconds, exact to two decimal digits.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyHistogram(Histogram<u64>);

impl Default for LatencyHistogram {
    #[expect(clippy::expect_used, reason = "a constant that is in range")]
    fn default() -> Self {
        const DIGITS: u8 = 2;
        // Grows as needed; an error is only for more than five digits.
        Self(Histogram::new(DIGITS).expect("two digits are possible"))
    }
}

impl LatencyHistogram {
    /// Counts one access.
    pub fn record(&mut self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Fails only for a histogram that may not grow; `saturating_record` would not make it grow.
        let _ = self.0.record(nanoseconds);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        // Fails only for a histogram that may not grow.
        let _ = self.0.add(&other.0);
    }

    /// How many accesses were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The longest, in nanoseconds; 0 if there was none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The time within which the fraction `q` (0 to 1) of the accesses was served, in nanoseconds; 0 if there was no
    /// access.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        self.0.value_at_quantile(q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_times() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for nanoseconds in 1..=1000 {
            histogram.record(Duration::from_nanos(nanoseconds));
        }
        assert_eq!(histogram.count(), 1000);
        assert!((500..=510).contains(&histogram.quantile(0.5)));
        assert!((990..=1010).contains(&histogram.quantile(0.99)));
        let copy = histogram.clone();
        histogram.merge(&copy);
        assert_eq!(histogram.count(), 2000);
        assert_eq!(histogram.quantile(0.5), copy.quantile(0.5));
    }
}
