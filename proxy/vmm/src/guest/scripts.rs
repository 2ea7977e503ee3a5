//! Step 7, the other side: the SCRIPTS that the driver keeps in the chip's SCRIPTS RAM.
//!
//! They run without the processor: fetch the next task from the start queue, select its target, follow the target
//! through its phases, put the task into the done queue, interrupt on the fly, and go on. When the queue is empty
//! they rest in WAIT RESELECT, from which ISTAT0.SIGP or a target brings them back.
//!
//! - A slot of the start queue says where to jump, so an empty queue needs no test: its slot says `idle`.
//! - DSA is the current task. A tag is its task's offset in the tag table, so finding a reselected task is one
//!   register move and one load.
//! - Each task says where its data phase goes on. If the target leaves a data phase early, the chip jumps to
//!   `phase_mismatch`, which shortens the table entry that was in use and makes its move the one to go on with.
//! - A target keeps the sense data of CHECK CONDITION for the next command (SAM-2 section 5.9.1). So a task that fails
//!   puts a place with its REQUEST SENSE in front of the start queue, and it is that which comes into the done queue.

use super::assembler::{
    Address, AssembleError, Assembler, Condition, Label, Operator, Phase, signal,
};
use super::layout::{
    DONE_QUEUE, MESSAGES, SEGMENTS, START_QUEUE, TAG_TABLE, done_slot, start_slot, task,
};
use super::registers::{CTEST2, DSA, ESA, IA, RBC, SCNTL2, SCRATCHA, SCRATCHB, SIDL, TEMP, UA};

mod sense;

/// The codes of INT instructions, as DSPS shows them.
pub mod code {
    /// The target asked for more data than the request has, or in the other direction.
    pub const OVERRUN: u32 = 1;
    /// The target went to a phase that makes no sense here.
    pub const PHASE: u32 = 2;
    /// A message that the driver does not know.
    pub const MESSAGE: u32 = 3;
    /// A reselection that is not IDENTIFY and a simple tag.
    pub const RESELECTION: u32 = 4;
    /// STATUS was not followed by COMMAND COMPLETE.
    pub const COMPLETION: u32 = 5;
}

/// The program, and the addresses in it that the driver must know.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// The bytes for SCRIPTS RAM.
    pub image: Vec<u8>,
    /// Where the chip begins.
    pub entry: u32,
    /// What a slot with a task says.
    pub start: u32,
    /// What an empty slot says.
    pub idle: u32,
    /// The end of the DATA IN moves; a task with n segments begins n moves before it.
    pub data_in_end: u32,
    /// The same for DATA OUT.
    pub data_out_end: u32,
    /// Where a direction without data leads.
    pub overrun: u32,
    /// What PMJAD1 and PMJAD2 say.
    pub phase_mismatch: u32,
    /// Where to go on after a selection time-out: the task is skipped.
    pub selection_failed: u32,
    /// Where a task's CHECK CONDITION leads.
    pub fetch_sense: u32,
    /// Where that of its REQUEST SENSE leads.
    pub complete: u32,
}

/// The labels that several pieces share.
#[derive(Debug)]
struct Labels {
    schedule: Label,
    dispatch: Label,
    reselected: Label,
    overrun: Label,
    start_position: Label,
    done_position: Label,
    tag_table: Label,
    current: Label,
    entry: Label,
}

/// Values of SCRATCHB0: the data phase that a move is in.
const NO_DATA: u8 = 0;
const IN_DATA: u8 = 1;
const OUT_DATA: u8 = 2;

/// Status bytes.
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;

const fn table(offset: u32) -> i32 {
    offset.cast_signed()
}

impl Scripts {
    /// The program for SCRIPTS RAM at `base`.
    ///
    /// # Errors
    /// None for the program as it stands; the assembler's.
    pub fn assemble(base: u32) -> Result<Self, AssembleError> {
        let mut s = Assembler::new(base);
        let labels = Labels {
            schedule: s.label(),
            dispatch: s.label(),
            reselected: s.label(),
            overrun: s.label(),
            start_position: s.label(),
            done_position: s.label(),
            tag_table: s.label(),
            current: s.label(),
            entry: s.label(),
        };
        let entry = s.bound_label();
        s.modify(SCRATCHB, Operator::Move, NO_DATA);
        let idle = schedule(&mut s, &labels);
        let start = start(&mut s, &labels);
        let selection_failed = s.bound_label();
        s.store(SCRATCHA, 4, labels.start_position);
        s.jump(labels.schedule, Condition::ALWAYS);
        let complete = s.label();
        let [data_in, data_out] = dispatch(&mut s, &labels, complete);
        completion(&mut s, &labels, complete);
        let fetch_sense = sense::fetch(&mut s, &labels);
        reselected(&mut s, &labels);
        let data_in_end = data(&mut s, &labels, data_in, Phase::DataIn);
        let data_out_end = data(&mut s, &labels, data_out, Phase::DataOut);
        s.bind(labels.overrun);
        s.interrupt(code::OVERRUN, Condition::ALWAYS);
        let phase_mismatch = phase_mismatch(&mut s, &labels);
        for (label, value) in [
            (labels.start_position, START_QUEUE),
            (labels.done_position, DONE_QUEUE),
            (labels.tag_table, TAG_TABLE),
            (labels.current, 0),
            (labels.entry, 0),
        ] {
            s.bind(label);
            s.word(value);
        }
        let program = s.finish()?;
        Ok(Self {
            entry: program.address(entry)?,
            start: program.address(start)?,
            idle: program.address(idle)?,
            data_in_end: program.address(data_in_end)?,
            data_out_end: program.address(data_out_end)?,
            overrun: program.address(labels.overrun)?,
            phase_mismatch: program.address(phase_mismatch)?,
            selection_failed: program.address(selection_failed)?,
            fetch_sense: program.address(fetch_sense)?,
            complete: program.address(complete)?,
            image: program.bytes().to_vec(),
        })
    }
}

