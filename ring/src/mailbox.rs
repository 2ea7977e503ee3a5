//! Step 4, ring: the line that a synchronous access takes there and back.
//!
//! Request `n` (from 1 on) has the stamp `2n - 1`, its reply `2n`. Zeroed memory is the reply to
//! request 0. The two ends write the line in turn, so neither overwrites what the other still
//! reads.

use crate::error::Violation;
use crate::memory::Body;
use crate::memory::{Line, OwnLines};
use crate::message::Message;

/// The asking end.
#[derive(Debug)]
pub(crate) struct MailboxClient {
    line: OwnLines,
    /// Stamp of the last reply.
    stamp: u64,
}

impl MailboxClient {
    pub(crate) fn new(line: OwnLines) -> Self {
        Self { line, stamp: 0 }
    }

    /// Sends a request. The last one was answered.
    #[inline]
    pub(crate) fn send(&mut self, message: Message) {
        let line = self.line.at(0);
        line.fill(message.encode());
        // SYNC: pairs with the acquire in `MailboxServer::request`.
        line.release(self.stamp + 1);
    }

    /// The reply's value, once it is there.
    #[inline]
    pub(crate) fn reply(&mut self) -> Result<Option<u64>, Violation> {
        let line = self.line.at(0);
        let found = line.glance();
        if found == self.stamp + 1 {
            return Ok(None);
        }
        let expected = self.stamp + 2;
        if found != expected {
            return Err(Violation::Stamp { expected, found });
        }
        // SYNC: pairs with the release in `MailboxServer::answer`.
        Line::acquire();
        self.stamp = expected;
        let [value, ..] = line.body();
        Ok(Some(value))
    }
}

/// The answering end.
#[derive(Debug)]
pub(crate) struct MailboxServer {
    line: OwnLines,
    /// Stamp of the last reply.
    stamp: u64,
}

impl MailboxServer {
    pub(crate) fn new(line: OwnLines) -> Self {
        Self { line, stamp: 0 }
    }

    /// Whether [`MailboxServer::request`] would find something.
    #[inline]
    pub(crate) fn anything(&self) -> bool {
        self.line.at(0).glance() != self.stamp
    }

    /// The request that waits, if there is one, as a copy.
    #[inline]
    pub(crate) fn request(&self) -> Result<Option<Body>, Violation> {
        let line = self.line.at(0);
        let found = line.glance();
        if found == self.stamp {
            return Ok(None);
        }
        let expected = self.stamp + 1;
        if found != expected {
            return Err(Violation::Stamp { expected, found });
        }
        // SYNC: pairs with the release in `MailboxClient::send`. Everything that happened before the request was sent, on
        // any vCPU, is visible from here on: the posted writes that it must not overtake too.
        Line::acquire();
        Ok(Some(line.body()))
    }

    /// Answers the request that [`MailboxServer::request`] gave.
    #[inline]
    pub(crate) fn answer(&mut self, value: u64) {
        let line = self.line.at(0);
        line.fill_first(value);
        self.stamp += 2;
        // SYNC: pairs with the acquire in `MailboxClient::reply`.
        line.release(self.stamp);
    }
}
