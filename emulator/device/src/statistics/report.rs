//! Samples, made readable.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{FIELDS, Sample};

/// Rows of a table, beside its header and the context switches.
const MOST_ROWS: usize = 20;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// All counters with their rates, one to a line.
    Table,
    /// The main rates, on one line.
    Line,
    /// A JSON object, on one line.
    Json,
}

/// A sample beside an earlier one.
#[derive(Debug)]
pub struct Report {
    now: Sample,
    /// Of the worker's thread so far; `None` where the host does not say.
    switches: Option<u64>,
    /// The earlier one, and how long ago that was; `None`: this one counts from the beginning of the worker's life.
    since: Option<(Sample, Option<u64>, Duration)>,
}

/// The voluntary and involuntary context switches of a thread so far.
fn context_switches(thread: u64) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let counts = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.ends_with("voluntary_ctxt_switches"))
        .map(|(_, count)| count.trim().parse::<u64>().ok());
    counts.sum()
}

impl Report {
    /// What has happened since the worker began.
    #[must_use]
    pub fn total(now: Sample) -> Self {
        let switches = context_switches(now.get("thread"));
        Self {
            now,
            switches,
            since: None,
        }
    }

    /// What has happened in the `span` since `earlier`.
    #[must_use]
    pub fn since(now: Sample, earlier: &Self, span: Duration) -> Self {
        let mut report = Self::total(now);
        report.since = Some((earlier.now.clone(), earlier.switches, span));
        report
    }