/// Looks at the next slot, or rests. SIGP is taken back before the look, so a signal that comes after it is seen by
/// WAIT RESELECT.
fn schedule(s: &mut Assembler, labels: &Labels) -> Label {
    s.bind(labels.schedule);
    s.to_sfbr(CTEST2, Operator::Or, 0);
    s.load(DSA, 4, labels.start_position);
    s.load_table(TEMP, 4, table(start_slot::JUMP));
    s.ret(Condition::ALWAYS);
    let idle = s.bound_label();
    s.wait_reselect(labels.schedule);
    s.jump(labels.reselected, Condition::ALWAYS);
    idle
}

/// Connects to the task's target and sends messages and command. DSA is the slot. The position moves on only
/// once the target has answered: a reselection may win instead, and then this slot comes again.
fn start(s: &mut Assembler, labels: &Labels) -> Label {
    let start = s.bound_label();
    let silent = s.label();
    s.load_table(SCRATCHA, 4, table(start_slot::NEXT));
    s.load_table(DSA, 4, table(start_slot::TASK));
    s.select_table(table(task::SELECT), true, labels.reselected);
    s.jump(silent, Condition::when_not(Phase::MessageOut));
    s.move_table(table(task::MESSAGE), Phase::MessageOut);
    s.store(SCRATCHA, 4, labels.start_position);
    s.jump(labels.dispatch, Condition::when_not(Phase::Command));
    s.move_table(table(task::COMMAND), Phase::Command);
    s.jump(labels.dispatch, Condition::ALWAYS);
    // A target that takes no messages.
    s.bind(silent);
    s.clear(signal::ATN);
    s.store(SCRATCHA, 4, labels.start_position);
    s.jump(labels.dispatch, Condition::ALWAYS);
    start
}

/// Goes where the target wants to go. Returns the labels of the data phases, to be bound by [`data`].
fn dispatch(s: &mut Assembler, labels: &Labels, complete: Label) -> [Label; 2] {
    let [data_in, data_out, message, command] = [s.label(), s.label(), s.label(), s.label()];
    s.bind(labels.dispatch);
    s.jump(message, Condition::when(Phase::MessageIn));
    s.jump(data_in, Condition::if_phase(Phase::DataIn));
    s.jump(data_out, Condition::if_phase(Phase::DataOut));
    s.jump(command, Condition::if_phase(Phase::Command));
    s.interrupt(code::PHASE, Condition::if_not_phase(Phase::Status));
    s.move_table(table(task::STATUS), Phase::Status);
    // SFBR is the status.
    s.jump(
        complete,
        Condition::when(Phase::MessageIn).and_data(GOOD, 0),
    );
    s.interrupt(code::COMPLETION, Condition::if_not_phase(Phase::MessageIn));
    s.jump(complete, Condition::if_not_data(CHECK_CONDITION));
    s.load_table(TEMP, 4, table(task::FAILED));
    s.ret(Condition::ALWAYS);
    s.bind(command);
    s.move_table(table(task::COMMAND), Phase::Command);
    s.jump(labels.dispatch, Condition::ALWAYS);

    // Messages on the way: the pointers are saved as soon as a data phase breaks off, so SAVE and RESTORE DATA
    // POINTER need nothing more.
    s.bind(message);
    let [accept, disconnect] = [s.label(), s.label()];
    s.move_direct(1, MESSAGES, Phase::MessageIn);
    s.jump(disconnect, Condition::if_data(0x04));
    s.jump(accept, Condition::if_data(0x02));
    s.jump(accept, Condition::if_data(0x03));
    s.interrupt(code::MESSAGE, Condition::ALWAYS);
    s.bind(accept);
    s.clear(signal::ACK);
    s.jump(labels.dispatch, Condition::ALWAYS);
    s.bind(disconnect);
    part(s);
    s.jump(labels.schedule, Condition::ALWAYS);
    [data_in, data_out]
}

/// Lets the target go; it was told to, so the disconnect is not unexpected.
fn part(s: &mut Assembler) {
    s.modify(SCNTL2, Operator::And, 0x7f);
    s.clear(signal::ACK);
    s.wait_disconnect();
}

