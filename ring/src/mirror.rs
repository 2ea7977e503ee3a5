//! Step 4, ring: the register mirror. Reads that need no crossing.
//!
//! The worker shows the value of some registers of one byte in a word each, in memory that only it
//! can write. A client answers a read from there if it can tell what the device would answer, and
//! says that it cannot otherwise. It can:
//!
//! - when every posted write that comes before the read was consumed: the worker shows a value
//!   before it publishes that it has consumed the write that changed it;
//! - when what is missing are writes of this client alone whose [`Effect`] on the register is
//!   known. Their effect is laid over the value that is shown. The word says how many writes the
//!   value contains, so the client knows which.
//!
//! `docs/ring-protocol.md` argues why that is what the device would have answered; loom checks it
//! in `models/mirror.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Violation;
use crate::limits::MAX_READ_TO_CLEAR;
use crate::memory::{Line, OwnLines, PeerLines};
use crate::message::EVENTS_MASK;
use crate::read_to_clear::{self, CLAIMED, GROUPS, Snapshots, State, Summary};
use crate::sync::{AtomicU64, Ordering};

/// A posted write is on its way out of this client: its count in [`Posted`] is not known.
const BUSY: u64 = u64::MAX;
/// Writes that are laid over a register's value at most; with more, the oldest must be consumed
/// first.
pub(crate) const MAX_PENDING: usize = 16;

/// A mirrored register as the device has it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// The byte that a read gives.
    pub value: u8,
    /// How often the register's write-1-to-clear bit was set by the device so far; the low 23 bits
    /// count.
    pub events: u32,
}

/// All that a write of one byte does, if it is a plain one: it changes these bits of one mirrored
/// register, and nothing else that a read of any mirrored register could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The mirrored register's number.
    pub register: u32,
    /// Bits that read back as written, until the device changes them.
    pub through: u8,
    /// At most one bit, which a 1 clears and a 0 leaves alone. Such a write is tagged with the
    /// register's count of events, and clears only if there was no later one.
    pub clears: u8,
}

/// What the worker does with requests.
pub trait Serve {
    /// Does what the request asks for. For a read, returns the reply; bits above the access's width
    /// are cut off. `seen` is the tag of a write that clears: if the register's count of events is
    /// another by now, the write-1-to-clear bit stays.
    fn serve(&mut self, request: crate::Request, seen: Option<u32>) -> u64;

    /// The mirrored register of this number as it is now; `None` from the first number on that has
    /// none.
    fn mirrored(&self, register: u32) -> Option<Mirrored>;

    /// What reads of the read-to-clear groups would claim now. Until the worker revokes a snapshot,
    /// nothing happens to the device: neither `serve` is called, nor does it run.
    fn snapshots(&self) -> Snapshots {
        Snapshots::default()
    }

    /// A client claimed the group's snapshot: the device does what a read of it does.
    fn claim(&mut self, group: u32) {
        let _ = group;
    }

    /// Whether the worker has spent long enough on requests, and should look after its other work.
    /// Asked now and then, after so many requests that reading a clock for the answer costs little.
    /// `true` ends the call that serves them early:
    /// [`Server::is_in_turn`](crate::Server::is_in_turn) says what follows.
    fn is_time_up(&mut self) -> bool {
        false
    }
}

/// A device without mirrored registers.
pub(crate) struct Unmirrored<F>(pub(crate) F);

impl<F: FnMut(crate::Request) -> u64> Serve for Unmirrored<F> {
    fn serve(&mut self, request: crate::Request, _: Option<u32>) -> u64 {
        (self.0)(request)
    }

    fn mirrored(&self, _: u32) -> Option<Mirrored> {
        None
    }
}

/// The word: value in bits 0-7, bit 8 set, events in bits 9-31, and above them how many posted
/// writes the session's device had taken, modulo 2^32. Zero: the register is not shown.
fn encode(now: Mirrored, applied: u64) -> u64 {
    let events = u64::from(now.events & EVENTS_MASK);
    u64::from(now.value) | 1 << 8 | events << 9 | applied << 32
}

