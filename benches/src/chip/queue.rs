//! The device under a driver's SCRIPTS: requests go from the start queue to the done queue, as those of the reference guest do.

use anyhow::{Result, bail};
use outrigger_device::device::Progress;
use outrigger_ring::{Access, Width};
use outrigger_vmm::guest::layout::{START_QUEUE, TASKS, start_slot, task};
use outrigger_vmm::guest::queues;
use outrigger_vmm::guest::registers::{DSP, ISTAT0, istat0};
use outrigger_vmm::guest::scripts::Scripts;

use super::{CDB, CONFIG_REGION, Chip, READ_BYTES, register};
use crate::cdbs;

/// Where the guest puts SCRIPTS RAM.
const SCRIPTS_RAM: u32 = 0xfe00_2000;
const SCRIPTS_REGION: u8 = 2;
/// BAR 2 in config space.
const BAR_2: u64 = 0x18;
/// Where the data go.
const BUFFERS: u32 = 0x10_0000;

/// Requests of a [`Queue::run`].
pub const REQUESTS: u32 = 16;

/// A chip that waits for requests, each a READ (10) of [`READ_BYTES`] with a tag of its own.
#[derive(Debug)]
pub struct Queue {
    chip: Chip,
    /// What a slot with a task says.
    start: u32,
    /// What an empty slot says.
    idle: u32,
    /// The next slot.
    slot: u32,
}

impl Queue {
    /// Loads and starts the SCRIPTS.
    ///
    /// # Errors
    /// If there is no memory for it, or it does not work.
    pub fn new() -> Result<Self> {
        let scripts = Scripts::assemble(SCRIPTS_RAM)?;
        let mut queue = Self {
            chip: Chip::new()?,
            start: scripts.start,
            idle: scripts.idle,
            slot: START_QUEUE,
        };
        queue.load(&scripts);
        queue.fill(&scripts)?;
        let entry = register(DSP, Width::Dword);
        queue.chip.function.write(entry, scripts.entry.into());
        queue.rest();
        Ok(queue)
    }

    /// Puts [`REQUESTS`] requests into the start queue, signals them once, and runs the chip until they are done.
    ///
    /// # Errors
    /// One does not end with GOOD.
    pub fn run(&mut self) -> Result<()> {
        for block in blocks() {
            self.chip.ram.store(block + task::STATUS_BYTE, 0xff)?;
            let following = self.chip.ram.load(self.slot + start_slot::NEXT)?;
            self.chip
                .ram
                .store(following + start_slot::JUMP, self.idle)?;
            self.chip.ram.store(self.slot + start_slot::TASK, block)?;
            self.chip
                .ram
                .store(self.slot + start_slot::JUMP, self.start)?;
            self.slot = following;
        }
        self.write_istat0(istat0::SIGP);
        self.rest();
        self.write_istat0(istat0::INTF);
        for block in blocks() {
            let status = self.chip.ram.load(block + task::STATUS_BYTE)? & 0xff;
            if status != 0 {
                bail!("task {block:#x}: status {status:#x}");
            }
        }
        Ok(())
    }

    fn write_istat0(&mut self, value: u8) {
        let istat0 = register(ISTAT0, Width::Byte);
        self.chip.function.write(istat0, value.into());
    }

    /// Runs the chip until it waits.
    fn rest(&mut self) {
        let now = std::time::Instant::now();
        while self.chip.function.run(now) == Progress::More {}
    }

    fn load(&mut self, scripts: &Scripts) {
        let access = |region, offset| Access {
            region,
            offset,
            width: Width::Dword,
        };
        let function = &mut self.chip.function;
        function.write(access(CONFIG_REGION, BAR_2), SCRIPTS_RAM.into());
        let (words, _) = scripts.image.as_chunks();
        for (offset, word) in (0..).step_by(4).zip(words) {
            let word = u32::from_le_bytes(*word);
            function.write(access(SCRIPTS_REGION, offset), word.into());
        }
    }

    /// Makes each task block a request.
    fn fill(&mut self, scripts: &Scripts) -> Result<()> {
        queues::lay_out(&self.chip.ram, scripts, REQUESTS)?;
        self.chip.ram.write(CDB.into(), cdbs::READ_10)?;
        for (index, block) in (0..).zip(blocks()) {
            for (offset, value) in [
                // Target 0.
                (task::SELECT, 0),
                (task::DATA_IN, scripts.data_in_end - 8),
                (task::COMMAND, u32::try_from(cdbs::READ_10.len())?),
                (task::COMMAND + 4, CDB),
                (task::LAST_SEGMENT, READ_BYTES),
                (task::LAST_SEGMENT + 4, BUFFERS + index * READ_BYTES),
            ] {
                self.chip.ram.store(block + offset, value)?;
            }
        }
        Ok(())
    }
}

/// The task blocks.
fn blocks() -> impl Iterator<Item = u32> {
    (0..REQUESTS).map(|index| TASKS + index * task::BYTES)
}

#[cfg(test)]
mod tests {
    use outrigger_vmm::guest::layout::QUEUE_SLOTS;

    use super::*;

    #[test]
    fn requests_go_all_the_way_again_and_again() {
        let mut queue = Queue::new().unwrap();
        for round in 1..=QUEUE_SLOTS / REQUESTS + 1 {
            queue.run().unwrap();
            assert_eq!(
                queue.chip.function.work().requests,
                u64::from(round * REQUESTS) + 2
            );
        }
        let mut data = vec![0; (REQUESTS * READ_BYTES) as usize];
        queue.chip.ram.read(BUFFERS.into(), &mut data).unwrap();
        assert!(data.iter().all(|&byte| byte == 7));
    }
}
