//! QEMU's option lists: `value,key=value,…` with `,,` for a comma in a value, or the same as a JSON object.
//!
//! The first item may leave out its key: it is the option's implied one (`driver` or `type`). Nested JSON objects are the
//! dotted keys of the other form: `{"cache":{"direct":true}}` is `cache.direct=on`.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use super::nearest::nearest;

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
    pub(super) fn within(self, key: &'static str) -> Self {
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
    pub(super) fn unknown<'a>(
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

/// One option's list, of which values are taken by key.
#[derive(Debug)]
pub struct Options {
    place: Place,
    entries: Vec<(String, String)>,
}

impl Options {
    /// Parses one option's value.
    pub(super) fn parse(
        option: &'static str,
        implied: &'static str,
        text: &str,
    ) -> Result<Self, OptionError> {
        let place = Place {
            option,
            text: text.to_owned(),
        };
        let entries = if text.trim_start().starts_with('{') {
            from_json(text)
        } else {
            from_list(implied, text)
        };
        let entries = entries.map_err(|problem| place.error(problem))?;
        for (at, (key, _)) in entries.iter().enumerate() {
            if entries.iter().take(at).any(|(earlier, _)| earlier == key) {
                return Err(place.error(Problem::Twice(key.clone())));
            }
        }
        Ok(Self { place, entries })
    }

    /// Where it stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Refuses keys other than these. Called first, so that a misspelt key is not reported as a missing one.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), OptionError> {
        match self
            .entries
            .iter()
            .find(|(key, _)| !known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some((key, _)) => Err(self.place.error(Problem::UnknownKey {
                key: key.clone(),
                mend: choose(key, known),
            })),
        }
    }

    /// Takes out the nested options of `key`, which are those that start with `key.`. `None` if there are none.
    pub(super) fn take_nested(&mut self, key: &'static str) -> Option<Self> {
        let nested = |name: &str| Some(name.strip_prefix(key)?.strip_prefix('.')?.to_owned());
        let (inner, outer): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|(name, _)| nested(name).is_some());
        self.entries = outer;
        let entries: Vec<_> = inner
            .into_iter()
            .filter_map(|(name, value)| Some((nested(&name)?, value)))
            .collect();
        let place = self.place.clone();
        (!entries.is_empty()).then_some(Self { place, entries })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key that is needed; `example` shows one.
    pub(super) fn required(
        &self,
        key: &'static str,
        example: &'static str,
    ) -> Result<&str, OptionError> {
        match self.get(key) {
            Some("") => Err(self.bad(key, "", format!("a name, such as {example}"))),
            Some(value) => Ok(value),
            None => Err(self.place.error(Problem::Missing { key, example })),
        }
    }

    /// One of the known values of a key.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match known.iter().find(|(name, _)| *name == value) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let known = known.iter().map(|(name, _)| *name);
                Err(self
                    .place
                    .error(Problem::unknown(key, value, known, self.place.option)))
            }
        }
    }

    /// A switch: `on` or `off`.
    pub(super) fn switch(&self, key: &'static str) -> Result<Option<bool>, OptionError> {
        self.choice(key, &[("on", true), ("off", false)])
    }

    /// A number within `range`, decimal or with `0x`.
    pub(super) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, OptionError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let parsed = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        match parsed {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.bad(
                key,
                value,
                format!("a number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// A number of bytes, with K, M, G or T for powers of 1024.
    pub(super) fn size(&self, key: &'static str) -> Result<Option<u64>, OptionError> {
        const UNITS: [(char, u32); 4] = [('k', 10), ('m', 20), ('g', 30), ('t', 40)];
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let (digits, shift) = UNITS
            .into_iter()
            .find_map(|(unit, shift)| {
                let digits = value.strip_suffix([unit, unit.to_ascii_uppercase()])?;
                Some((digits, shift))
            })
            .unwrap_or((value, 0));
        match digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
        {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.bad(
                key,
                value,
                "a number of bytes, such as 65536 or 64M".to_owned(),
            )),
        }
    }

    /// A value that `key` cannot have.
    pub(super) fn bad(&self, key: &'static str, value: &str, expected: String) -> OptionError {
        self.place.error(Problem::BadValue {
            key,
            value: value.to_owned(),
            expected,
        })
    }
}

/// Splits at single commas; a double one is a comma of the value.
fn from_list(implied: &str, text: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut items = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    let mut entries = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        match item.split_once('=') {
            Some(("", _)) => return Err(Problem::NoKey),
            Some((key, value)) => entries.push((key.to_owned(), value.to_owned())),
            None if item.is_empty() => return Err(Problem::NoKey),
            None if at == 0 => entries.push((implied.to_owned(), item)),
            None => return Err(Problem::NoValue(item)),
        }
    }
    Ok(entries)
}

fn from_json(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let value = serde_json::from_str(text).map_err(|error| Problem::Json(error.to_string()))?;
    let mut entries = Vec::new();
    flatten(String::new(), value, &mut entries)?;
    Ok(entries)
}

fn flatten(
    key: String,
    value: serde_json::Value,
    into: &mut Vec<(String, String)>,
) -> Result<(), Problem> {
    use serde_json::Value;
    let value = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let key = if key.is_empty() {
                    name
                } else {
                    format!("{key}.{name}")
                };
                flatten(key, value, into)?;
            }
            return Ok(());
        }
        Value::String(text) => text,
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.to_string(),
        // No backing image.
        Value::Null if key == "backing" || key.ends_with(".backing") => String::new(),
        Value::Null | Value::Array(_) => {
            return Err(Problem::Json(format!("'{key}' is null or a list")));
        }
    };
    into.push((key, value));
    Ok(())
}