fn decode(word: u64) -> Option<(Mirrored, u32)> {
    let [value, flags, ..] = word.to_le_bytes();
    let [low, applied] = [word & 0xffff_ffff, word >> 32].map(|half| {
        // Both fit: the halves of 64 bits.
        u32::try_from(half).unwrap_or(0)
    });
    let events = low >> 9;
    (flags & 1 != 0).then_some((Mirrored { value, events }, applied))
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct MirrorServer {
    lines: Option<OwnLines>,
    shown: Vec<Option<(Mirrored, u64)>>,
}

impl MirrorServer {
    /// A mirror in these lines, one per register, of which `registers` are used.
    pub(crate) fn new(lines: Option<OwnLines>, registers: usize) -> Self {
        Self {
            lines,
            shown: vec![None; registers],
        }
    }

    #[inline]
    pub(crate) fn registers(&self) -> usize {
        self.shown.len()
    }

    /// Shows a register's value, if it or the count is news. `applied` posted writes went into it.
    /// The count alone is news too: a client takes it for exact, and would lay a write over a value
    /// that has it already.
    pub(crate) fn show(&mut self, register: u32, now: Mirrored, applied: u64) {
        let index = usize::try_from(register).unwrap_or(usize::MAX);
        let (Some(shown), Some(lines)) = (self.shown.get_mut(index), &self.lines) else {
            return;
        };
        if *shown != Some((now, applied)) {
            *shown = Some((now, applied));
            // SYNC: pairs with the acquire in `MirrorClient::look`: what the device did before, to guest memory too, is
            // visible to whoever sees the value.
            lines.at(register.into()).release(encode(now, applied));
        }
    }
}

/// How many posted writes each client of a session has published, for the other clients. In the
/// clients' process.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Posted(AtomicU64);

/// A posted write whose effect is known and that may not be consumed yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    effect: Effect,
    value: u8,
    /// The tag, if it clears.
    seen: Option<u32>,
    /// The position behind it.
    end: u64,
}

/// A client's end.
#[derive(Debug)]
pub(crate) struct MirrorClient {
    /// One per register; `None`: nothing is mirrored.
    pub(crate) lines: Option<PeerLines>,
    pub(crate) registers: u32,
    /// One per read-to-clear group.
    pub(crate) clears: OwnLines,
    /// The session's clients, and which of them this one is.
    pub(crate) posted: Arc<[Posted]>,
    pub(crate) own: usize,
    /// The consumed counters of all channels.
    pub(crate) consumed: Vec<PeerLines>,
    pending: VecDeque<Pending>,
    /// The position behind the last posted write that cannot be laid over a value.
    opaque: u64,
}

impl MirrorClient {
    pub(crate) fn new(
        lines: Option<PeerLines>,
        registers: u32,
        clears: OwnLines,
        posted: Arc<[Posted]>,
        own: usize,
        consumed: Vec<PeerLines>,
    ) -> Self {
        Self {
            lines,
            registers,
            clears,
            posted,
            own,
            consumed,
            pending: VecDeque::new(),
            opaque: 0,
        }
    }

    fn look(&self, register: u32) -> Option<(Mirrored, u32)> {
        if register >= self.registers {
            return None;
        }
        let word = self.lines.as_ref()?.at(register.into()).glance();
        // SYNC: pairs with the release in `MirrorServer::show`.
        Line::acquire();
        decode(word)
    }

    /// Before tickets are drawn for posted writes: other clients cannot tell for a while what this
    /// one has posted.
    #[inline]
    pub(crate) fn begin(&self) {
        if let Some(own) = self.posted.get(self.own) {
            own.0.store(BUSY, Ordering::Relaxed);
        }
    }

    /// After the writes were published: the ring's end is there now.
    #[inline]
    pub(crate) fn end(&self, position: u64) {
        if let Some(own) = self.posted.get(self.own) {
            // SYNC: pairs with the acquire in `MirrorClient::others`.
            own.0.store(position, Ordering::Release);
        }
    }

    /// The tag for a write of `value`, and whether the write can be laid over.
    pub(crate) fn tag(&self, effect: Effect, value: u8) -> (Option<u32>, bool) {
        if value & effect.clears == 0 {
            return (None, true);
        }
        let seen = self.look(effect.register).map(|(now, _)| now.events);
        (seen, seen.is_some())
    }

    /// A write was published whose end is at `end`. `effect` is `None` for one that can do
    /// anything.
    #[inline]
    pub(crate) fn published(&mut self, effect: Option<(Effect, u8, Option<u32>)>, end: u64) {
        let Some((effect, value, seen)) = effect else {
            self.opaque = end;
            return;
        };
        if self.pending.len() == MAX_PENDING
            && let Some(oldest) = self.pending.pop_front()
        {
            self.opaque = oldest.end;
        }
        self.pending.push_back(Pending {
            effect,
            value,
            seen,
            end,
        });
    }

    /// The words of the read-to-clear groups that this register sums up, in the order of
    /// `summaries`, and its bits that are 0 as they were claimed.
    fn clears(&self, register: u32, summaries: &[Summary]) -> ([u64; GROUPS], u8) {
        let mut words = [0; GROUPS];
        let mut cleared = 0;
        let summaries = summaries.iter().filter(|it| it.register == register);
        for (summary, word) in summaries.zip(&mut words) {
            *word = self.clears.at(summary.group.into()).glance();
            if *word & CLAIMED != 0 {
                cleared |= summary.bits;
            }
        }
        // SYNC: pairs with the exchange in `MirrorClient::claim`, and with the releases of `SnapshotServer`.
        Line::acquire();
        (words, cleared)
    }

