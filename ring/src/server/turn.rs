//! Step 4, ring: how much a worker does before it looks after its other work.
//!
//! A turn is so many requests, which may take several calls: one call ends early when the device
//! says that its time is up ([`Serve::is_time_up`]). A hostile client fills 64 rings of 4096 slots
//! with the dearest accesses that the device has, so neither a read that comes behind all of them
//! nor a command that came another way may wait for them within one call: what it waits for is
//! remembered, and the next call goes on with that.

use super::Server;
use crate::error::{Error, Violation};
use crate::message::Message;
use crate::mirror::Serve;

/// Requests served in one turn at most. Enough for all writes that clients lay over mirrored
/// registers: they are taken in before the device goes on.
const TURN: u64 = 1024;
const _: () = assert!(TURN >= 64 * crate::mirror::MAX_PENDING as u64);

/// Requests from one question for the time to the next.
pub(super) const PORTION: u64 = 64;

/// How much more a turn may do.
#[derive(Debug)]
pub(crate) struct Turn {
    left: u64,
    /// Since the last question for the time.
    unasked: u64,
    /// The time was up before the turn was.
    cut: bool,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            left: TURN,
            unasked: 0,
            cut: false,
        }
    }
}

impl Turn {
    /// The next call begins.
    #[inline]
    pub(super) fn go_on(&mut self) {
        self.cut = false;
    }

    /// How many requests may still be served.
    #[inline]
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The call must end.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.cut || self.left == 0
    }

    /// So many requests were served.
    #[inline]
    pub(super) fn spend(&mut self, count: u64, device: &mut impl Serve) {
        self.left = self.left.saturating_sub(count);
        self.unasked += count;
        if self.unasked >= PORTION {
            self.unasked = 0;
            self.cut |= device.is_time_up();
        }
    }

    /// The call ends; the turn too, unless its time was up before.
    #[inline]
    pub(super) fn end(&mut self) {
        if self.left == 0 {
            self.cut = false;
        }
        if !self.cut {
            self.left = TURN;
        }
    }
}

/// What waits until everything that the rings held when it came has been applied.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// The request of a mailbox.
    Mailbox {
        /// The channel.
        index: usize,
        /// The request.
        message: Message,
        /// Writes that can still come before it.
        left: u64,
    },
    /// A command that came another way: [`Server::apply_some_with`].
    Command {
        /// Writes that can still come before it.
        left: u64,
    },
}

impl Server {
    /// As [`Server::apply_posted_with`], a bounded portion, as of [`Server::turn`]. `false`: not
    /// all is applied; call again, and serve nothing else meanwhile. Writes that come after the
    /// first call need not be applied.
    ///
    /// # Errors
    /// As [`Server::turn`].
    pub fn apply_some_with(&mut self, device: &mut impl Serve) -> Result<bool, Error> {
        self.unless_failed(|server| server.command(device))
    }

    /// The last call has ended because the time was up, before the turn did. The device must not
    /// run before a call has ended the turn: it is to see all writes that were made before it goes
    /// on.
    #[must_use]
    pub fn is_in_turn(&self) -> bool {
        self.turn.cut
    }

    fn command(&mut self, device: &mut impl Serve) -> Result<bool, Violation> {
        self.turn.go_on();
        let mut left = match self.waiting.take() {
            None => self.aim(),
            Some(Waiting::Command { left }) => left,
            // A read that came before goes first.
            Some(Waiting::Mailbox {
                index,
                message,
                left,
            }) => {
                self.when_caught_up(index, message, left, device)?;
                if self.waiting.is_some() {
                    self.publish();
                    self.turn.end();
                    return Ok(false);
                }
                self.aim()
            }
        };
        let done = self.catch_up(&mut left, device)?;
        if done {
            self.revoke_snapshots(device)?;
        } else {
            self.waiting = Some(Waiting::Command { left });
        }
        self.publish();
        self.turn.end();
        Ok(done)
    }
}
