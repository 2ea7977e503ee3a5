//! Step 7, instructions as values (manual, chapter 5).

use crate::lsi::phase::Phase;

/// Where a block move finds its count and address (section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// The count is in the first Dword, the second is the address.
    Direct,
    /// The count is in the first Dword, the second is the address of the address.
    Indirect,
    /// Count and address are in a table entry at DSA plus the second Dword's signed low 24 bits.
    Table,
}

/// Block move, section 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMove {
    /// How the operand is found.
    pub addressing: Addressing,
    /// Bit 27: clear is CHMOV for an initiator and MOVE for a target.
    pub opcode: bool,
    /// The phase that the script expects.
    pub phase: Phase,
    /// Bytes, 24 bits.
    pub count: u32,
    /// The second Dword.
    pub operand: u32,
}

/// What an I/O instruction does, as an initiator (as a target), section 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoOperation {
    /// SELECT (RESELECT).
    Select,
    /// WAIT DISCONNECT (DISCONNECT).
    WaitDisconnect,
    /// WAIT RESELECT (WAIT SELECT).
    WaitReselect,
    /// SET.
    Set,
    /// CLEAR.
    Clear,
}

/// What SET and CLEAR act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Bit 10: the ALU's carry.
    pub carry: bool,
    /// Bit 9: the target role.
    pub target: bool,
    /// Bit 6: the ACK signal.
    pub ack: bool,
    /// Bit 3: the ATN signal.
    pub atn: bool,
}

/// I/O instruction, section 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// What it does.
    pub operation: IoOperation,
    /// Bit 26: the alternate address is relative to the next instruction.
    pub relative: bool,
    /// Bit 25: ID, period and offset come from a table entry.
    pub table: bool,
    /// Bit 24: select with ATN.
    pub atn: bool,
    /// Bits 19 to 16: the destination's ID.
    pub id: u8,
    /// What SET and CLEAR act on.
    pub signals: Signals,
    /// Bits 23 to 0 of the first Dword of a SELECT with `table`: the entry's offset from DSA, signed.
    pub table_offset: u32,
    /// The second Dword: the alternate address.
    pub operand: u32,
}

/// The direction of a register instruction, section 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOperation {
    /// The operator works on SFBR, the register takes the result.
    FromSfbr,
    /// The operator works on the register, SFBR takes the result.
    ToSfbr,
    /// The operator works on the register, which takes the result.
    ReadModifyWrite,
}

/// The ALU's operators, section 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Take the data.
    Move,
    /// Shift left through the carry.
    ShiftLeft,
    /// Or.
    Or,
    /// Exclusive or.
    Xor,
    /// And.
    And,
    /// Shift right through the carry.
    ShiftRight,
    /// Add without carry in.
    Add,
    /// Add with carry in.
    AddCarry,
}

/// Register instruction, section 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterMove {
    /// Source and destination.
    pub operation: RegisterOperation,
    /// What is done.
    pub operator: Operator,
    /// The register's offset; bit 7 comes from bit 7 of the first Dword.
    pub register: u8,
    /// Bit 23: SFBR replaces the immediate data.
    pub sfbr_data: bool,
    /// The immediate data.
    pub data: u8,
}

/// What a transfer control instruction does when its condition holds, section 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferOperation {
    /// Go on at the target.
    Jump,
    /// The same, and TEMP keeps the return address.
    Call,
    /// Go on at TEMP.
    Return,
    /// Stop with the SIR interrupt.
    Interrupt,
    /// Set ISTAT.INTF and go on (bit 20 of INT).
    InterruptOnTheFly,
}

/// A comparison with SFBR: the bits that are set in `mask` do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataCompare {
    /// Bits left out.
    pub mask: u8,
    /// What the others must be.
    pub value: u8,
}

/// When a transfer control instruction acts, section 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Bit 19: act when the comparisons are all true; otherwise when all are false.
    pub when_true: bool,
    /// Bit 16: wait until the target asks for a transfer.
    pub wait: bool,
    /// Bit 21: test the carry.
    pub carry: bool,
    /// Bit 17: compare the phase.
    pub phase: Option<Phase>,
    /// Bit 18: compare SFBR.
    pub data: Option<DataCompare>,
}

/// Transfer control, section 5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferControl {
    /// What happens.
    pub operation: TransferOperation,
    /// Bit 23: the operand is relative to the next instruction.
    pub relative: bool,
    /// When it happens.
    pub condition: Condition,
    /// The second Dword: address, or the interrupt's number.
    pub operand: u32,
}

/// Memory move, section 5.7. The third Dword is the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMove {
    /// Bit 24: do not flush the prefetch unit.
    pub no_flush: bool,
    /// Bytes, 24 bits.
    pub count: u32,
    /// The second Dword: the source.
    pub source: u32,
}

/// LOAD and STORE, section 5.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadStore {
    /// Memory to register; otherwise register to memory.
    pub load: bool,
    /// Bit 28: the operand is relative to DSA.
    pub dsa_relative: bool,
    /// Bit 25: do not flush the prefetch unit.
    pub no_flush: bool,
    /// The first register's offset.
    pub register: u8,
    /// Bytes, 1 to 4.
    pub count: u8,
    /// The second Dword: address, or offset in its low 24 bits.
    pub operand: u32,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Moves bytes between the SCSI bus and memory.
    BlockMove(BlockMove),
    /// Selection, reselection, disconnection, ATN, ACK, carry and role.
    Io(Io),
    /// Register arithmetic.
    Register(RegisterMove),
    /// Jumps, calls, returns and interrupts.
    Transfer(TransferControl),
    /// Moves bytes between memory and memory.
    MemoryMove(MemoryMove),
    /// Moves up to four bytes between registers and memory.
    LoadStore(LoadStore),
    /// What the chip answers with the IID interrupt.
    Illegal([u32; 2]),
}
