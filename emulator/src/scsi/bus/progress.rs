//! Step 8, SCSI: how tasks go on: enabled, fed by the backends, listed for reselection.

use super::Bus;
use crate::scsi::sense::Sense;
use crate::scsi::task::Phase;
use crate::scsi::{Nexus, TaskId, Want};
use outrigger_block::Completion;

impl Bus {
    /// The task has been enabled.
    pub(super) fn start(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if let Some(target) = self.targets.get_mut(usize::from(task.nexus.target)) {
            target.start(task);
        }
        self.proceed(id);
    }

    /// Takes the task as far as it goes without the initiator and without a wait.
    pub(super) fn proceed(&mut self, id: TaskId) {
        let Some((task, lun)) = self.task_and_lun(id) else {
            return;
        };
        match &mut task.phase {
            Phase::Answer { bytes, at } if *at >= bytes.len() => task.phase = Phase::GOOD,
            Phase::Parameters { bytes, length } if bytes.len() >= *length => {
                let bytes = std::mem::take(bytes);
                task.phase = match (task.command, &mut lun.unit) {
                    (Ok(command), Some(unit)) => unit.parameters(command, &bytes),
                    _ => Phase::check(Sense::NO_UNIT),
                };
            }
            _ => {}
        }
        let unit = lun.unit.as_mut();
        let more = unit.is_some_and(|unit| unit.medium_mut().advance(id, &mut task.phase));
        if more && !self.unfinished.contains(&id) {
            self.unfinished.push(id);
        }
        self.list(id);
    }

    /// A disconnected task that wants to go on is listed for reselection.
    pub(super) fn list(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if !task.connected && !task.listed && task.phase.want() != Want::Wait {
            task.listed = true;
            self.ready.push_back(id);
        }
    }

    /// Takes tasks that have ended out of the lists.
    pub(super) fn forget_stale(&mut self) {
        let tasks = &self.tasks;
        self.ready.retain(|&id| tasks.get(id).is_some());
        self.unfinished.retain(|&id| tasks.get(id).is_some());
    }

    /// A member has left the task set: others may run now.
    pub(super) fn enable(&mut self, target: u8, lun: u8) {
        let nexus = Nexus {
            target,
            lun,
            tag: None,
        };
        while let Some(task) = self.lun(nexus).and_then(|lun| lun.set.enable_next()) {
            self.start(task);
        }
    }

    pub(super) fn complete(&mut self, target: u8, lun: u8, mut completions: Vec<Completion>) {
        for completion in completions.drain(..) {
            let id = TaskId::from_cookie(completion.cookie);
            let Some((task, place)) = self.task_and_lun(id) else {
                continue;
            };
            debug_assert_eq!((task.nexus.target, task.nexus.lun), (target, lun));
            if let Some(unit) = &mut place.unit {
                unit.medium_mut().complete(&mut task.phase, completion);
            }
            self.proceed(id);
        }
        self.completions = completions;
    }
}
