//! Step 8, SCSI: the data phases: bytes between a task and guest RAM, or the initiator's own registers.

use super::Bus;
use crate::scsi::TaskId;
use crate::scsi::task::Phase;
use outrigger_device::dma::{Fault, Gate};

impl Bus {
    /// Moves `count` bytes (at most what [`Bus::want`] says is left) between the task and guest RAM at `address`,
    /// in the direction that `want` says.
    ///
    /// # Errors
    /// A part of guest RAM cannot be reached: nothing has moved.
    pub fn transfer(
        &mut self,
        dma: &Gate,
        task: TaskId,
        address: u64,
        count: u32,
    ) -> Result<(), Fault> {
        let Some((record, lun)) = self.task_and_lun(task) else {
            return Ok(());
        };
        let count = record.data_left().min(count);
        if count == 0 {
            return Ok(());
        }
        match &mut record.phase {
            Phase::Answer { bytes, at } => {
                let end = bytes.len().min(*at + count as usize);
                dma.write(address, bytes.get(*at..end).unwrap_or_default())?;
                *at = end;
            }
            Phase::Parameters { bytes, .. } => {
                let start = bytes.len();
                bytes.resize(start + count as usize, 0);
                let new = bytes.get_mut(start..).unwrap_or_default();
                if let Err(fault) = dma.read(address, new) {
                    bytes.truncate(start);
                    return Err(fault);
                }
            }
            Phase::Work { work, .. } => {
                if let Some(unit) = &mut lun.unit {
                    work.transfer(dma, address, count, &mut unit.medium_mut().spare)?;
                }
            }
            Phase::Dormant | Phase::Ended { .. } => {}
        }
        self.work.bytes += u64::from(count);
        self.proceed(task);
        Ok(())
    }

    /// The same with bytes that the initiator holds itself (SWIDE, SODL, byte-by-byte transfers). Returns how many
    /// bytes have moved, from the front: fewer than asked for if the medium must be read first. Then the
    /// task wants to wait, and the rest can be moved when it wants a data phase again.
    #[must_use = "bytes of the medium may have to be waited for"]
    pub fn transfer_bytes(&mut self, task: TaskId, bytes: &mut [u8]) -> usize {
        let mut moved = 0;
        while let Some(rest) = bytes.get_mut(moved..).filter(|rest| !rest.is_empty()) {
            let now = self.transfer_some(task, rest);
            moved += now;
            // Without progress: the data phase is over, or the medium is being read.
            if now == 0
                && self
                    .tasks
                    .get(task)
                    .is_none_or(|task| task.data_left() == 0)
            {
                break;
            }
        }
        moved
    }

    /// Whether the bytes that [`Bus::transfer`] has moved to guest RAM so far are there. If not, what has been named
    /// is read now; a later call tells.
    pub fn land(&mut self, task: TaskId) -> bool {
        if self.is_landed(task) {
            return true;
        }
        self.proceed(task);
        self.is_landed(task)
    }

    fn is_landed(&mut self, task: TaskId) -> bool {
        match self.tasks.get_mut(task).map(|task| &mut task.phase) {
            Some(Phase::Work { work, in_flight }) => !work.flush_gathered() && in_flight.is_none(),
            _ => true,
        }
    }

    fn transfer_some(&mut self, task: TaskId, bytes: &mut [u8]) -> usize {
        let Some((record, _)) = self.task_and_lun(task) else {
            return 0;
        };
        let count = bytes.len().min(record.data_left() as usize);
        let Some(bytes) = bytes.get_mut(..count) else {
            return 0;
        };
        let moved = match &mut record.phase {
            Phase::Answer { bytes: answer, at } => {
                let left = answer.get(*at..).unwrap_or_default();
                for (to, from) in bytes.iter_mut().zip(left) {
                    *to = *from;
                }
                *at += count;
                count
            }
            Phase::Parameters { bytes: list, .. } => {
                list.extend_from_slice(bytes);
                count
            }
            Phase::Work { work, .. } => work.transfer_bytes(bytes),
            Phase::Dormant | Phase::Ended { .. } => 0,
        };
        self.work.bytes += moved as u64;
        self.proceed(task);
        moved
    }
}