    /// Whether the worker's thread has ended since the earlier sample.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let before = self.since.as_ref().and_then(|(_, switches, _)| *switches);
        before.is_some() && self.switches.is_none()
    }

    /// Context switches of the span.
    fn context_switches(&self) -> Option<u64> {
        match &self.since {
            None => self.switches,
            Some((_, before, _)) => Some(self.switches?.wrapping_sub((*before)?)),
        }
    }

    /// The sum of a counter, or what was added to it.
    fn change(&self, of: impl Fn(&Sample) -> u64) -> u64 {
        let then = self.since.as_ref().map_or(0, |(sample, ..)| of(sample));
        of(&self.now).wrapping_sub(then)
    }

    #[expect(clippy::cast_precision_loss, reason = "rates, for people")]
    fn per_second(&self, change: u64) -> Option<f64> {
        let (.., span) = self.since.as_ref()?;
        (!span.is_zero()).then(|| change as f64 / span.as_secs_f64())
    }

    #[expect(clippy::cast_precision_loss, reason = "rates, for people")]
    fn per_request(&self, change: u64) -> Option<f64> {
        let requests = self.change(|sample| sample.get("requests"));
        (requests != 0).then(|| change as f64 / requests as f64)
    }

    /// Every counter but the thread's id, and what follows from them: name, sum and change.
    fn rows(&self) -> Vec<(&'static str, u64, u64, &'static str)> {
        let counters = FIELDS.iter().filter(|field| field.name != "thread");
        let mut rows: Vec<_> = counters
            .map(|field| {
                let change = self.change(|sample| sample.get(field.name));
                (field.name, self.now.get(field.name), change, field.meaning)
            })
            .collect();
        let meaning = "accesses of guests: each an exit";
        let change = self.change(Sample::accesses);
        rows.push(("accesses", self.now.accesses(), change, meaning));
        let meaning = "the loop's system calls, without the block engine's";
        let change = self.change(Sample::loop_system_calls);
        let calls = self.now.loop_system_calls();
        rows.push(("loop_system_calls", calls, change, meaning));
        rows
    }

    /// The text, with its last line end.
    #[must_use]
    pub fn print(&self, style: Style) -> String {
        match style {
            Style::Table => self.table(),
            Style::Line => self.line(),
            Style::Json => format!("{}\n", self.json()),
        }
    }

    /// At most 22 lines of at most 80 columns, for the smallest terminals: what is zero is left out, and so is a counter that says
    /// the same as the one that it is the other end of.
    fn table(&self) -> String {
        let mut text = format!(
            "{:<26} {:>16} {:>14} {:>12}\n",
            "counter", "total", "per second", "per request"
        );
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.2}"));
        let same = |name| match name {
            "posted_writes_applied" => self.now.get("posted_writes") == self.now.get(name),
            "crossings_answered" => self.now.get("crossings") == self.now.get(name),
            _ => false,
        };
        let rows = self.rows().into_iter();
        let rows = rows.filter(|(name, total, ..)| *total != 0 && !same(name));
        for (name, total, change, _) in rows.take(MOST_ROWS) {
            let (second, request) = (self.per_second(change), self.per_request(change));
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{name:<26} {total:>16} {:>14} {:>12}",
                show(second),
                show(request)
            );
        }
        if let Some(switches) = self.context_switches() {
            let (second, request) = (self.per_second(switches), self.per_request(switches));
            let _ = writeln!(
                text,
                "{:<26} {:>16} {:>14} {:>12}",
                "context_switches",
                self.switches.map_or_else(String::new, |it| it.to_string()),
                show(second),
                show(request)
            );
        }
        text
    }

    fn line(&self) -> String {
        let get = |name| self.change(|sample| sample.get(name));
        let mut text = String::new();
        if let (Some(requests), Some(bytes)) = (
            self.per_second(get("requests")),
            self.per_second(get("bytes")),
        ) {
            let _ = write!(text, "{requests:.0} requests/s, {:.1} MB/s", bytes / 1e6);
        } else {
            let _ = write!(text, "{} requests, {} bytes", get("requests"), get("bytes"));
        }
        let mut parts = vec![
            ("accesses", self.change(Sample::accesses)),
            ("crossings", get("crossings")),
            ("interrupts", get("interrupts")),
            ("sleeps", get("sleeps")),
            ("loop system calls", self.change(Sample::loop_system_calls)),
        ];
        parts.extend(self.context_switches().map(|it| ("context switches", it)));
        parts.push(("ns spun", get("spin_nanoseconds")));
        let rates: Vec<_> = parts
            .into_iter()
            .filter_map(|(name, change)| Some(format!("{:.2} {name}", self.per_request(change)?)))
            .collect();
        if !rates.is_empty() {
            let _ = write!(text, "; per request {}", rates.join(", "));
        }
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        let (mut counters, mut seconds, mut requests) = (Map::new(), Map::new(), Map::new());
        let mut put = |name: &str, change| {
            let round = |rate: f64| json!((rate * 1e4).round() / 1e4);
            seconds.extend(
                self.per_second(change)
                    .map(|it| (name.to_owned(), round(it))),
            );
            requests.extend(
                self.per_request(change)
                    .map(|it| (name.to_owned(), round(it))),
            );
        };
        for (name, total, change, _) in self.rows() {
            counters.insert(name.to_owned(), json!(total));
            put(name, change);
        }
        if let Some(switches) = self.context_switches() {
            put("context_switches", switches);
        }
        json!({
            "thread": self.now.get("thread"),
            "seconds": self.since.as_ref().map(|(.., span)| span.as_secs_f64()),
            "counters": counters,
            "per_second": seconds,
            "per_request": requests,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, bytes: u64, sleeps: u64) -> Sample {
        let mut page = outrigger_ring::PageCounters::default();
        page[0][2] = sleeps;
        page[2] = [requests, 0, 2 * requests, 0, 0, 0, 0];
        page[3][..3].copy_from_slice(&[requests, bytes, requests]);
        Sample::new(&page)
    }

    #[test]
    fn rates_are_of_the_span() {
        let first = Report::total(sample(10, 5120, 7));
        let second = Report::since(sample(30, 25_600, 7), &first, Duration::from_secs(2));
        let value: Value = serde_json::from_str(&second.print(Style::Json)).unwrap();
        assert_eq!(value["counters"]["requests"], 30);
        assert_eq!(value["per_second"]["requests"], 10.0);
        assert_eq!(value["per_second"]["bytes"], 10_240.0);
        assert_eq!(value["per_request"]["accesses"], 3.0);
        assert_eq!(value["per_request"]["loop_system_calls"], 2.0);
        assert_eq!(value["per_request"]["sleeps"], 0.0);
        let line = second.print(Style::Line);
        assert!(
            line.starts_with("10 requests/s, 0.0 MB/s; per request 3.00 accesses"),
            "{line}"
        );
        // Requests, bytes, crossings' parts, interrupts, sleeps and what follows from them.
        let table = second.print(Style::Table);
        assert!(table.starts_with("counter "), "{table}");
        assert!(
            !table.contains("clients") && table.contains("mirrored_reads"),
            "{table}"
        );
    }

    /// Whatever an emulator writes on its page, a report is text.
    #[test]
    fn nonsense_is_printed() {
        let nonsense = Sample::new(&[[u64::MAX; 7]; 8]);
        let first = Report::total(nonsense.clone());
        let zero = Report::since(nonsense, &first, Duration::ZERO);
        let back = Report::since(sample(1, 1, 1), &first, Duration::from_secs(1));
        for report in [first, zero, back] {
            for style in [Style::Table, Style::Line, Style::Json] {
                assert!(report.print(style).ends_with('\n'));
            }
            let table = report.print(Style::Table);
            assert!(table.lines().count() <= 22, "{table}");
            assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        }
    }
}
