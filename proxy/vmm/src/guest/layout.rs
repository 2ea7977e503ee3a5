//! Where things lie in guest RAM: the contract between the host, the guest's program and its SCRIPTS.
//!
//! All words are little-endian and 32 bits wide. One side writes each word; who, is said at its name.

/// The control block.
pub const CONTROL: u32 = 0x1000;
/// Global descriptor table.
pub const GDT: u32 = 0x2000;
/// Interrupt descriptor table, 256 entries.
pub const IDT: u32 = 0x3000;
/// The guest's program.
pub const CODE: u32 = 0x1_0000;
/// Top of the first vCPU's stack; the next one's is [`STACK_BYTES`] higher.
pub const STACK_TOP: u32 = 0x2_1000;
/// Bytes per stack.
pub const STACK_BYTES: u32 = 0x1000;
/// The bytes that the guest copies into SCRIPTS RAM.
pub const SCRIPTS_IMAGE: u32 = 0x3_0000;
/// The task blocks, then those of REQUEST SENSE.
pub const TASKS: u32 = 0x4_0000;
/// The start queue.
pub const START_QUEUE: u32 = 0x5_0000;
/// The done queue.
pub const DONE_QUEUE: u32 = 0x5_1000;
/// The task of each tag: a word at the tag's own offset. Aligned to 256.
pub const TAG_TABLE: u32 = 0x5_2000;
/// Where SCRIPTS put message bytes.
pub const MESSAGES: u32 = 0x5_3000;
/// Ring of free task blocks: written by the vCPU that completes, read by the one that submits.
pub const FREE_RING: u32 = 0x5_4000;
/// Pairs (register, value) that set the chip up: a word each, `register << 8 | value`.
pub const SETUP_TABLE: u32 = 0x5_5000;
/// The requests.
pub const REQUESTS: u32 = 0x10_0000;
/// From here on RAM is the workload's.
pub const BUFFERS: u32 = 0x100_0000;

/// The most vCPUs: as many as there is room for stacks.
pub const MAX_VCPUS: u32 = (SCRIPTS_IMAGE - STACK_TOP) / STACK_BYTES + 1;

/// Task blocks, and so the greatest queue depth.
pub const TASK_COUNT: u32 = 64;
/// Places in the start and the done queue and in the ring of free tasks: a power of two, more than tasks.
pub const QUEUE_SLOTS: u32 = 128;
/// From a task block to its task block of REQUEST SENSE: a bit that no task block's address has.
pub const SENSE_OFFSET: u32 = TASK_COUNT * task::BYTES;
const _: () = assert!(SENSE_OFFSET.is_power_of_two() && TASKS.is_multiple_of(2 * SENSE_OFFSET));
/// Data segments per task.
pub const SEGMENTS: u32 = 16;
/// Most requests per run.
pub const MAX_REQUESTS: u32 = (BUFFERS - REQUESTS) / request::BYTES;

/// A task block: what DSA points to while the task is current.
pub mod task {
    /// Bytes per task block.
    pub const BYTES: u32 = 256;
    /// Table entry of SELECT: SCNTL3, ID, SXFER, reserved.
    pub const SELECT: u32 = 0x00;
    /// Where DATA IN goes on.
    pub const DATA_IN: u32 = 0x04;
    /// Where DATA OUT goes on.
    pub const DATA_OUT: u32 = 0x08;
    /// The request's address (driver only).
    pub const REQUEST: u32 = 0x0c;
    /// Table entry: MESSAGE OUT.
    pub const MESSAGE: u32 = 0x10;
    /// Table entry: COMMAND.
    pub const COMMAND: u32 = 0x18;
    /// Table entry: STATUS.
    pub const STATUS: u32 = 0x20;
    /// The message out: IDENTIFY, SIMPLE, tag.
    pub const MESSAGE_BYTES: u32 = 0x28;
    /// The status byte.
    pub const STATUS_BYTE: u32 = 0x2c;
    /// Where CHECK CONDITION leads.
    pub const FAILED: u32 = 0x30;
    /// The task block of REQUEST SENSE.
    pub const SENSE_TASK: u32 = 0x34;
    /// The address of the slot at [`SENSE_SLOT`].
    pub const SENSE_SLOT_ADDRESS: u32 = 0x38;
    /// Table entries of the data, [`super::SEGMENTS`] of them; a task with fewer uses the last.
    pub const SEGMENTS: u32 = 0x40;
    /// The last of them.
    pub const LAST_SEGMENT: u32 = SEGMENTS + 8 * (super::SEGMENTS - 1);
    /// A place in front of the start queue, with REQUEST SENSE.
    pub const SENSE_SLOT: u32 = 0xc0;
    const _: () = assert!(LAST_SEGMENT + 8 <= SENSE_SLOT);
}

