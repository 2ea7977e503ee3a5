//! Step 8, SCSI: block requests that have failed and are not given up: they are made again until they succeed.
//!
//! The command that a held request belongs to has no status yet, so its initiator sees a slow disk, and neither an error nor
//! an acknowledgement. It can be aborted like any other.

use std::time::{Duration, Instant};

use outrigger_block::{BlockError, Completion, Request};

/// How long a held request waits before it is made again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The held requests of one medium, at most one for each task.
#[derive(Debug)]
pub(super) struct Held {
    /// The medium, in the log.
    name: String,
    /// Each with why it failed last, in the order of their failures.
    requests: Vec<(Request, BlockError)>,
    /// When they are made again.
    due: Option<Instant>,
    /// It was logged that requests are held, and not yet that they are no longer.
    said: bool,
    /// When it was logged.
    said_at: Option<Instant>,
}

impl Held {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            requests: Vec::new(),
            due: None,
            said: false,
            said_at: None,
        }
    }

    /// The medium's name in the log.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Keeps a request.
    pub(super) fn keep(&mut self, request: Request, error: BlockError) {
        let now = Instant::now();
        let lately = |at| now.saturating_duration_since(at) < INTERVAL;
        // Guests can have requests fail as fast as they like: not more often than they are made again.
        if !self.said && !self.said_at.is_some_and(lately) {
            tracing::warn!(
                disk = self.name,
                %error,
                "requests are held back, and made again each second until they succeed"
            );
            self.said = true;
            self.said_at = Some(now);
        }
        self.requests.push((request, error));
        self.due.get_or_insert(now + INTERVAL);
    }

    /// A request that had been held has succeeded.
    pub(super) fn succeeded(&mut self) {
        if self.requests.is_empty() && std::mem::take(&mut self.said) {
            tracing::warn!(disk = self.name, "requests succeed again");
        }
    }

    /// They are made again at the next opportunity.
    pub(super) fn hurry(&mut self) {
        if self.due.is_some() {
            self.due = Some(Instant::now());
        }
    }

    /// Whether they are to be made again now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What is held, to be made again.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Request> + use<> {
        self.due = None;
        std::mem::take(&mut self.requests)
            .into_iter()
            .map(|(request, _)| request)
    }

    /// Ends all of them with their errors.
    pub(super) fn give_up(&mut self, into: &mut Vec<Completion>) {
        self.due = None;
        into.extend(self.requests.drain(..).map(|(request, error)| Completion {
            cookie: request.cookie,
            data: request.data,
            result: Err(error),
        }));
    }

    /// Drops the request of a task that has ended.
    pub(super) fn forget(&mut self, cookie: u64) {
        self.requests
            .retain(|(request, _)| request.cookie != cookie);
        if self.requests.is_empty() {
            self.due = None;
            self.said = false;
        }
    }
}
