//! Step 7, the other side, after CHECK CONDITION: REQUEST SENSE is the next command that goes out.

use super::{Labels, command_complete, table};
use crate::guest::assembler::{Assembler, Condition, Label, Operator};
use crate::guest::layout::{start_slot, task};
use crate::guest::registers::{DSA, SCRATCHA};

/// In IDENTIFY: all but the right to disconnect. A reselection without a tag would not lead back to the task.
const STAY: u8 = 0xbf;

/// DSA is a task whose status was CHECK CONDITION. Its REQUEST SENSE goes to the same unit, untagged, before all that
/// waits in the start queue. If a reselection comes first and fails too, its own goes before this one.
pub(super) fn fetch(s: &mut Assembler, labels: &Labels) -> Label {
    let fetch = s.bound_label();
    command_complete(s);
    s.load(SCRATCHA, 4, labels.start_position);
    s.store_table(SCRATCHA, 4, table(task::SENSE_SLOT + start_slot::NEXT));
    s.load_table(SCRATCHA, 4, table(task::SENSE_SLOT_ADDRESS));
    s.store(SCRATCHA, 4, labels.start_position);
    // The target, and the unit.
    s.load_table(SCRATCHA, 4, table(task::SELECT));
    s.store(SCRATCHA, 4, labels.current);
    s.load_table(SCRATCHA, 4, table(task::MESSAGE_BYTES));
    s.modify(SCRATCHA, Operator::And, STAY);
    s.load_table(DSA, 4, table(task::SENSE_TASK));
    s.store_table(SCRATCHA, 4, table(task::MESSAGE_BYTES));
    s.load(SCRATCHA, 4, labels.current);
    s.store_table(SCRATCHA, 4, table(task::SELECT));
    s.jump(labels.schedule, Condition::ALWAYS);
    fetch
}
