//! How requests fail, for programs and in words.

use std::collections::BTreeMap;
use std::fmt;

/// What sense data say (SPC-3 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sense {
    /// The sense key.
    pub key: u8,
    /// The additional sense code.
    pub code: u8,
    /// Its qualifier.
    pub qualifier: u8,
}

impl Sense {
    /// Sense data with this key, additional sense code and qualifier.
    #[must_use]
    pub const fn new(key: u8, code: u8, qualifier: u8) -> Self {
        Self {
            key,
            code,
            qualifier,
        }
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SPC-3 table 27.
        let key = match self.key {
            0x0 => "NO SENSE",
            0x1 => "RECOVERED ERROR",
            0x2 => "NOT READY",
            0x3 => "MEDIUM ERROR",
            0x4 => "HARDWARE ERROR",
            0x5 => "ILLEGAL REQUEST",
            0x6 => "UNIT ATTENTION",
            0x7 => "DATA PROTECT",
            0x8 => "BLANK CHECK",
            0xa => "COPY ABORTED",
            0xb => "ABORTED COMMAND",
            0xd => "VOLUME OVERFLOW",
            0xe => "MISCOMPARE",
            key => {
                return write!(
                    f,
                    "SENSE KEY {key:X} {:02X}/{:02X}",
                    self.code, self.qualifier
                );
            }
        };
        write!(f, "{key} {:02X}/{:02X}", self.code, self.qualifier)
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum RequestError {
    /// CHECK CONDITION, and what REQUEST SENSE said about it.
    #[error("{0}")]
    Check(Sense),
    /// Any other status that is not GOOD (SAM-2 section 5.3); CHECK CONDITION too, if there are no sense data.
    #[error("{}", status(*.0))]
    Status(u8),
    /// Nothing answered the selection.
    #[error("no target")]
    NoTarget,
}

fn status(status: u8) -> String {
    let name = match status {
        0x02 => "CHECK CONDITION without sense data",
        0x08 => "BUSY",
        0x18 => "RESERVATION CONFLICT",
        0x28 => "TASK SET FULL",
        0x40 => "TASK ABORTED",
        _ => return format!("status {status:#04x}"),
    };
    name.to_owned()
}

/// A request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedRequest {
    /// Its place in the workload.
    pub index: u32,
    /// Why.
    pub error: RequestError,
    /// What the sense data's INFORMATION field says: for a medium error the first block concerned.
    pub information: Option<u32>,
}

impl FailedRequest {
    /// A request that failed, without information.
    #[must_use]
    pub const fn new(index: u32, error: RequestError) -> Self {
        Self {
            index,
            error,
            information: None,
        }
    }

    /// A request that ended with this status, and the first bytes of its sense data, in fixed format (section 4.5.3).
    pub(crate) const fn checked(index: u32, status: u8, data: &[u8; 16]) -> Self {
        let &[
            response_code,
            _,
            key,
            information @ ..,
            _,
            _,
            _,
            _,
            _,
            code,
            qualifier,
            _,
            _,
        ] = data;
        // Current or deferred errors; VALID says whether there is information.
        if !matches!(response_code & 0x7f, 0x70 | 0x71) {
            return Self::new(index, RequestError::Status(status));
        }
        let sense = Sense::new(key & 0x0f, code, qualifier);
        let mut failed = Self::new(index, RequestError::Check(sense));
        if response_code & 0x80 != 0 {
            failed.information = Some(u32::from_be_bytes(information));
        }
        failed
    }
}

/// Requests that failed, in one line: how many of how many, and why.
pub(super) fn in_a_line(failed: &[FailedRequest], of: usize) -> String {
    let mut counts = BTreeMap::<RequestError, u32>::new();
    for request in failed {
        *counts.entry(request.error).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let mut line = format!("{} of {of} requests failed", failed.len());
    for (place, (error, count)) in counts.into_iter().enumerate() {
        let comma = if place == 0 { ":" } else { "," };
        line += &format!("{comma} {count} with {error}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_is_named_first() {
        let errors = [
            RequestError::Status(0x08),
            RequestError::Check(Sense::new(3, 0x11, 0)),
            RequestError::NoTarget,
            RequestError::Check(Sense::new(3, 0x11, 0)),
            RequestError::Status(0x33),
        ];
        let failed: Vec<_> = (0..)
            .zip(errors)
            .map(|(index, error)| FailedRequest::new(index, error))
            .collect();
        assert_eq!(
            in_a_line(&failed, 90),
            "5 of 90 requests failed: 2 with MEDIUM ERROR 11/00, 1 with BUSY, 1 with status 0x33, 1 with no target"
        );
        assert_eq!(Sense::new(9, 0x80, 0xff).to_string(), "SENSE KEY 9 80/FF");
    }
}
