//! Step 8, SCSI: how tasks end: with their status, or aborted. Each leaves the table here, once.

use super::{Bus, TARGETS};
use crate::scsi::sense::Sense;
use crate::scsi::target::LUNS;
use crate::scsi::task::Phase;
use crate::scsi::{Management, Nexus, TaskId, Want};

impl Bus {
    /// Status and COMMAND COMPLETE were accepted: the task ends. A task that has no status to give is aborted.
    pub fn finish(&mut self, task: TaskId) {
        let has_status = matches!(self.want(task), Want::Status(_));
        let Some((record, lun)) = self.task_and_lun(task) else {
            return;
        };
        let Nexus {
            target,
            lun: number,
            ..
        } = record.nexus;
        match record.phase {
            Phase::Ended { sense, .. } if has_status && record.connected => {
                lun.sense = lun.sense.or(sense);
                lun.forget(task);
                self.tasks.remove(task);
                self.work.requests += 1;
                self.forget_stale();
                self.enable(target, number);
            }
            _ => self.abort(target, number, &[task], false),
        }
    }

    /// A task management function. When it returns, no DMA of the tasks concerned happens any more.
    pub fn manage(&mut self, nexus: Nexus, function: Management) {
        let Nexus { target, lun, tag } = nexus;
        match function {
            Management::AbortTask => {
                let Some(place) = self.lun(nexus) else { return };
                let all = place.tasks();
                let tasks = &self.tasks;
                let same = |id: &TaskId| tasks.get(*id).is_some_and(|task| task.nexus.tag == tag);
                let these: Vec<_> = all.into_iter().filter(same).collect();
                self.abort(target, lun, &these, false);
            }
            Management::AbortTaskSet | Management::ClearTaskSet => {
                self.abort_all(target, lun);
                // SCSI-2 section 7.6: the contingent allegiance condition ends too.
                if let Some(place) = self.lun(nexus) {
                    place.sense = None;
                }
            }
            Management::LogicalUnitReset => self.reset_unit(target, lun, Sense::DEVICE_RESET),
            Management::TargetReset => {
                for lun in 0..LUNS {
                    self.reset_unit(target, lun, Sense::DEVICE_RESET);
                }
            }
        }
    }

    /// The RST signal: every task gone, unit attention everywhere. No DMA happens after it returns.
    pub fn reset(&mut self) {
        for target in (0u8..).take(TARGETS) {
            for lun in 0..LUNS {
                self.reset_unit(target, lun, Sense::BUS_RESET);
            }
        }
    }

    pub(super) fn reset_unit(&mut self, target: u8, lun: u8, attention: Sense) {
        self.abort_all(target, lun);
        if let Some(lun) = self.lun(Nexus {
            target,
            lun,
            tag: None,
        }) {
            lun.reset(attention);
        }
    }

    /// Waits until no transfer to or from guest RAM is in flight; tasks are kept. Guest RAM that a task has been
    /// told of, but not used yet, is used now.
    pub fn quiesce(&mut self) {
        for (target, lun) in self.units.clone() {
            // Requests that are held back hold on to guest RAM too: they end with their errors.
            self.set_may_hold(target, lun, false);
            while self.flush_gathered(target, lun) {
                self.drain(target, lun, false);
            }
            self.set_may_hold(target, lun, true);
        }
    }

    fn set_may_hold(&mut self, target: u8, lun: u8, may: bool) {
        let mut completions = std::mem::take(&mut self.completions);
        if let Some(unit) = self.unit(target, lun) {
            unit.medium_mut().set_may_hold(may, &mut completions);
        }
        self.complete(target, lun, completions);
    }

    /// Whether a task of this unit had guest RAM to use.
    pub(super) fn flush_gathered(&mut self, target: u8, lun: u8) -> bool {
        let Some(place) = self.lun(Nexus {
            target,
            lun,
            tag: None,
        }) else {
            return false;
        };
        let mut any = false;
        for id in place.tasks() {
            if let Some(Phase::Work { work, in_flight }) =
                self.tasks.get_mut(id).map(|task| &mut task.phase)
            {
                any |= work.flush_gathered() || (in_flight.is_some() && work.uses_guest_memory());
                self.proceed(id);
            }
        }
        any
    }

    pub(super) fn abort_all(&mut self, target: u8, lun: u8) {
        let Some(place) = self.lun(Nexus {
            target,
            lun,
            tag: None,
        }) else {
            return;
        };
        let all = place.tasks();
        self.abort(target, lun, &all, true);
    }

    /// Ends tasks of one unit. `cancel` if they are all that it has.
    pub(super) fn abort(&mut self, target: u8, lun: u8, these: &[TaskId], cancel: bool) {
        let mut in_flight = false;
        for &id in these {
            let Some(task) = self.tasks.remove(id) else {
                continue;
            };
            let has_request = matches!(
                task.phase,
                Phase::Work {
                    in_flight: Some(_),
                    ..
                }
            );
            in_flight |= has_request;
            if let Some(lun) = self.lun(task.nexus) {
                lun.forget(id);
                lun.restore(task.attention);
                if let (true, Some(unit)) = (has_request, &mut lun.unit) {
                    unit.medium_mut().forget(id.cookie());
                }
            }
        }
        self.forget_stale();
        if in_flight {
            self.drain(target, lun, cancel);
        }
        self.enable(target, lun);
    }

    /// Waits for the unit's block requests. Those of tasks that have ended have nobody to go to.
    pub(super) fn drain(&mut self, target: u8, lun: u8, cancel: bool) {
        let mut completions = std::mem::take(&mut self.completions);
        if let Some(unit) = self.unit(target, lun) {
            unit.medium_mut().drain(cancel, &mut completions);
        }
        self.complete(target, lun, completions);
    }
}
