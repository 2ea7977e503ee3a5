//! Step 4, ring: the reading end of a request ring.

use crate::error::Violation;
use crate::memory::{Line, OwnLines, PeerLines};
use crate::message::{Message, TICKET};

/// Takes posted messages out of slots. One thread owns it.
#[derive(Debug)]
pub(crate) struct Consumer {
    slots: PeerLines,
    counter: OwnLines,
    /// Position of the next message to take.
    head: u64,
    /// The consumed counter as last published.
    published: u64,
    /// The ticket of the message at `head`, if that was seen.
    next: Option<u64>,
}

impl Consumer {
    pub(crate) fn new(slots: PeerLines, counter: OwnLines) -> Self {
        Self {
            slots,
            counter,
            head: 0,
            published: 0,
            next: None,
        }
    }

    /// Position of the next message to take.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// How many slots the ring has.
    #[inline]
    pub(crate) fn slots(&self) -> u64 {
        self.slots.count()
    }

    /// The stamp that the slot for `position` had before the message of that position came.
    #[inline]
    fn old_stamp(&self, position: u64) -> u64 {
        // Position p last held the message of p - slots, whose stamp was one more. In the first lap
        // there was none.
        (position + 1).saturating_sub(self.slots.count())
    }

    /// Whether something is at `position`: a message, or nonsense.
    #[inline]
    fn anything_at(&self, position: u64) -> bool {
        self.slots.at(position).glance() != self.old_stamp(position)
    }

    /// Whether [`Consumer::peek`] would find something.
    #[inline]
    pub(crate) fn anything(&self) -> bool {
        self.next.is_some() || self.anything_at(self.head)
    }

    /// The ticket of the message at the head, if one is there.
    #[inline]
    fn look(&self) -> Result<Option<u64>, Violation> {
        let slot = self.slots.at(self.head);
        let found = slot.glance();
        let expected = self.head + 1;
        if found == expected {
            // SYNC: pairs with the release of the stamp in `Producer::push`.
            Line::acquire();
            return Ok(Some(slot.word::<TICKET>()));
        }
        if found == self.old_stamp(self.head) {
            return Ok(None);
        }
        Err(Violation::Stamp { expected, found })
    }

    /// Looks for a message at the head. `true` if one was found that was not known before.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<bool, Violation> {
        if self.next.is_some() {
            return Ok(false);
        }
        self.next = self.look()?;
        Ok(self.next.is_some())
    }

    /// The ticket of the message at the head, if one was peeked at.
    #[inline]
    pub(crate) fn ticket(&self) -> Option<u64> {
        self.next
    }

    /// Takes the message at the head if it has this ticket, as a copy. Of its words only the ticket
    /// was loaded before, and that one is not looked at again.
    #[inline]
    pub(crate) fn take(&mut self, ticket: u64) -> Result<Option<Message>, Violation> {
        let next = match self.next.take() {
            None => self.look()?,
            known => known,
        };
        if next != Some(ticket) {
            self.next = next;
            return Ok(None);
        }
        let slot = self.slots.at(self.head);
        self.head += 1;
        Message::decode_posted(slot.body()).map(Some)
    }

    /// The position behind the last message that is visible now: at most a ring's length ahead of
    /// the head.
    #[inline]
    pub(crate) fn visible_end(&self) -> u64 {
        let limit = self.head + self.slots.count();
        let mut end = self.head;
        while end < limit && self.slots.at(end).glance() == end + 1 {
            end += 1;
        }
        end
    }

    /// A part of the ring: when so much was consumed the producer should hear of it, even in the
    /// middle of a turn.
    #[inline]
    pub(crate) fn quarter(&self) -> u64 {
        (self.slots.count() / 4).max(1)
    }

    /// Whether a quarter of the ring was consumed of which the producer has not heard.
    #[inline]
    pub(crate) fn owes_much(&self) -> bool {
        self.head - self.published >= self.quarter()
    }

    /// Tells the producer how much was consumed. `true` if that is news: then a fence and a look at
    /// its flag follow.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.published == self.head {
            return false;
        }
        self.published = self.head;
        // SYNC: pairs with the acquire in `Producer::outstanding`.
        self.counter.at(0).release(self.head);
        true
    }
}
