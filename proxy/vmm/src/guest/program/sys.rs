//! The guest's program, assembled from `driver.s` into a read-only section between two symbols, and its bytes.
#![expect(unsafe_code, reason = "assembly, and a slice between two symbols")]

use core::arch::global_asm;

use crate::guest::layout::{
    CODE, CONTROL, FREE_RING, INTERRUPT_LINE, QUEUE_SLOTS, REQUESTS, SCRIPTS_IMAGE, SEGMENTS,
    SENSE_OFFSET, SETUP_TABLE, control, done_slot, fatal, others, port, request, sense, start_slot,
    task,
};
use crate::guest::registers::{DSA, DSP, DSPS, DSTAT, ISTAT0, SIST0, SIST1, SIST1_STO, istat0};

global_asm!(
    include_str!("driver.s"),
    CONTROL = const CONTROL,
    FREE_RING = const FREE_RING,
    REQUESTS = const REQUESTS,
    SCRIPTS_IMAGE = const SCRIPTS_IMAGE,
    SETUP_TABLE = const SETUP_TABLE,
    QUEUE_MASK = const QUEUE_SLOTS - 1,
    SEGMENTS = const SEGMENTS,
    LINE = const INTERRUPT_LINE,
    PIC_MASK = const 0xff & !(1_u32 << INTERRUPT_LINE),
    PIC_LEVEL = const 1_u32 << INTERRUPT_LINE,
    SETUP_COUNT = const control::SETUP_COUNT,
    SCRIPTS_WORDS = const control::SCRIPTS_WORDS,
    BAR_IO = const control::BAR_IO,
    BAR_REGISTERS = const control::BAR_REGISTERS,
    BAR_SCRIPTS = const control::BAR_SCRIPTS,
    DEVICE_ID = const control::DEVICE_ID,
    ENTRY = const control::ENTRY,
    START = const control::START,
    IDLE = const control::IDLE,
    DATA_IN_END = const control::DATA_IN_END,
    DATA_OUT_END = const control::DATA_OUT_END,
    OVERRUN = const control::OVERRUN,
    SELECTION_FAILED = const control::SELECTION_FAILED,
    COUNT = const control::COUNT,
    SEGMENT_SHIFT = const control::SEGMENT_SHIFT,
    OTHERS = const control::OTHERS,
    OTHERS_SUBMIT = const others::SUBMIT,
    SUBMIT_LOCK = const control::SUBMIT_LOCK,
    LIMIT = const control::LIMIT,
    SUBMITTED = const control::SUBMITTED,
    COMPLETED = const control::COMPLETED,
    ERRORS = const control::ERRORS,
    INTERRUPTS = const control::INTERRUPTS,
    FATAL = const control::FATAL,
    FATAL_CHIP = const fatal::CHIP,
    FATAL_NO_DEVICE = const fatal::NO_DEVICE,
    FATAL_EXCEPTION = const fatal::EXCEPTION,
    START_POSITION = const control::START_POSITION,
    DONE_POSITION = const control::DONE_POSITION,
    FREE_HEAD = const control::FREE_HEAD,
    FREE_TAIL = const control::FREE_TAIL,
    READY = const control::READY,
    POLLS = const control::POLLS,
    ERROR_STATUS = const control::ERROR_STATUS,
    ERROR_DSPS = const control::ERROR_DSPS,
    ERROR_DSP = const control::ERROR_DSP,
    PORT_MARK = const port::MARK,
    PORT_REPORT = const port::REPORT,
    REPORT_DONE = const port::REPORT_DONE,
    REPORT_FAILED = const port::REPORT_FAILED,
    REQUEST_SHIFT = const request::BYTES.trailing_zeros(),
    REQUEST_CDB = const request::CDB,
    REQUEST_ADDRESS = const request::ADDRESS,
    REQUEST_LENGTH = const request::LENGTH,
    REQUEST_FLAGS = const request::FLAGS,
    REQUEST_RESULT = const request::RESULT,
    RESULT_DONE = const request::DONE,
    RESULT_NO_TARGET = const request::NO_TARGET,
    RESULT_SENSE = const request::SENSE,
    SENSE_OFFSET = const SENSE_OFFSET,
    SENSE_DATA = const sense::DATA,
    SENSE_LENGTH = const sense::LENGTH,
    TASK_SELECT = const task::SELECT,
    TASK_DATA_IN = const task::DATA_IN,
    TASK_DATA_OUT = const task::DATA_OUT,
    TASK_REQUEST = const task::REQUEST,
    TASK_COMMAND = const task::COMMAND,
    TASK_MESSAGE_BYTES = const task::MESSAGE_BYTES,
    TASK_STATUS_BYTE = const task::STATUS_BYTE,
    TASK_SEGMENTS = const task::SEGMENTS,
    TASK_LAST_SEGMENT = const task::LAST_SEGMENT,
    SLOT_JUMP = const start_slot::JUMP,
    SLOT_TASK = const start_slot::TASK,
    SLOT_NEXT = const start_slot::NEXT,
    DONE_TASK = const done_slot::TASK,
    DONE_NEXT = const done_slot::NEXT,
    DSTAT = const DSTAT,
    DSA = const DSA,
    ISTAT0 = const ISTAT0,
    DSP = const DSP,
    DSPS = const DSPS,
    SIST0 = const SIST0,
    SIST1 = const SIST1,
    STO = const SIST1_STO,
    INTF = const istat0::INTF,
    SIP = const istat0::SIP,
    DIP = const istat0::DIP,
    SIGP = const istat0::SIGP,
    SRST = const istat0::SRST,
);

unsafe extern "C" {
    /// The program's first byte.
    safe static outrigger_guest_begin: u8;
    /// The byte after its last.
    safe static outrigger_guest_end: u8;
}

/// The program's bytes.
pub(super) fn bytes() -> &'static [u8] {
    let begin = &raw const outrigger_guest_begin;
    let end = &raw const outrigger_guest_end;
    let length = end.addr() - begin.addr();
    // SAFETY: the assembly above places both symbols in one read-only section, with the program's bytes and nothing
    // else between them; they are part of this executable and never change.
    unsafe { core::slice::from_raw_parts(begin, length) }
}

/// The program refers to fixed places only, but the stack and the descriptor tables must not overlap it.
const _: () = assert!(CODE < crate::guest::layout::STACK_TOP);
