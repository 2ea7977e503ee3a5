//! Step 9, block: a decorator that fails chosen requests, for tests.

use std::io;
use std::ops::Range;

use super::{Backend, BlockError, Completion, Op, Request};

/// Which requests fail, and how.
#[derive(Clone, Debug)]
pub struct FailRule {
    /// Only these operations.
    pub ops: fn(Op) -> bool,
    /// Only requests that touch this byte range of the disk; a flush touches every range.
    pub range: Range<u64>,
    /// This many such requests succeed first.
    pub after: u64,
    /// Then this many fail, and the rest succeed.
    pub times: u64,
    /// How they fail.
    pub failure: Failure,
}

/// How a request is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// [`BlockError::NoSpace`].
    NoSpace,
    /// [`BlockError::ReadOnly`].
    ReadOnly,
    /// [`BlockError::OutOfRange`].
    OutOfRange,
    /// [`BlockError::Io`] with this `errno`, at the first byte of the rule's range that the request touches.
    Io(i32),
}

/// A backend some of whose requests fail. Such a request moves no bytes.
#[derive(Debug)]
pub struct Fail {
    inner: Backend,
    rule: FailRule,
}

impl Fail {
    pub(super) fn new(inner: Backend, rule: FailRule) -> Self {
        Self { inner, rule }
    }

    pub(super) fn inner(&self) -> &Backend {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut Backend {
        &mut self.inner
    }

    pub(super) fn submit(&mut self, request: Request) -> Option<Completion> {
        if !self.rule.concerns(&request) {
            return self.inner.submit(request);
        }
        if self.rule.after > 0 {
            self.rule.after -= 1;
            return self.inner.submit(request);
        }
        if self.rule.times == 0 {
            return self.inner.submit(request);
        }
        self.rule.times -= 1;
        let error = match self.rule.failure {
            Failure::NoSpace => BlockError::NoSpace,
            Failure::ReadOnly => BlockError::ReadOnly,
            Failure::OutOfRange => BlockError::OutOfRange,
            Failure::Io(code) => BlockError::Io {
                offset: (request.op != Op::Flush)
                    .then(|| request.offset.max(self.rule.range.start)),
                source: io::Error::from_raw_os_error(code),
            },
        };
        Some(request.complete(Err(error)))
    }
}

impl FailRule {
    fn concerns(&self, request: &Request) -> bool {
        let touched = request.range();
        let touches = touched.start < self.range.end && self.range.start < touched.end;
        (self.ops)(request.op) && (touches || request.op == Op::Flush)
    }
}
