//! Complaints about a peer, not faster than they can be read.

use std::time::{Duration, Instant};

/// At most one complaint in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Decides which complaints are logged.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    last: Option<Instant>,
    unsaid: u64,
}

impl RateLimit {
    /// Whether this complaint may be logged, and how many were not since the last one that was.
    pub(super) fn allow(&mut self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < INTERVAL)
        {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_an_interval() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        assert_eq!(limit.allow_at(start), Some(0));
        assert_eq!(limit.allow_at(start), None);
        assert_eq!(limit.allow_at(start + INTERVAL / 2), None);
        assert_eq!(limit.allow_at(start + INTERVAL), Some(2));
        assert_eq!(limit.allow_at(start + 2 * INTERVAL), Some(0));
    }
}
