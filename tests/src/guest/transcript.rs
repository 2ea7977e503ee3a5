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

    /// How many results there are that say whether something works: all but `facts`, of which those
    /// that end in a dash stand for all names that begin so.
    ///
    /// # Panics
    /// If one of them is not `ok`.
    #[must_use = "a script that ended early has fewer"]
    pub fn verdicts(&self, facts: &[&str]) -> usize {
        let is_fact = |name: &str| {
            let mut facts = facts.iter();
            facts.any(|fact| name == *fact || (fact.ends_with('-') && name.starts_with(fact)))
        };
        let verdicts = self.results().filter(|(name, _)| !is_fact(name));
        verdicts
            .inspect(|(name, value)| assert_eq!(*value, "ok", "{name}:\n{self}"))
            .count()
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
    fn verdicts_are_counted() {
        let mut transcript = Transcript::default();
        for line in ["RESULT load ok", "RESULT depth-0 64", "RESULT verify ok"] {
            transcript.push(line.to_owned());
        }
        assert_eq!(transcript.verdicts(&["depth-"]), 2);
        assert!(std::panic::catch_unwind(|| transcript.verdicts(&[])).is_err());
    }

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
