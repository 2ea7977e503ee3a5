//! What can be wrong with an option: where, what, and what would mend it.

use std::fmt::{self, Display};

use crate::config::nearest::nearest;

/// Where on the command line something was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The option, such as `--blockdev`.
    pub option: &'static str,
    /// Its value as it was given.
    pub text: String,
}

impl Place {
    /// The problem, said of this place.
    #[must_use]
    pub fn error(&self, problem: Problem) -> OptionError {
        OptionError {
            place: self.clone(),
            problem: Box::new(problem),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.option)?;
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// An option that cannot be followed: its place, what is wrong, and what would mend it; in one line, whatever was
/// typed.
#[derive(Debug, thiserror::Error)]
#[error("{}", format!("{place}: {problem}").replace(char::is_control, "?"))]
pub struct OptionError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Box<Problem>,
}

impl OptionError {
    /// The same, of the nested options of `key`.
    pub(in crate::config) fn within(self, key: &'static str) -> Self {
        Self {
            place: self.place,
            problem: Box::new(Problem::Within(key, self.problem)),
        }
    }
}

/// What can be wrong with an option.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An item without `=` that is not the first.
    #[error("'{0}' has no value; write '{0}=VALUE', and ',,' for a comma within a value")]
    NoValue(String),
    /// A list that is empty, or an item without a key.
    #[error("an item has no key; write KEY=VALUE,KEY=VALUE")]
    NoKey,
    /// Not JSON, or not an object of strings, numbers, switches and objects.
    #[error("bad JSON: {0}; give one object of strings, numbers, true and false")]
    Json(String),
    /// A key that this driver does not have.
    #[error("no key '{key}'; {mend}")]
    UnknownKey {
        /// As given.
        key: String,
        /// The nearest known key, or all of them.
        mend: String,
    },
    /// The same key twice.
    #[error("'{0}' is given twice; leave one out")]
    Twice(String),
    /// A key that is needed.
    #[error("no '{key}'; add {key}={example}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What a value looks like.
        example: &'static str,
    },
    /// A value that is not one of the known ones.
    #[error("no {key} '{value}'; {mend}")]
    Unknown {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// The nearest known value, or all of them, or where to define one.
        mend: String,
    },
    /// A value that its key cannot have.
    #[error("{key} cannot be '{value}'; give {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// A name or a place that something else has.
    #[error("{key} '{value}' is taken; choose another")]
    Taken {
        /// The key.
        key: &'static str,
        /// As given.
        value: String,
    },
    /// Two keys of which only one can be given.
    #[error("'{0}' and '{1}' exclude each other; leave one out")]
    Exclusive(&'static str, &'static str),
    /// Something is wrong with the nested options of a key.
    #[error("in '{0}': {1}")]
    Within(&'static str, Box<Problem>),
    /// Something that the outside world refuses: a file, a socket.
    #[error("{what}; {mend}")]
    Refused {
        /// What was refused, and why.
        what: String,
        /// What the user can do.
        mend: String,
    },
}

impl Problem {
    /// `value` of `key` is none of the `known` ones, which `defined_by` lists.
    pub(in crate::config) fn unknown<'a>(
        key: &'static str,
        value: &str,
        known: impl Iterator<Item = &'a str>,
        defined_by: &str,
    ) -> Self {
        let known: Vec<_> = known.collect();
        let mend = if known.is_empty() {
            format!("define it with {defined_by}")
        } else {
            choose(value, &known)
        };
        Self::Unknown {
            key,
            value: value.to_owned(),
            mend,
        }
    }

    /// The outside world refuses something.
    pub fn refused(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// The mend for a name that is none of the known ones.
pub(super) fn choose(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => format!("known: {}", known.join(", ")),
    }
}
