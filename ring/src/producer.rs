//! Step 4, ring: the writing end of a request ring.

use crate::error::Violation;
use crate::memory::{Line, OwnLines, PeerLines};
use crate::message::Message;

/// Writes posted messages into slots. One thread owns it.
#[derive(Debug)]
pub(crate) struct Producer {
    slots: OwnLines,
    consumed: PeerLines,
    /// Position of the next message: so many were published.
    position: u64,
    /// The consumed counter as last seen, at most `position`.
    seen: u64,
}

impl Producer {
    pub(crate) fn new(slots: OwnLines, consumed: PeerLines) -> Self {
        Self {
            slots,
            consumed,
            position: 0,
            seen: 0,
        }
    }

    /// How many messages were published.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Looks at the consumed counter; returns how many published messages are not yet consumed.
    ///
    /// Everything that the worker did with the consumed messages happened before the return.
    #[inline]
    pub(crate) fn outstanding(&mut self) -> Result<u64, Violation> {
        // SYNC: pairs with the release of the counter in `Consumer::publish`. Without it the words that `push` stores into a
        // reused slot could reach the consumer while it still copies the slot's last message.
        let consumed = self.consumed.at(0).glance();
        Line::acquire();
        if consumed < self.seen || consumed > self.position {
            return Err(Violation::Consumed(consumed));
        }
        self.seen = consumed;
        Ok(self.position - consumed)
    }

    /// Whether there is room for a message; looks at the consumed counter only when it seems that
    /// there is none.
    #[inline]
    pub(crate) fn has_room(&mut self) -> Result<bool, Violation> {
        if self.position - self.seen < self.slots.count() {
            return Ok(true);
        }
        Ok(self.outstanding()? < self.slots.count())
    }

    /// Publishes a message. The caller has seen [`Producer::has_room`] since the last one.
    #[inline]
    pub(crate) fn push(&mut self, message: Message) {
        let slot = self.slots.at(self.position);
        slot.fill(message.encode());
        // The stamp of the message at position p is p + 1, so that zeroed memory holds none.
        self.position += 1;
        // SYNC: pairs with the acquire in `Consumer::peek`.
        slot.release(self.position);
    }
}
