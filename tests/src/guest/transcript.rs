//! What a guest said on its serial port.

use std::fmt;

/// Lines, in order, without what ends them.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    lines: Vec<String>,
}

impl Transcript {
    pub(super) fn push(&mut self, line: String) {
        self.lines.push(line);
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Every `RESULT name value`, in order.
    pub fn results(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| {
            let rest = line.strip_prefix("RESULT ")?;
            Some(rest.split_once(' ').unwrap_or((rest, "")))
        })
    }

    /// The last value of the result `name`.
    #[must_use]
    pub fn result(&self, name: &str) -> Option<&str> {
        self.results()
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .last()
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_between_other_lines() {
        let mut transcript = Transcript::default();
        for line in [
            "[    1.0] sym0: up",
            "RESULT mount ok",
            "RESULT mount failed (2)",
            "RESULT bare",
        ] {
            transcript.push(line.to_owned());
        }
        let results: Vec<_> = transcript.results().collect();
        assert_eq!(
            results,
            [("mount", "ok"), ("mount", "failed (2)"), ("bare", "")]
        );
        assert_eq!(transcript.result("mount"), Some("failed (2)"));
        assert_eq!(transcript.result("sync"), None);
    }
}
