//! Step 8, SCSI: the bus: tasks between their initiator and the targets, disconnect and reselection.

mod data;
mod end;
mod progress;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::cdb::{self, Command};
use super::sense::Sense;
use super::target::{LUNS, Lun, Target};
use super::task::{Phase, TASK_SET_FULL, Task, Tasks};
use super::unit::LogicalUnit;
use super::{AttachError, Attribute, Nexus, TaskId, Want};
use outrigger_block::Completion;
use outrigger_device::device::Work;

/// Targets on a wide bus.
const TARGETS: usize = 16;

/// The bus: up to 16 targets with up to 8 logical units each.
#[derive(Debug)]
pub struct Bus {
    targets: [Target; TARGETS],
    /// Where there are units: target and LUN.
    units: Vec<(u8, u8)>,
    tasks: Tasks,
    /// Disconnected tasks that want to go on, in the order in which they came to want it.
    ready: VecDeque<TaskId>,
    /// Tasks whose work was cut short to be fair to others, and since when.
    unfinished: Vec<TaskId>,
    polled: Option<Instant>,
    /// Empty, but with room.
    completions: Vec<Completion>,
    work: Work,
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus {
    /// Bytes of the shortest CDBs.
    pub const SHORTEST_CDB: usize = 6;

    /// A bus with no targets.
    #[must_use]
    pub fn new() -> Self {
        Self {
            targets: std::array::from_fn(|_| Target::default()),
            units: Vec::new(),
            tasks: Tasks::default(),
            ready: VecDeque::new(),
            unfinished: Vec::new(),
            polled: None,
            completions: Vec::new(),
            work: Work::default(),
        }
    }

    /// Tasks that ended with their status, and the bytes of all data phases. No reset sets it back.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// Puts a unit at target 0 to 15, LUN 0 to 7. It has just been powered on.
    ///
    /// # Errors
    /// There is no such place, or it is taken.
    pub fn attach(&mut self, target: u8, lun: u8, unit: LogicalUnit) -> Result<(), AttachError> {
        let place = self
            .targets
            .get_mut(usize::from(target))
            .ok_or(AttachError::NoTarget(target))?;
        let place = place.lun(lun).ok_or(AttachError::NoLun(lun))?;
        if place.unit.is_some() {
            return Err(AttachError::Taken { target, lun });
        }
        place.unit = Some(unit);
        place.attentions.add(Sense::POWER_ON);
        self.units.push((target, lun));
        Ok(())
    }

    /// Whether a target answers selection at this ID.
    #[must_use]
    pub fn responds(&self, target: u8) -> bool {
        self.targets
            .get(usize::from(target))
            .is_some_and(Target::exists)
    }

    /// How many bytes the CDB that starts with `operation_code` has: 6, 10, 12 or 16; the COMMAND phase
    /// goes on until the target has them. `None` in the groups that are reserved or left to vendors: the CDB is what the
    /// initiator sends in one go, at least [`Bus::SHORTEST_CDB`] bytes.
    #[must_use]
    pub fn cdb_length(operation_code: u8) -> Option<usize> {
        cdb::length(operation_code)
    }

    /// A whole CDB has arrived for this nexus. Never fails: what is wrong with the CDB, the LUN or the tag
    /// (overlapped commands, full task set) becomes the task's status. For a target or LUN that
    /// cannot be addressed at all (see [`Bus::responds`], [`Nexus::lun`]) the task is [`Want::Gone`] at once.
    pub fn begin(&mut self, nexus: Nexus, attribute: Attribute, cdb: &[u8]) -> TaskId {
        if !self.responds(nexus.target) || nexus.lun >= LUNS {
            return Tasks::STALE;
        }
        let Some(lun) = self.lun(nexus) else {
            return Tasks::STALE;
        };
        let command = Command::parse(cdb, nexus.lun, lun.kind());
        let previous_sense = lun.sense.take();
        let overlapped = lun.set.find(nexus.tag).is_some();
        // There is always room for REQUEST SENSE: refusing it would lose what it asks for.
        let full = lun.set.is_full() && !matches!(command, Ok(Command::RequestSense { .. }));
        let phase = if overlapped {
            self.abort_all(nexus.target, nexus.lun);
            Phase::check(Sense::OVERLAPPED)
        } else if full {
            Phase::Ended {
                status: TASK_SET_FULL,
                sense: None,
            }
        } else {
            Phase::Dormant
        };
        let refused = overlapped || full;
        // The sense data are of the task that has just ended: they are not kept waiting behind others (SAM-2
        // section 7.3 lets this command be HEAD OF QUEUE implicitly).
        // COMPARE AND WRITE is atomic (SBC-3 section 5.2): it waits for those before it and keeps those behind it back.
        let attribute = match command {
            Ok(Command::RequestSense { .. }) => Attribute::HeadOfQueue,
            Ok(Command::CompareAndWrite { .. }) if attribute == Attribute::Simple => {
                Attribute::Ordered
            }
            _ => attribute,
        };
        let task = self.tasks.insert(Task {
            nexus,
            operation: cdb.first().copied().unwrap_or(0),
            command,
            phase,
            previous_sense,
            attention: None,
            connected: true,
            listed: false,
        });
        let Some(lun) = self.lun(nexus) else {
            return task;
        };
        if refused {
            if let Some(oldest) = lun.refuse(task) {
                self.tasks.remove(oldest);
                self.forget_stale();
            }
        } else if lun.set.insert(task, nexus.tag, attribute) {
            self.start(task);
        }
        task
    }

    /// What the task needs next. After a wait it can be a data phase again: a long transfer goes in portions.
    #[must_use]
    pub fn want(&self, task: TaskId) -> Want {
        match self.tasks.get(task) {
            None => Want::Gone,
            Some(task) if self.is_held_back(task) => Want::Wait,
            Some(task) => task.phase.want(),
        }
    }

    /// The initiator does not let the task disconnect. A failed task that is held back would keep the bus for ever: it
    /// ends with BUSY, so that the initiator sends the command again.
    pub fn refuse_disconnect(&mut self, task: TaskId) {
        if self
            .tasks
            .get(task)
            .is_some_and(|task| self.is_held_back(task))
            && let Some(record) = self.tasks.get_mut(task)
        {
            record.phase = Phase::BUSY;
        }
    }

    /// A logical unit keeps the sense data of one command (contingent allegiance, SCSI-2 section 7.6). As long as they
    /// are kept no other task of the unit ends with CHECK CONDITION.
    fn is_held_back(&self, task: &Task) -> bool {
        let Phase::Ended { sense: Some(_), .. } = task.phase else {
            return false;
        };
        let Nexus { target, lun, .. } = task.nexus;
        let target = self.targets.get(usize::from(target));
        let lun = target.and_then(|target| target.luns.get(usize::from(lun)));
        lun.is_some_and(|lun| lun.sense.is_some())
    }

    /// The initiator let the task disconnect: it comes back through [`Bus::reselection`].
    pub fn disconnect(&mut self, task: TaskId) {
        if let Some(record) = self.tasks.get_mut(task) {
            record.connected = false;
            self.list(task);
        }
    }

    /// The next disconnected task that wants to go on, oldest first; it counts as connected from then on.
    pub fn reselection(&mut self) -> Option<(TaskId, Nexus)> {
        let place = self
            .ready
            .iter()
            .position(|&task| self.may_reselect(task))?;
        let id = self.ready.remove(place)?;
        let task = self.tasks.get_mut(id)?;
        task.listed = false;
        task.connected = true;
        Some((id, task.nexus))
    }

    /// Whether [`Bus::reselection`] would return a task.
    #[must_use]
    pub fn wants_reselection(&self) -> bool {
        self.ready.iter().any(|&task| self.may_reselect(task))
    }

    /// A listed task may have to wait again: for the sense data of another one to be fetched, or for its backend if guest
    /// RAM had to be used early.
    fn may_reselect(&self, task: TaskId) -> bool {
        self.want(task) != Want::Wait
    }

    /// Takes the backends' completions. Bounded; does not wait.
    pub fn poll(&mut self, now: Instant) {
        self.polled = Some(now);
        for place in 0..self.units.len() {
            let Some(&(target, lun)) = self.units.get(place) else {
                break;
            };
            let mut completions = std::mem::take(&mut self.completions);
            if let Some(unit) = self.unit(target, lun) {
                unit.medium_mut().reap(now, &mut completions);
            }
            self.complete(target, lun, completions);
        }
        for task in std::mem::take(&mut self.unfinished) {
            self.proceed(task);
        }
    }

    /// Looks again how large the units' media are, and makes requests that are held back again at the next [`Bus::poll`].
    /// Initiators learn of a new size by a unit attention condition.
    pub fn refresh(&mut self) {
        for place in 0..self.units.len() {
            if let Some(&(target, lun)) = self.units.get(place)
                && let Some(unit) = self.unit(target, lun)
            {
                unit.medium_mut().refresh();
            }
        }
    }

    /// Hands collected requests to the kernel. Called once at the end of each run.
    pub fn kick(&mut self) {
        for place in 0..self.units.len() {
            if let Some(&(target, lun)) = self.units.get(place)
                && let Some(unit) = self.unit(target, lun)
            {
                unit.medium_mut().kick();
            }
        }
    }

    /// The earliest of the backends' deadlines; the past if [`Bus::poll`] has something to go on with.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let backends = self
            .attached()
            .filter_map(|unit| unit.medium().deadline())
            .min();
        if self.unfinished.is_empty() {
            backends
        } else {
            self.polled.or_else(|| Some(Instant::now()))
        }
    }

