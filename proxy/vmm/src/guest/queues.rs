//! Step 7, the other side: task blocks, the tag table and the three queues, as the SCRIPTS and the driver find them.

use super::layout::{
    DONE_QUEUE, FREE_RING, QUEUE_SLOTS, SENSE_OFFSET, START_QUEUE, TAG_TABLE, TASK_COUNT, TASKS,
    done_slot, sense, start_slot, task,
};
use super::scripts::Scripts;
use crate::error::VmmError;
use crate::ram::Ram;

/// Lays out everything that is in guest RAM for the SCRIPTS before the first request; `depth` of the tasks are free.
///
/// # Errors
/// RAM is smaller than the layout.
pub fn lay_out(ram: &Ram, scripts: &Scripts, depth: u32) -> Result<(), VmmError> {
    ram.write(TASKS.into(), &[0; 2 * SENSE_OFFSET as usize])?;
    for index in 0..TASK_COUNT {
        let block = TASKS + index * task::BYTES;
        // A tag is its task's offset in the tag table.
        let tag = index * 4;
        ram.store(TAG_TABLE + tag, block)?;
        for (offset, value) in [
            (task::DATA_IN, scripts.overrun),
            (task::DATA_OUT, scripts.overrun),
            (task::MESSAGE, 3),
            (task::MESSAGE + 4, block + task::MESSAGE_BYTES),
            (task::STATUS, 1),
            (task::STATUS + 4, block + task::STATUS_BYTE),
            (task::MESSAGE_BYTES, 0xc0 | 0x20 << 8 | tag << 16),
            (task::FAILED, scripts.fetch_sense),
            (task::SENSE_TASK, block + SENSE_OFFSET),
            (task::SENSE_SLOT_ADDRESS, block + task::SENSE_SLOT),
            (task::SENSE_SLOT + start_slot::JUMP, scripts.start),
            (task::SENSE_SLOT + start_slot::TASK, block + SENSE_OFFSET),
        ] {
            ram.store(block + offset, value)?;
        }
        request_sense(ram, scripts, block + SENSE_OFFSET)?;
        if index < depth {
            ram.store(FREE_RING + 4 * index, block)?;
        }
    }
    for slot in 0..QUEUE_SLOTS {
        let next = (slot + 1) % QUEUE_SLOTS;
        let start = START_QUEUE + slot * start_slot::BYTES;
        ram.store(start + start_slot::JUMP, scripts.idle)?;
        ram.store(start + start_slot::TASK, 0)?;
        ram.store(
            start + start_slot::NEXT,
            START_QUEUE + next * start_slot::BYTES,
        )?;
        let done = DONE_QUEUE + slot * done_slot::BYTES;
        ram.store(done + done_slot::TASK, 0)?;
        ram.store(done + done_slot::NEXT, DONE_QUEUE + next * done_slot::BYTES)?;
    }
    Ok(())
}

/// A task block of REQUEST SENSE. The SCRIPTS put in whom it is for.
fn request_sense(ram: &Ram, scripts: &Scripts, block: u32) -> Result<(), VmmError> {
    const CDB: [u32; 2] = [0x03, sense::LENGTH];
    for (offset, value) in [
        (task::DATA_IN, scripts.data_in_end - 8),
        (task::DATA_OUT, scripts.overrun),
        (task::MESSAGE, 1),
        (task::MESSAGE + 4, block + task::MESSAGE_BYTES),
        (task::COMMAND, 6),
        (task::COMMAND + 4, block + sense::CDB),
        (task::STATUS, 1),
        (task::STATUS + 4, block + task::STATUS_BYTE),
        // Sense data for sense data there are none.
        (task::FAILED, scripts.complete),
        (task::LAST_SEGMENT, sense::LENGTH),
        (task::LAST_SEGMENT + 4, block + sense::DATA),
        (sense::CDB, CDB[0]),
        (sense::CDB + 4, CDB[1]),
    ] {
        ram.store(block + offset, value)?;
    }
    Ok(())
}
