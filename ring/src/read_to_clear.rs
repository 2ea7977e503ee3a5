//! Step 4, ring: registers that a read clears, read without a crossing.
//!
//! A *read-to-clear group* is one byte, or two adjacent bytes that one read clears
//! together. Each group has a word that both sides write. While the device stands still,
//! the worker *publishes* a *snapshot* there: what a read would give. A client *claims* the
//! snapshot by one compare-exchange, and has its answer. Before the device does anything
//! else, the worker *revokes* the snapshot by another compare-exchange. So the word
//! decides: a claim comes before the device's next step, or fails.
//!
//! ```text
//!            publish                      claim (a client)
//!     idle n-1 ──▶ published n ─────────────────────────▶ claimed n
//!      ▲                │ revoke                            │ the device clears, its registers are shown
//!      └──── idle n ◀───┴───────────────────────────────────┘
//! ```
//! `docs/ring-protocol.md` argues why a claim gives what the device would have answered; loom
//! checks it in `models/read_to_clear.rs`.

use crate::error::Violation;
use crate::limits::MAX_READ_TO_CLEAR;
use crate::memory::OwnLines;

/// [`MAX_READ_TO_CLEAR`], to index with.
pub(crate) const GROUPS: usize = 4;
const _: () = assert!(GROUPS == MAX_READ_TO_CLEAR as usize && GROUPS.is_power_of_two());

/// What a read of a read-to-clear group gives now. A device publishes it only if the read does no
/// more than this: the group reads as `residual` from then on, its [`Summary`] bits become 0, and
/// the interrupt line may fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What the read gives: the byte, or two of them, the first in bits 0-7.
    pub value: u16,
    /// What the group reads as afterwards.
    pub residual: u16,
}

/// The snapshot of each group, if it has one.
pub type Snapshots = [Option<Snapshot>; GROUPS];

/// The bits of a mirrored register that say that there is something in a read-to-clear group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The group's number, below [`MAX_READ_TO_CLEAR`].
    pub group: u32,
    /// The mirrored register's number.
    pub register: u32,
    /// Its bits that are 0 once the group was claimed. No plain write changes them.
    pub bits: u8,
}

/// Groups whose snapshots were claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the device has not been told"]
pub struct Claimed(u8);

impl Claimed {
    /// Whether it is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their numbers.
    pub fn groups(self) -> impl Iterator<Item = u32> {
        (0..MAX_READ_TO_CLEAR).filter(move |group| self.0 >> group & 1 != 0)
    }
}

const PUBLISHED: u64 = 1 << 32;
/// Set by a client, with [`PUBLISHED`].
pub(crate) const CLAIMED: u64 = 1 << 33;
const NUMBER_SHIFT: u32 = 34;

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Only the device can tell.
    Idle,
    Published(Snapshot),
    Claimed(Snapshot),
}

/// The word: value in bits 0-15, residual in bits 16-31, bit 32 published, bit 33 claimed, above
/// them the snapshot's number modulo 2^30.
const fn published(snapshot: Snapshot, number: u64) -> u64 {
    snapshot.value as u64 | (snapshot.residual as u64) << 16 | PUBLISHED | number << NUMBER_SHIFT
}

const fn idle(number: u64) -> u64 {
    number << NUMBER_SHIFT
}

pub(crate) fn decode(word: u64) -> State {
    let [a, b, c, d, ..] = word.to_le_bytes();
    let snapshot = Snapshot {
        value: u16::from_le_bytes([a, b]),
        residual: u16::from_le_bytes([c, d]),
    };
    match (word & PUBLISHED != 0, word & CLAIMED != 0) {
        (true, false) => State::Published(snapshot),
        (true, true) => State::Claimed(snapshot),
        (false, _) => State::Idle,
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Snapshots so far.
    number: u64,
    /// The word of the snapshot that stands.
    word: Option<u64>,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct SnapshotServer {
    /// One per group.
    lines: OwnLines,
    groups: [Group; GROUPS],
    /// Whether a snapshot stands. While none does, nothing else is looked at.
    standing: bool,
    /// Groups that a client claimed and the worker revoked; the device has not cleared them yet.
    owed: Claimed,
    /// The device may have changed since the worker asked it for snapshots.
    due: bool,
}

impl SnapshotServer {
    pub(crate) fn new(lines: OwnLines) -> Self {
        Self {
            lines,
            groups: [Group::default(); GROUPS],
            standing: false,
            owed: Claimed(0),
            due: true,
        }
    }

    /// The device may have changed.
    pub(crate) fn changed(&mut self) {
        self.due = true;
    }

    /// Whether there is something to revoke.
    pub(crate) fn is_standing(&self) -> bool {
        self.standing
    }

    /// Whether [`SnapshotServer::publish`] may have something to do.
    pub(crate) fn is_due(&self) -> bool {
        self.due && !self.standing
    }

    /// Publishes these. The mirror shows the device's registers as they are already.
    pub(crate) fn publish(&mut self, snapshots: Snapshots) {
        if self.standing || !self.owed.is_empty() {
            return;
        }
        self.due = false;
        for (line, (group, snapshot)) in (0..).zip(self.groups.iter_mut().zip(snapshots)) {
            let Some(snapshot) = snapshot else {
                continue;
            };
            group.number += 1;
            let word = published(snapshot, group.number);
            group.word = Some(word);
            self.standing = true;
            // SYNC: pairs with the acquire in `MirrorClient::claim` and `MirrorClient::clears`: whoever sees the snapshot sees what
            // the device did before.
            self.lines.at(line).release(word);
        }
    }

    /// Whether a client has claimed something, or written nonsense.
    pub(crate) fn anything_claimed(&self) -> bool {
        self.standing
            && (0..).zip(&self.groups).any(|(line, group)| {
                group
                    .word
                    .is_some_and(|word| self.lines.at(line).glance() != word)
            })
    }

    /// Revokes all snapshots. The device clears the groups that are returned, the caller says so by
    /// [`SnapshotServer::claims_done`], and then the device may go on.
    pub(crate) fn revoke(&mut self) -> Result<Claimed, Violation> {
        self.standing = false;
        self.due = true;
        for (line, group) in (0..).zip(&mut self.groups) {
            let Some(word) = group.word.take() else {
                continue;
            };
            // SYNC: pairs with the exchange in `MirrorClient::claim`: what its reader did before is visible, and its reader's next
            // access, in whatever way it comes, finds this one made.
            match self.lines.at(line).exchange(word, idle(group.number)) {
                Ok(()) => {}
                Err(found) if found == word | CLAIMED => self.owed.0 |= 1 << line,
                Err(found) => return Err(Violation::ReadToClear(found)),
            }
        }
        Ok(self.owed)
    }

    /// The device has cleared the claimed groups, and the mirror shows its registers as they are
    /// now.
    pub(crate) fn claims_done(&mut self) {
        for group in std::mem::take(&mut self.owed).groups() {
            let number = usize::try_from(group)
                .ok()
                .and_then(|index| self.groups.get(index))
                .map_or(0, |group| group.number);
            // SYNC: pairs with the acquire in `MirrorClient::clears`: who sees the word sees the registers without what was claimed.
            self.lines.at(group.into()).release(idle(number));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
