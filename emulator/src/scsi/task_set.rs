//! Step 8, SCSI: a logical unit's task set: which task may run (SAM-2 section 7.5).
//!
//! Pure bookkeeping. A task enters dormant or enabled and stays a member until it ends; when a
//! member leaves, [`TaskSet::enable_next`] tells which ones its end has enabled.

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

#[cfg(test)]
mod tests {
    use Attribute::{HeadOfQueue, Ordered, Simple};
    use proptest::prelude::*;

    use super::*;

    fn id(index: u32) -> TaskId {
        TaskId {
            index,
            generation: 0,
        }
    }

    fn enabled_by_end_of(set: &mut TaskSet, index: u32) -> Vec<u32> {
        set.remove(id(index));
        std::iter::from_fn(|| set.enable_next())
            .map(|task| task.index)
            .collect()
    }

    #[test]
    fn ordered_waits_for_all_and_holds_all() {
        let mut set = TaskSet::default();
        assert!(set.insert(id(0), Some(0), Simple));
        assert!(set.insert(id(1), Some(1), Simple));
        assert!(!set.insert(id(2), Some(2), Ordered));
        assert!(!set.insert(id(3), Some(3), Simple));
        assert!(!set.insert(id(4), Some(4), Simple));
        assert!(enabled_by_end_of(&mut set, 0).is_empty());
        assert_eq!(enabled_by_end_of(&mut set, 1), [2]);
        assert_eq!(enabled_by_end_of(&mut set, 2), [3, 4]);
    }

    #[test]
    fn head_of_queue_runs_at_once_and_holds_dormant_ones() {
        let mut set = TaskSet::default();
        assert!(set.insert(id(0), Some(0), Simple));
        assert!(!set.insert(id(1), Some(1), Ordered));
        assert!(set.insert(id(2), Some(2), HeadOfQueue));
        assert!(!set.insert(id(3), Some(3), Simple));
        assert!(enabled_by_end_of(&mut set, 0).is_empty());
        assert_eq!(enabled_by_end_of(&mut set, 2), [1]);
        assert_eq!(enabled_by_end_of(&mut set, 1), [3]);
    }

    #[test]
    fn finds_by_tag() {
        let mut set = TaskSet::default();
        set.insert(id(0), None, Simple);
        set.insert(id(1), Some(0), Simple);
        assert_eq!(set.find(None), Some(id(0)));
        assert_eq!(set.find(Some(0)), Some(id(1)));
        assert_eq!(set.find(Some(1)), None);
    }

    proptest! {
        /// Whatever comes and ends: an enabled task is always there, and no task passes an older ORDERED one.
        #[test]
        fn never_stuck_and_never_out_of_order(steps in proptest::collection::vec((0u8..4, any::<u8>()), 1..200)) {
            let mut set = TaskSet::default();
            let mut live: Vec<(TaskId, Attribute, bool)> = Vec::new();
            for (number, (kind, pick)) in (0u32..).zip(steps) {
                let attribute = match kind { 0 => Simple, 1 => Ordered, 2 => HeadOfQueue, _ => {
                    let enabled: Vec<_> = live.iter().filter(|task| task.2).map(|task| task.0).collect();
                    if enabled.is_empty() { prop_assert!(live.is_empty()); continue; }
                    let ended = enabled[usize::from(pick) % enabled.len()];
                    live.retain(|task| task.0 != ended);
                    set.remove(ended);
                    while let Some(next) = set.enable_next() {
                        let at = live.iter().position(|task| task.0 == next).expect("a live task");
                        prop_assert!(!live[at].2);
                        prop_assert!(live.iter().all(|task| task.1 != HeadOfQueue));
                        prop_assert!(live[..at].iter().all(|task| task.1 != Ordered));
                        prop_assert!(live[at].1 != Ordered || at == 0);
                        live[at].2 = true;
                    }
                    continue;
                }};
                let enabled = set.insert(id(number), None, attribute);
                live.push((id(number), attribute, enabled));
            }
        }
    }
}
