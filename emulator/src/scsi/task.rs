//! Step 8, SCSI: tasks, from the CDB to COMMAND COMPLETE, and the table that holds them.
//!
//! A task is an obligation: it leaves the table exactly once, by [`Tasks::remove`], which
//! makes its id stale for ever.

use super::cdb::Command;
use super::sense::Sense;
use super::work::Work;
use super::{Nexus, TaskId, Want};
use outrigger_block::Op;

/// GOOD status.
pub(crate) const GOOD: u8 = 0x00;
/// CHECK CONDITION status.
pub(crate) const CHECK_CONDITION: u8 = 0x02;
/// BUSY status.
pub(crate) const BUSY: u8 = 0x08;
/// RESERVATION CONFLICT status.
pub(crate) const RESERVATION_CONFLICT: u8 = 0x18;
/// TASK SET FULL status.
pub(crate) const TASK_SET_FULL: u8 = 0x28;

/// A block request that the backend has, or that is held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) op: Op,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// It has failed before.
    pub(crate) again: bool,
}

/// How far a task is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Not enabled yet: earlier tasks come first.
    Dormant,
    /// An answer of our own goes to the initiator, from byte `at` on.
    Answer { bytes: Vec<u8>, at: usize },
    /// A parameter list of `length` bytes comes from the initiator.
    Parameters { bytes: Vec<u8>, length: usize },
    /// The medium is involved; `in_flight` is its block request, if it has made one.
    Work {
        work: Box<Work>,
        in_flight: Option<InFlight>,
    },
    /// Status.
    Ended { status: u8, sense: Option<Sense> },
}

impl Phase {
    /// GOOD status.
    pub(crate) const GOOD: Self = Self::Ended {
        status: GOOD,
        sense: None,
    };

    /// BUSY status.
    pub(crate) const BUSY: Self = Self::Ended {
        status: BUSY,
        sense: None,
    };

    /// RESERVATION CONFLICT status.
    pub(crate) const CONFLICT: Self = Self::Ended {
        status: RESERVATION_CONFLICT,
        sense: None,
    };

    /// CHECK CONDITION with this sense.
    pub(crate) fn check(sense: Sense) -> Self {
        Self::Ended {
            status: CHECK_CONDITION,
            sense: Some(sense),
        }
    }

    /// An answer, cut at the allocation length.
    pub(crate) fn answer(mut bytes: Vec<u8>, allocation: u32) -> Self {
        bytes.truncate(allocation as usize);
        if bytes.is_empty() {
            Self::GOOD
        } else {
            Self::Answer { bytes, at: 0 }
        }
    }

    /// A parameter list of `length` bytes, at least 1.
    pub(crate) fn parameters(length: usize) -> Self {
        Self::Parameters {
            bytes: Vec::new(),
            length,
        }
    }

    /// Work to be begun.
    pub(crate) fn work(work: Work) -> Self {
        Self::Work {
            work: Box::new(work),
            in_flight: None,
        }
    }

    /// What the task needs next.
    pub(crate) fn want(&self) -> Want {
        let left = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match self {
            Self::Dormant => Want::Wait,
            Self::Answer { bytes, at } => Want::DataIn(left(bytes.len().saturating_sub(*at))),
            Self::Parameters { bytes, length } => {
                Want::DataOut(left(length.saturating_sub(bytes.len())))
            }
            Self::Work {
                in_flight: Some(_), ..
            } => Want::Wait,
            Self::Work {
                work,
                in_flight: None,
            } => work.want(),
            Self::Ended { status, .. } => Want::Status(*status),
        }
    }
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) nexus: Nexus,
    /// Operation code.
    pub(crate) operation: u8,
    /// The parsed CDB, or why it is refused.
    pub(crate) command: Result<Command, Sense>,
    pub(crate) phase: Phase,
    /// Sense of the command before this one: REQUEST SENSE returns it.
    pub(crate) previous_sense: Option<Sense>,
    /// The unit attention condition that it reports. The unit has it again if the task does not end with its status.
    pub(crate) attention: Option<Sense>,
    /// Not waiting for reselection.
    pub(crate) connected: bool,
    /// In the list of tasks that want reselection.
    pub(crate) listed: bool,
}

impl Task {
    /// Bytes left of the data phase. A disconnected task is in none.
    pub(crate) fn data_left(&self) -> u32 {
        if self.connected {
            self.phase.want().bytes()
        } else {
            0
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    task: Option<Task>,
}

/// All tasks of a bus. As many as task sets hold, and a few beside each.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Tasks {
    /// Takes a task.
    pub(crate) fn insert(&mut self, task: Task) -> TaskId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Self::STALE;
        };
        slot.task = Some(task);
        TaskId {
            index,
            generation: slot.generation,
        }
    }

    /// An id that never names a task.
    pub(crate) const STALE: TaskId = TaskId {
        index: u32::MAX,
        generation: u32::MAX,
    };

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        let slot = self.slots.get(id.index as usize)?;
        slot.task
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.task
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Ends a task. `None` if it has ended before.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let task = slot.task.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(task)
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl TaskId {
    /// The cookie of this task's block requests.
    pub(crate) fn cookie(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation)
    }

    /// The task whose block request had this cookie.
    pub(crate) fn from_cookie(cookie: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = cookie.to_be_bytes();
        Self {
            index: u32::from_be_bytes([a, b, c, d]),
            generation: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_stale() {
        let task = || Task {
            nexus: Nexus {
                target: 0,
                lun: 0,
                tag: None,
            },
            operation: 0,
            command: Ok(Command::TestUnitReady),
            phase: Phase::Dormant,
            previous_sense: None,
            attention: None,
            connected: true,
            listed: false,
        };
        let mut tasks = Tasks::default();
        let first = tasks.insert(task());
        assert_eq!(TaskId::from_cookie(first.cookie()), first);
        assert!(tasks.remove(first).is_some());
        assert!(tasks.remove(first).is_none());
        let second = tasks.insert(task());
        assert_eq!(first.index, second.index);
        assert!(tasks.get(first).is_none());
        assert!(tasks.get_mut(second).is_some());
        assert!(tasks.get(Tasks::STALE).is_none());
        assert_eq!(tasks.len(), 1);
    }
}
