//! QEMU's option lists: `value,key=value,…` with `,,` for a comma in a value, or the same as a JSON object.
//!
//! The first item may leave out its key: it is the option's implied one (`driver` or `type`). Nested JSON objects are the
//! dotted keys of the other form: `{"cache":{"direct":true}}` is `cache.direct=on`.

mod notation;
mod problem;

use std::ops::RangeInclusive;

use problem::choose;
pub use problem::{OptionError, Place, Problem};

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
            notation::from_json(text)
        } else {
            notation::from_list(implied, text)
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