    /// The backends' wake descriptors.
    #[must_use]
    pub fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.attached()
            .filter_map(|unit| unit.medium().wake_fd())
            .collect()
    }

    fn attached(&self) -> impl Iterator<Item = &LogicalUnit> {
        self.units.iter().filter_map(|&(target, lun)| {
            let target = self.targets.get(usize::from(target))?;
            target.luns.get(usize::from(lun))?.unit.as_ref()
        })
    }

    fn lun(&mut self, nexus: Nexus) -> Option<&mut Lun> {
        self.targets
            .get_mut(usize::from(nexus.target))?
            .lun(nexus.lun)
    }

    fn unit(&mut self, target: u8, lun: u8) -> Option<&mut LogicalUnit> {
        self.lun(Nexus {
            target,
            lun,
            tag: None,
        })?
        .unit
        .as_mut()
    }

    fn task_and_lun(&mut self, task: TaskId) -> Option<(&mut Task, &mut Lun)> {
        let task = self.tasks.get_mut(task)?;
        let nexus = task.nexus;
        let target = self.targets.get_mut(usize::from(nexus.target))?;
        Some((task, target.lun(nexus.lun)?))
    }

    /// A unit's backend becomes another one.
    #[cfg(test)]
    pub(crate) fn replace_backend(
        &mut self,
        target: u8,
        lun: u8,
        backend: outrigger_block::Backend,
    ) {
        if let Some(unit) = self.unit(target, lun) {
            unit.medium_mut().replace_backend(backend);
        }
    }

    /// How many tasks there are.
    #[cfg(test)]
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether a task has pieces of guest RAM.
    #[cfg(test)]
    pub(crate) fn holds_guest_memory(&self, task: TaskId) -> bool {
        match self.tasks.get(task).map(|task| &task.phase) {
            Some(Phase::Work { work, .. }) => work.holds_guest_memory(),
            _ => false,
        }
    }
}
