//! Step 8, SCSI: a logical unit's task set: which task may run (SAM-2 section 7.5).
//!
//! Pure bookkeeping. A task enters dormant or enabled and stays a member until it ends; when a
//! member leaves, [`TaskSet::enable_next`] tells which ones its end has enabled.

#[cfg(test)]
mod tests;

use super::{Attribute, TaskId};

/// Members a task set can have: more get TASK SET FULL.
pub(crate) const CAPACITY: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Member {
    task: TaskId,
    tag: Option<u8>,
    attribute: Attribute,
    enabled: bool,
}

/// The tasks of one logical unit, oldest first.
#[derive(Debug, Default)]
pub(crate) struct TaskSet {
    members: Vec<Member>,
}

impl TaskSet {
    /// Whether no more tasks are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.members.len() >= CAPACITY
    }

    /// The task with this tag (or the untagged one).
    pub(crate) fn find(&self, tag: Option<u8>) -> Option<TaskId> {
        self.members
            .iter()
            .find(|member| member.tag == tag)
            .map(|member| member.task)
    }

    /// All tasks, oldest first.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.members.iter().map(|member| member.task)
    }

    /// Takes a new task. Whether it may run now.
    pub(crate) fn insert(&mut self, task: TaskId, tag: Option<u8>, attribute: Attribute) -> bool {
        let enabled = match attribute {
            Attribute::HeadOfQueue => true,
            Attribute::Ordered => self.members.is_empty(),
            Attribute::Simple => self
                .members
                .iter()
                .all(|member| member.attribute == Attribute::Simple),
        };
        self.members.push(Member {
            task,
            tag,
            attribute,
            enabled,
        });
        enabled
    }

    /// The task has ended.
    pub(crate) fn remove(&mut self, task: TaskId) {
        self.members.retain(|member| member.task != task);
    }

    /// Enables the oldest dormant task that may run now, if there is one.
    pub(crate) fn enable_next(&mut self) -> Option<TaskId> {
        // A HEAD OF QUEUE task stands before all dormant ones, whenever it came.
        if self
            .members
            .iter()
            .any(|member| member.attribute == Attribute::HeadOfQueue)
        {
            return None;
        }
        for (older, member) in self.members.iter_mut().enumerate() {
            if member.attribute == Attribute::Ordered && older > 0 {
                return None;
            }
            if !member.enabled {
                member.enabled = true;
                return Some(member.task);
            }
            if member.attribute == Attribute::Ordered {
                return None;
            }
        }
        None
    }
}