    /// Whether they are still the same, after the register's word was acquired.
    fn stand(&self, register: u32, summaries: &[Summary], words: &[u64; GROUPS]) -> bool {
        let summaries = summaries.iter().filter(|it| it.register == register);
        summaries
            .zip(words)
            .all(|(summary, word)| self.clears.at(summary.group.into()).glance() == *word)
    }

    /// Claims the snapshot that the worker published of a read-to-clear group, of which the read
    /// covers the bytes in `mask`. `None`: only the device can tell.
    pub(crate) fn claim(
        &self,
        group: u32,
        mask: u16,
        position: u64,
        consumed: u64,
        tickets: Option<&AtomicU64>,
    ) -> Option<u16> {
        if consumed < self.opaque || group >= MAX_READ_TO_CLEAR {
            return None;
        }
        if let Some(tickets) = tickets {
            // As in `read`: this client's plain writes, which may be missing, come before whatever
            // others post from now on.
            tickets.fetch_add(0, Ordering::AcqRel);
        }
        self.others()?;
        let line = self.clears.at(group.into());
        let word = line.glance();
        // SYNC: pairs with the release in `SnapshotServer::publish`.
        Line::acquire();
        match read_to_clear::decode(word) {
            State::Published(snapshot) if (snapshot.value ^ snapshot.residual) & !mask == 0 => {
                // SYNC: pairs with the exchange in `SnapshotServer::revoke`.
                line.exchange(word, word | CLAIMED).ok()?;
                Some(snapshot.value & mask)
            }
            State::Claimed(snapshot) if consumed == position => Some(snapshot.residual & mask),
            _ => None,
        }
    }

    /// What the register reads as, after `position` posted writes of this client of which
    /// `consumed` are known to be consumed, and after all that happened before. `None`: only the
    /// device can tell.
    pub(crate) fn read(
        &mut self,
        register: u32,
        summaries: &[Summary],
        position: u64,
        consumed: u64,
        tickets: Option<&AtomicU64>,
    ) -> Result<Option<u8>, Violation> {
        if consumed < self.opaque {
            return Ok(None);
        }
        while self.pending.front().is_some_and(|p| p.end <= consumed) {
            self.pending.pop_front();
        }
        let all = consumed == position;
        let (words, cleared) = self.clears(register, summaries);
        // Nothing is laid over the word: it is the device's state at one instant.
        let plain = all && cleared == 0;
        if !plain && let Some(tickets) = tickets {
            // Whoever draws a ticket after this has our writes visible when its own become so, and
            // is behind them. Whoever drew one before is seen by `others`. Of two that find
            // different groups claimed, the second sees both.
            tickets.fetch_add(0, Ordering::AcqRel);
        }
        let Some(others) = self.others() else {
            return Ok(None);
        };
        let Some((now, applied)) = self.look(register) else {
            return Ok(None);
        };
        if plain {
            return Ok(Some(now.value));
        }
        if !self.stand(register, summaries, &words) {
            return Ok(None);
        }
        if all {
            return Ok(Some(now.value & !cleared));
        }
        if self.others() != Some(others) {
            return Ok(None);
        }
        // Of the writes in the value, `others` are the other clients', the rest is ours.
        let missing = low(position.wrapping_add(others)).wrapping_sub(applied);
        let Some(contained) = position.checked_sub(missing.into()) else {
            return Err(Violation::Mirror(applied));
        };
        Ok(Some(self.lay_over(register, now, contained) & !cleared))
    }

    /// How many writes the other clients have published, if all of them were consumed.
    fn others(&self) -> Option<u64> {
        let mut sum = 0_u64;
        for (index, (posted, consumed)) in self.posted.iter().zip(&self.consumed).enumerate() {
            if index == self.own {
                continue;
            }
            let posted = posted.0.load(Ordering::Acquire);
            // Relaxed, and ordered by the acquire below.
            if posted == BUSY || consumed.at(0).glance() < posted {
                return None;
            }
            sum = sum.wrapping_add(posted);
        }
        // SYNC: pairs with the release of the counters in `Consumer::publish`.
        Line::acquire();
        Some(sum)
    }

    fn lay_over(&self, register: u32, now: Mirrored, contained: u64) -> u8 {
        let mut value = now.value;
        for pending in &self.pending {
            let effect = pending.effect;
            if pending.end <= contained || effect.register != register {
                continue;
            }
            if pending.seen == Some(now.events) {
                value &= !effect.clears;
            }
            value = value & !effect.through | pending.value & effect.through;
        }
        value
    }
}

/// The low half: the word counts modulo 2^32, far more than rings hold.
fn low(count: u64) -> u32 {
    u32::try_from(count & 0xffff_ffff).unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests;
