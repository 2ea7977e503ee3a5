//! What a user is told about a value that will not do.

use std::fmt;
use std::path::{Path, PathBuf};

/// An option of the user's, why its value will not do, and what would: one line.
#[derive(Debug)]
pub struct Refusal {
    option: &'static str,
    value: PathBuf,
    reason: String,
    mend: String,
}

impl Refusal {
    /// `option` as the user gives it, without the `=`; `mend` says what to give.
    pub fn new(
        option: &'static str,
        value: &Path,
        reason: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            option,
            value: value.to_owned(),
            reason: reason.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            option,
            value,
            reason,
            mend,
        } = self;
        write!(f, "{option}={}: {reason}: {mend}", value.display())
    }
}

impl std::error::Error for Refusal {}