/// What a task block of REQUEST SENSE has besides.
pub mod sense {
    /// The CDB.
    pub const CDB: u32 = 0xd0;
    /// The sense data.
    pub const DATA: u32 = 0xe0;
    /// Bytes of sense data.
    pub const LENGTH: u32 = 18;
    const _: () = assert!(DATA + LENGTH <= super::task::BYTES);
}

/// A place in the start queue.
pub mod start_slot {
    /// Bytes per place.
    pub const BYTES: u32 = 16;
    /// Where SCRIPTS jump to: their `start` or their `idle`.
    pub const JUMP: u32 = 0;
    /// The task block.
    pub const TASK: u32 = 4;
    /// The next place.
    pub const NEXT: u32 = 8;
}

/// A place in the done queue.
pub mod done_slot {
    /// Bytes per place.
    pub const BYTES: u32 = 8;
    /// The task block; 0 while empty.
    pub const TASK: u32 = 0;
    /// The next place.
    pub const NEXT: u32 = 4;
}

/// A request.
pub mod request {
    /// Bytes per request.
    pub const BYTES: u32 = 32;
    /// The CDB, 16 bytes. With [`SENSE`] in the result, the first 16 bytes of the sense data.
    pub const CDB: u32 = 0;
    /// Address of the data.
    pub const ADDRESS: u32 = 16;
    /// Bytes of data.
    pub const LENGTH: u32 = 20;
    /// Target, LUN, direction (1 is out), length of the CDB: a byte each.
    pub const FLAGS: u32 = 24;
    /// 0 until done, then [`DONE`] and the status, or [`DONE`], [`NO_TARGET`].
    pub const RESULT: u32 = 28;
    /// In the result: the request is done.
    pub const DONE: u32 = 0x100;
    /// In the result: nothing answered the selection.
    pub const NO_TARGET: u32 = 0x200;
    /// In the result: REQUEST SENSE succeeded.
    pub const SENSE: u32 = 0x400;
}

/// The words of the control block, as byte offsets.
pub mod control {
    /// Bytes of the control block.
    pub const BYTES: u32 = 0x100;

    // Written by the host before the run.

    /// How many words [`super::SETUP_TABLE`] has.
    pub const SETUP_COUNT: u32 = 0x00;
    /// How many words [`super::SCRIPTS_IMAGE`] has.
    pub const SCRIPTS_WORDS: u32 = 0x04;
    /// Base of the I/O BAR.
    pub const BAR_IO: u32 = 0x08;
    /// Base of the register BAR.
    pub const BAR_REGISTERS: u32 = 0x0c;
    /// Base of the SCRIPTS RAM BAR.
    pub const BAR_SCRIPTS: u32 = 0x10;
    /// What config space must read at offset 0.
    pub const DEVICE_ID: u32 = 0x14;
    /// SCRIPTS: where the chip begins.
    pub const ENTRY: u32 = 0x18;
    /// SCRIPTS: `start`, for a slot with a task.
    pub const START: u32 = 0x1c;
    /// SCRIPTS: `idle`, for a slot without.
    pub const IDLE: u32 = 0x20;
    /// SCRIPTS: the end of the DATA IN moves.
    pub const DATA_IN_END: u32 = 0x24;
    /// SCRIPTS: the end of the DATA OUT moves.
    pub const DATA_OUT_END: u32 = 0x28;
    /// SCRIPTS: where a data phase that no request asked for ends.
    pub const OVERRUN: u32 = 0x2c;
    /// SCRIPTS: where to go on after a selection time-out.
    pub const SELECTION_FAILED: u32 = 0x30;
    /// How many requests there are.
    pub const COUNT: u32 = 0x34;
    /// Bytes per data segment, as a power of two.
    pub const SEGMENT_SHIFT: u32 = 0x38;
    /// What the vCPUs after the first do, one of [`super::others`].
    pub const OTHERS: u32 = 0x3c;
    /// Requests below this may be started; the host raises it while the guest runs.
    pub const LIMIT: u32 = 0x40;

