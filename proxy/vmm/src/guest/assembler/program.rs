//! A finished SCRIPTS program.

use super::Label;

/// Why a program could not be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A label was used and never bound.
    #[error("{0:?} is used but never bound")]
    Unbound(Label),
    /// A label was bound more than once, or belongs to another program.
    #[error("{0:?} is bound more than once")]
    BoundTwice(Label),
}

/// A program with all its addresses filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    base: u32,
    bytes: Vec<u8>,
    labels: Vec<Option<u32>>,
}

impl Program {
    pub(super) fn new(base: u32, words: &[u32], labels: Vec<Option<u32>>) -> Self {
        Self {
            base,
            bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            labels,
        }
    }

    /// Where it must be loaded.
    #[must_use]
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// Its bytes, little-endian words.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The address of a label.
    ///
    /// # Errors
    /// A label that was never bound.
    pub fn address(&self, label: Label) -> Result<u32, AssembleError> {
        self.labels
            .get(label.0)
            .copied()
            .flatten()
            .ok_or(AssembleError::Unbound(label))
    }
}
