//! Step 4, ring: registers that a read clears. Reads that take something, and need no crossing.
//!
//! One or two adjacent bytes that one read takes together are a *clear group*. Each has a word that both sides write. While the
//! device stands still, the worker *offers* there what a read would take; a client *takes* it by one compare-exchange. Before
//! the device does anything else, the worker *withdraws* the offer by another. So the word decides: a take comes before the
//! device's next step, or does not happen.
//!
//! ```text
//!            offer                     take (a client)
//!     idle n-1 ──▶ offered n ─────────────────────────▶ taken n
//!      ▲                │ withdraw                         │ the device takes, its registers are shown
//!      └──── idle n ◀───┴──────────────────────────────────┘
//! ```
//! `docs/ring-protocol.md` argues why that gives what the device would have answered; loom checks it in `models/clear.rs`.

use crate::error::Violation;
use crate::layout::MAX_CLEARED;
use crate::memory::OwnLines;

/// [`MAX_CLEARED`], to index with.
pub(crate) const GROUPS: usize = 4;
const _: () = assert!(GROUPS == MAX_CLEARED as usize && GROUPS.is_power_of_two());

/// What a read of a clear group takes now, if all that it does is this: the group reads as `residual` from then on, the
/// group's [`Summary`] bits become 0, and nothing else of the device that a guest could tell changes at once or depends on it later,
/// but that the interrupt line may fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// What the read gives: the byte, or two of them, the first in bits 0-7.
    pub value: u16,
    /// What the group reads as afterwards.
    pub residual: u16,
}

/// By group: what is to be offered, if anything.
pub type Offers = [Option<Offer>; GROUPS];

/// The bits of a mirrored register that say that there is something in a clear group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The group's number, below [`MAX_CLEARED`].
    pub group: u32,
    /// The mirrored register's number.
    pub register: u32,
    /// Its bits that are 0 once the group was taken. No plain write changes them.
    pub bits: u8,
}

/// Groups whose offers were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the device has not been told"]
pub struct Taken(u8);

impl Taken {
    /// Whether it is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their numbers.
    pub fn groups(self) -> impl Iterator<Item = u32> {
        (0..MAX_CLEARED).filter(move |group| self.0 >> group & 1 != 0)
    }
}

const OFFERED: u64 = 1 << 32;
/// Set by a client, with [`OFFERED`].
pub(crate) const TAKEN: u64 = 1 << 33;
const NUMBER_SHIFT: u32 = 34;

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Only the device can tell.
    Idle,
    Offered(Offer),
    Taken(Offer),
}

/// The word: value in bits 0-15, residual in bits 16-31, bit 32 offered, bit 33 taken, above them the offer's number modulo 2^30.
const fn offered(offer: Offer, number: u64) -> u64 {
    offer.value as u64 | (offer.residual as u64) << 16 | OFFERED | number << NUMBER_SHIFT
}

const fn idle(number: u64) -> u64 {
    number << NUMBER_SHIFT
}

pub(crate) fn decode(word: u64) -> State {
    let [a, b, c, d, ..] = word.to_le_bytes();
    let offer = Offer {
        value: u16::from_le_bytes([a, b]),
        residual: u16::from_le_bytes([c, d]),
    };
    match (word & OFFERED != 0, word & TAKEN != 0) {
        (true, false) => State::Offered(offer),
        (true, true) => State::Taken(offer),
        (false, _) => State::Idle,
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Offers so far.
    number: u64,
    /// The word of the offer that stands.
    word: Option<u64>,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct ClearServer {
    /// One per group.
    lines: OwnLines,
    groups: [Group; GROUPS],
    /// Whether an offer stands: all that is looked at while there is none.
    standing: bool,
    /// What was taken and withdrawn; the device has not done it yet.
    owed: Taken,
    /// The device may have changed since it was asked for offers.
    due: bool,
}

impl ClearServer {
    pub(crate) fn new(lines: OwnLines) -> Self {
        Self {
            lines,
            groups: [Group::default(); GROUPS],
            standing: false,
            owed: Taken(0),
            due: true,
        }
    }

    /// The device may have changed.
    pub(crate) fn changed(&mut self) {
        self.due = true;
    }

    /// Whether there is something to withdraw.
    pub(crate) fn is_standing(&self) -> bool {
        self.standing
    }

    /// Whether [`ClearServer::offer`] may have something to do.
    pub(crate) fn is_due(&self) -> bool {
        self.due && !self.standing
    }

    /// Offers this. What the device's registers show is shown already.
    pub(crate) fn offer(&mut self, offers: Offers) {
        if self.standing || !self.owed.is_empty() {
            return;
        }
        self.due = false;
        for (line, (group, offer)) in (0..).zip(self.groups.iter_mut().zip(offers)) {
            let Some(offer) = offer else {
                continue;
            };
            group.number += 1;
            let word = offered(offer, group.number);
            group.word = Some(word);
            self.standing = true;
            // SYNC: pairs with the acquire in `MirrorClient::take` and `MirrorClient::clears`: whoever sees the offer sees what
            // the device did before.
            self.lines.at(line).release(word);
        }
    }

    /// Whether a client has taken something, or written nonsense.
    pub(crate) fn anything_taken(&self) -> bool {
        self.standing
            && (0..).zip(&self.groups).any(|(line, group)| {
                group
                    .word
                    .is_some_and(|word| self.lines.at(line).glance() != word)
            })
    }

    /// No offer stands any more: the device may go on, once it has taken what is returned, and that was
    /// [`ClearServer::collected`].
    pub(crate) fn withdraw(&mut self) -> Result<Taken, Violation> {
        self.standing = false;
        self.due = true;
        for (line, group) in (0..).zip(&mut self.groups) {
            let Some(word) = group.word.take() else {
                continue;
            };
            // SYNC: pairs with the exchange in `MirrorClient::take`: what its reader did before is visible, and its reader's next
            // access, in whatever way it comes, finds this one made.
            match self.lines.at(line).exchange(word, idle(group.number)) {
                Ok(()) => {}
                Err(found) if found == word | TAKEN => self.owed.0 |= 1 << line,
                Err(found) => return Err(Violation::Clear(found)),
            }
        }
        Ok(self.owed)
    }

    /// The device has taken what was taken, and its registers are shown as they are now.
    pub(crate) fn collected(&mut self) {
        for group in std::mem::take(&mut self.owed).groups() {
            let number = usize::try_from(group)
                .ok()
                .and_then(|index| self.groups.get(index))
                .map_or(0, |group| group.number);
            // SYNC: pairs with the acquire in `MirrorClient::clears`: who sees the word sees the registers without what was taken.
            self.lines.at(group.into()).release(idle(number));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