    // Written by the guest; the free ring's tail and the two positions start as the host sets them.

    /// Requests started. Submitter.
    pub const SUBMITTED: u32 = 0x44;
    /// Requests done. Completer.
    pub const COMPLETED: u32 = 0x48;
    /// Requests done with a status that is not GOOD. Completer.
    pub const ERRORS: u32 = 0x4c;
    /// Interrupts taken. Completer.
    pub const INTERRUPTS: u32 = 0x50;
    /// 0, or one of [`super::fatal`].
    pub const FATAL: u32 = 0x54;
    /// The next place of the start queue, an address. Submitter.
    pub const START_POSITION: u32 = 0x58;
    /// The next place of the done queue, an address. Completer.
    pub const DONE_POSITION: u32 = 0x5c;
    /// Free tasks taken, ever. Submitter.
    pub const FREE_HEAD: u32 = 0x60;
    /// Free tasks given, ever. Completer.
    pub const FREE_TAIL: u32 = 0x64;
    /// The chip is set up. First vCPU.
    pub const READY: u32 = 0x68;
    /// Reads of ISTAT0 by a second vCPU.
    pub const POLLS: u32 = 0x6c;
    /// At a chip error, a byte each from the top: SIST0, ISTAT0, DSTAT, SIST1.
    pub const ERROR_STATUS: u32 = 0x70;
    /// At a chip error: DSPS.
    pub const ERROR_DSPS: u32 = 0x74;
    /// At a chip error: DSP.
    pub const ERROR_DSP: u32 = 0x78;
    /// 1 while one of the vCPUs after the first submits. Whoever makes it 1.
    pub const SUBMIT_LOCK: u32 = 0x7c;
}

/// What the vCPUs after the first do.
pub mod others {
    /// There are none.
    pub const NONE: u32 = 0;
    /// They build and submit every request; the first completes them.
    pub const SUBMIT: u32 = 1;
    /// There is one, which reads ISTAT0 until the first is done.
    pub const POLL: u32 = 2;
}

/// Why a run could not go on.
pub mod fatal {
    /// The chip stopped with an error.
    pub const CHIP: u32 = 1;
    /// Another device, or none, is where the chip should be.
    pub const NO_DEVICE: u32 = 2;
    /// The processor met an exception.
    pub const EXCEPTION: u32 = 3;
}

/// Ports of the machine itself.
pub mod port {
    /// Text for the host, a byte at a time.
    pub const DEBUG: u16 = 0xe9;
    /// A vCPU's last word: 1 done, 2 failed.
    pub const REPORT: u16 = 0xf4;
    /// The device is set up, the work begins; any value.
    pub const MARK: u16 = 0xf5;
    /// A vCPU's run ended as it should.
    pub const REPORT_DONE: u32 = 1;
    /// A vCPU's run failed; the control block says why.
    pub const REPORT_FAILED: u32 = 2;
}

/// The interrupt line that INTA of the device is wired to.
pub const INTERRUPT_LINE: u8 = 5;
