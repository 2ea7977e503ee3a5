//! Step 8, SCSI: a target: its logical units, and the commands that it answers for all of them.

use super::attention::Attentions;
use super::cdb::{self, Command};
use super::sense::Sense;
use super::task::{Phase, Task};
use super::task_set::TaskSet;
use super::unit::{Kind, LogicalUnit};
use super::{TaskId, inquiry};

/// Logical units of a target.
pub(crate) const LUNS: u8 = 8;

/// Tasks of one logical unit number that ended before they entered its task set.
const MAX_REFUSED: usize = 16;

/// One logical unit number, whether or not there is a unit behind it.
#[derive(Debug, Default)]
pub(crate) struct Lun {
    pub(crate) unit: Option<LogicalUnit>,
    pub(crate) set: TaskSet,
    /// Tasks that never entered the set; their status has not been taken yet.
    refused: Vec<TaskId>,
    /// Sense data of the last command, until they are fetched or the next command comes.
    pub(crate) sense: Option<Sense>,
    /// The pending unit attention conditions.
    pub(crate) attentions: Attentions,
}

impl Lun {
    /// Whose commands are understood here; those of a disk if there is no unit.
    pub(crate) fn kind(&self) -> Kind {
        self.unit.as_ref().map_or(Kind::Disk, LogicalUnit::kind)
    }

    /// Remembers a task that is outside the task set. If there are too many: the one that must go.
    pub(crate) fn refuse(&mut self, task: TaskId) -> Option<TaskId> {
        self.refused.push(task);
        (self.refused.len() > MAX_REFUSED).then(|| self.refused.remove(0))
    }

    /// The task has ended: it is no longer in the set, nor beside it.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.set.remove(task);
        self.refused.retain(|refused| *refused != task);
    }

    /// Every task, in the set or beside it.
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        self.set
            .tasks()
            .chain(self.refused.iter().copied())
            .collect()
    }

    /// A task that reported this condition has been aborted: the initiator does not know of it.
    pub(crate) fn restore(&mut self, attention: Option<Sense>) {
        if let Some(attention) = attention {
            self.attentions.add(attention);
        }
    }

    /// A reset of the unit; its tasks are gone already.
    pub(crate) fn reset(&mut self, attention: Sense) {
        self.sense = None;
        if let Some(unit) = &mut self.unit {
            unit.reset();
            self.attentions.add(attention);
        }
    }
}

/// A target.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) luns: [Lun; LUNS as usize],
}

impl Target {
    /// Whether there is any unit: then the target answers selection.
    pub(crate) fn exists(&self) -> bool {
        self.luns.iter().any(|lun| lun.unit.is_some())
    }

    pub(crate) fn lun(&mut self, lun: u8) -> Option<&mut Lun> {
        self.luns.get_mut(usize::from(lun))
    }

    /// The task has been enabled: it does what it does first.
    pub(crate) fn start(&mut self, task: &mut Task) {
        let Some(lun) = self.luns.get_mut(usize::from(task.nexus.lun)) else {
            task.phase = Phase::check(Sense::NO_UNIT);
            return;
        };
        if let Some(news) = lun.unit.as_mut().and_then(LogicalUnit::news) {
            lun.attentions.add(news);
        }
        let exempt = cdb::ignores_attention(task.operation, lun.kind());
        // REQUEST SENSE returns a condition if there are no sense data.
        let asks = matches!(task.command, Ok(Command::RequestSense { .. }));
        if !exempt || (asks && task.previous_sense.is_none()) {
            task.attention = lun.attentions.take();
        }
        task.phase = match task.attention {
            Some(attention) if !exempt => Phase::check(attention),
            _ => self.run(task),
        };
    }

    /// What the command does first.
    fn run(&mut self, task: &Task) -> Phase {
        let Some(lun) = self.luns.get_mut(usize::from(task.nexus.lun)) else {
            return Phase::check(Sense::NO_UNIT);
        };
        let command = match task.command {
            Ok(command) => command,
            Err(sense) => return Phase::check(sense),
        };
        match (command, &mut lun.unit) {
            (
                Command::RequestSense {
                    descriptor,
                    allocation,
                },
                unit,
            ) => {
                let current = task.previous_sense.or(task.attention);
                let none = if unit.is_some() {
                    Sense::NONE
                } else {
                    Sense::NO_UNIT
                };
                let descriptor =
                    descriptor || unit.as_ref().is_some_and(LogicalUnit::descriptor_sense);
                Phase::answer(current.unwrap_or(none).encode(descriptor), allocation)
            }
            (Command::ReportLuns { select, allocation }, _) => {
                Phase::answer(self.report_luns(select), allocation)
            }
            (Command::Inquiry { page, allocation }, None) => {
                Phase::answer(inquiry::absent(page), allocation)
            }
            (_, None) => Phase::check(Sense::NO_UNIT),
            (command, Some(unit)) => unit.start(command),
        }
    }

    /// REPORT LUNS: the units there are; well known ones (select 1) there are not.
    fn report_luns(&self, select: u8) -> Vec<u8> {
        let mut list = Vec::new();
        for (number, lun) in (0u8..).zip(&self.luns) {
            if lun.unit.is_some() && select != 1 {
                list.extend([0, number, 0, 0, 0, 0, 0, 0]);
            }
        }
        let length = u32::try_from(list.len()).unwrap_or(0);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(list);
        bytes
    }
}