/// Takes COMMAND COMPLETE.
fn command_complete(s: &mut Assembler) {
    s.move_direct(1, MESSAGES, Phase::MessageIn);
    s.interrupt(code::COMPLETION, Condition::if_not_data(0x00));
    part(s);
}

/// Takes COMMAND COMPLETE and puts the task into the done queue.
fn completion(s: &mut Assembler, labels: &Labels, complete: Label) {
    s.bind(complete);
    command_complete(s);
    s.store(DSA, 4, labels.current);
    s.load(DSA, 4, labels.done_position);
    s.load(SCRATCHA, 4, labels.current);
    s.store_table(SCRATCHA, 4, table(done_slot::TASK));
    s.load_table(SCRATCHA, 4, table(done_slot::NEXT));
    s.store(SCRATCHA, 4, labels.done_position);
    s.interrupt_on_the_fly(Condition::ALWAYS);
    s.jump(labels.schedule, Condition::ALWAYS);
}

/// A target is back: IDENTIFY, then SIMPLE and the tag, which leads to the task.
fn reselected(s: &mut Assembler, labels: &Labels) {
    s.bind(labels.reselected);
    s.move_direct(1, MESSAGES, Phase::MessageIn);
    s.interrupt(code::RESELECTION, Condition::if_not_masked(0x80, 0x7f));
    s.clear(signal::ACK);
    s.move_direct(2, MESSAGES + 4, Phase::MessageIn);
    s.interrupt(code::RESELECTION, Condition::if_not_data(0x20));
    s.load(DSA, 4, labels.tag_table);
    // The tag is the byte received last; the table is aligned, so it is the address's low byte too.
    s.to_sfbr(SIDL, Operator::Or, 0);
    s.from_sfbr(DSA, Operator::Or, 0);
    s.load_table(DSA, 4, 0);
    s.clear(signal::ACK);
    s.jump(labels.dispatch, Condition::ALWAYS);
}

/// One data phase: goes on where the task says. Returns the label after the moves.
fn data(s: &mut Assembler, labels: &Labels, begin: Label, phase: Phase) -> Label {
    let (mark, field) = match phase {
        Phase::DataIn => (IN_DATA, task::DATA_IN),
        _ => (OUT_DATA, task::DATA_OUT),
    };
    s.bind(begin);
    s.modify(SCRATCHB, Operator::Move, mark);
    s.load_table(TEMP, 4, table(field));
    s.ret(Condition::ALWAYS);
    for segment in 0..SEGMENTS {
        s.move_table(table(task::SEGMENTS + 8 * segment), phase);
    }
    let end = s.bound_label();
    s.modify(SCRATCHB, Operator::Move, NO_DATA);
    s.jump(labels.overrun, Condition::when(phase));
    s.jump(labels.dispatch, Condition::ALWAYS);
    end
}

/// The chip comes here when a move's phase ends early. ESA is the table entry that it used, UA and RBC what is left.
fn phase_mismatch(s: &mut Assembler, labels: &Labels) -> Label {
    let [output, entry] = [s.label(), s.label()];
    let begin = s.bound_label();
    s.to_sfbr(SCRATCHB, Operator::Or, 0);
    s.jump(labels.dispatch, Condition::if_data(NO_DATA));
    s.modify(SCRATCHB, Operator::Move, NO_DATA);
    s.jump(output, Condition::if_data(OUT_DATA));
    s.store_table(IA, 4, table(task::DATA_IN));
    s.jump(entry, Condition::ALWAYS);
    s.bind(output);
    s.store_table(IA, 4, table(task::DATA_OUT));
    s.bind(entry);
    s.store(DSA, 4, labels.current);
    s.store(ESA, 4, labels.entry);
    s.load(DSA, 4, labels.entry);
    s.store_table(RBC, 4, 0);
    s.store_table(UA, 4, 4);
    s.load(DSA, 4, Address::Of(labels.current));
    s.jump(labels.dispatch, Condition::ALWAYS);
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_scripts_ram() {
        let scripts = Scripts::assemble(0xfe00_2000).unwrap();
        assert!(scripts.image.len() <= 0x2000, "{}", scripts.image.len());
        let end = 0xfe00_2000 + u32::try_from(scripts.image.len()).unwrap();
        for address in [
            scripts.entry,
            scripts.start,
            scripts.idle,
            scripts.data_in_end,
            scripts.data_out_end,
            scripts.overrun,
            scripts.phase_mismatch,
            scripts.selection_failed,
            scripts.fetch_sense,
            scripts.complete,
        ] {
            assert!((0xfe00_2000..end).contains(&address) && address % 4 == 0);
        }
    }

    #[test]
    fn the_last_move_before_the_end_uses_the_last_segment() {
        let scripts = Scripts::assemble(0).unwrap();
        let at = usize::try_from(scripts.data_in_end).unwrap() - 8;
        assert_eq!(scripts.image[at..at + 4], 0x1900_0000_u32.to_le_bytes());
        assert_eq!(
            scripts.image[at + 4..at + 8],
            (task::SEGMENTS + 8 * (SEGMENTS - 1)).to_le_bytes()
        );
    }
}
