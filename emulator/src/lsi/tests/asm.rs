//! A small assembler: instructions by their names in the manual.

use crate::lsi::Phase;
use crate::lsi::scripts::{
    Addressing, BlockMove, Condition, DataCompare, Instruction, Io, IoOperation, LoadStore,
    MemoryMove, Operator, RegisterMove, RegisterOperation, Signals, TransferControl,
    TransferOperation,
};

type Words = [u32; 2];

fn block(addressing: Addressing, opcode: bool, phase: Phase, count: u32, operand: u32) -> Words {
    Instruction::BlockMove(BlockMove {
        addressing,
        opcode,
        phase,
        count,
        operand,
    })
    .encode()
}

pub(super) fn mov(phase: Phase, count: u32, address: u32) -> Words {
    block(Addressing::Direct, true, phase, count, address)
}

pub(super) fn chmov(phase: Phase, count: u32, address: u32) -> Words {
    block(Addressing::Direct, false, phase, count, address)
}

pub(super) fn mov_indirect(phase: Phase, count: u32, pointer: u32) -> Words {
    block(Addressing::Indirect, true, phase, count, pointer)
}

pub(super) fn mov_table(phase: Phase, offset: u32) -> Words {
    block(Addressing::Table, true, phase, 0, offset)
}

fn io(operation: IoOperation, operand: u32) -> Io {
    Io {
        operation,
        relative: false,
        table: false,
        atn: false,
        id: 0,
        signals: Signals::default(),
        table_offset: 0,
        operand,
    }
}

pub(super) fn select(id: u8, alternate: u32) -> Words {
    let base = io(IoOperation::Select, alternate);
    Instruction::Io(Io { id, ..base }).encode()
}

pub(super) fn select_atn(id: u8, alternate: u32) -> Words {
    let base = io(IoOperation::Select, alternate);
    Instruction::Io(Io {
        id,
        atn: true,
        ..base
    })
    .encode()
}

pub(super) fn select_table(table_offset: u32, alternate: u32) -> Words {
    let base = io(IoOperation::Select, alternate);
    Instruction::Io(Io {
        table: true,
        table_offset,
        ..base
    })
    .encode()
}

pub(super) fn select_atn_table(table_offset: u32, alternate: u32) -> Words {
    let base = io(IoOperation::Select, alternate);
    Instruction::Io(Io {
        atn: true,
        table: true,
        table_offset,
        ..base
    })
    .encode()
}

pub(super) fn wait_disconnect() -> Words {
    Instruction::Io(io(IoOperation::WaitDisconnect, 0)).encode()
}

/// Into the target role: SELECT is RESELECT then, WAIT RESELECT is WAIT SELECT, WAIT DISCONNECT is DISCONNECT.
pub(super) fn set_target() -> Words {
    set(Signals {
        target: true,
        ..Signals::default()
    })
}

pub(super) fn wait_reselect(alternate: u32) -> Words {
    Instruction::Io(io(IoOperation::WaitReselect, alternate)).encode()
}

pub(super) fn set(signals: Signals) -> Words {
    let base = io(IoOperation::Set, 0);
    Instruction::Io(Io { signals, ..base }).encode()
}

pub(super) fn clear(signals: Signals) -> Words {
    let base = io(IoOperation::Clear, 0);
    Instruction::Io(Io { signals, ..base }).encode()
}

pub(super) fn clear_ack() -> Words {
    clear(Signals {
        ack: true,
        ..Signals::default()
    })
}

const ALWAYS: Condition = Condition {
    when_true: true,
    wait: false,
    carry: false,
    phase: None,
    data: None,
};

fn transfer(operation: TransferOperation, condition: Condition, operand: u32) -> Words {
    Instruction::Transfer(TransferControl {
        operation,
        relative: false,
        condition,
        operand,
    })
    .encode()
}

pub(super) fn int(number: u32) -> Words {
    transfer(TransferOperation::Interrupt, ALWAYS, number)
}

pub(super) fn intfly() -> Words {
    transfer(TransferOperation::InterruptOnTheFly, ALWAYS, 0)
}

/// INTFLY, IF NOT value.
pub(super) fn intfly_unless_data(value: u8) -> Words {
    let condition = Condition {
        when_true: false,
        data: Some(DataCompare { mask: 0, value }),
        ..ALWAYS
    };
    transfer(TransferOperation::InterruptOnTheFly, condition, 0)
}

pub(super) fn jump(address: u32) -> Words {
    transfer(TransferOperation::Jump, ALWAYS, address)
}

pub(super) fn call(address: u32) -> Words {
    transfer(TransferOperation::Call, ALWAYS, address)
}

pub(super) fn ret() -> Words {
    transfer(TransferOperation::Return, ALWAYS, 0)
}

/// JUMP address, WHEN phase.
pub(super) fn jump_when(phase: Phase, address: u32) -> Words {
    let condition = Condition {
        wait: true,
        phase: Some(phase),
        ..ALWAYS
    };
    transfer(TransferOperation::Jump, condition, address)
}

/// JUMP address, WHEN NOT phase.
pub(super) fn jump_unless(phase: Phase, address: u32) -> Words {
    let condition = Condition {
        when_true: false,
        wait: true,
        phase: Some(phase),
        ..ALWAYS
    };
    transfer(TransferOperation::Jump, condition, address)
}

/// INT number, WHEN NOT phase.
pub(super) fn int_unless(phase: Phase, number: u32) -> Words {
    let condition = Condition {
        when_true: false,
        wait: true,
        phase: Some(phase),
        ..ALWAYS
    };
    transfer(TransferOperation::Interrupt, condition, number)
}

/// INT number, IF value AND MASK mask.
pub(super) fn int_if_data(value: u8, mask: u8, number: u32) -> Words {
    let condition = Condition {
        data: Some(DataCompare { mask, value }),
        ..ALWAYS
    };
    transfer(TransferOperation::Interrupt, condition, number)
}

/// JUMP address, IF value AND MASK mask.
pub(super) fn jump_if_data(value: u8, mask: u8, address: u32) -> Words {
    let condition = Condition {
        data: Some(DataCompare { mask, value }),
        ..ALWAYS
    };
    transfer(TransferOperation::Jump, condition, address)
}

/// JUMP address, IF NOT value.
pub(super) fn jump_unless_data(value: u8, address: u32) -> Words {
    let condition = Condition {
        when_true: false,
        data: Some(DataCompare { mask: 0, value }),
        ..ALWAYS
    };
    transfer(TransferOperation::Jump, condition, address)
}

/// JUMP address, IF CARRY.
pub(super) fn jump_if_carry(address: u32) -> Words {
    let condition = Condition {
        carry: true,
        ..ALWAYS
    };
    transfer(TransferOperation::Jump, condition, address)
}

fn register(
    operation: RegisterOperation,
    operator: Operator,
    register: u8,
    data: u8,
    sfbr_data: bool,
) -> Words {
    Instruction::Register(RegisterMove {
        operation,
        operator,
        register,
        sfbr_data,
        data,
    })
    .encode()
}

/// MOVE register operator data TO register.
pub(super) fn alu(operator: Operator, at: u8, data: u8) -> Words {
    let operation = RegisterOperation::ReadModifyWrite;
    register(operation, operator, at, data, false)
}

/// MOVE register operator SFBR TO register.
pub(super) fn alu_sfbr(operator: Operator, at: u8) -> Words {
    let operation = RegisterOperation::ReadModifyWrite;
    register(operation, operator, at, 0, true)
}

/// MOVE register operator data TO SFBR.
pub(super) fn to_sfbr(operator: Operator, at: u8, data: u8) -> Words {
    register(RegisterOperation::ToSfbr, operator, at, data, false)
}

/// MOVE SFBR operator data TO register.
pub(super) fn from_sfbr(operator: Operator, at: u8, data: u8) -> Words {
    register(RegisterOperation::FromSfbr, operator, at, data, false)
}

/// The first two Dwords; the third is the destination.
pub(super) fn move_memory(count: u32, source: u32) -> Words {
    Instruction::MemoryMove(MemoryMove {
        no_flush: false,
        count,
        source,
    })
    .encode()
}

fn load_store(load: bool, dsa_relative: bool, at: u8, count: u8, operand: u32) -> Words {
    Instruction::LoadStore(LoadStore {
        load,
        dsa_relative,
        no_flush: false,
        register: at,
        count,
        operand,
    })
    .encode()
}

pub(super) fn load(at: u8, count: u8, address: u32) -> Words {
    load_store(true, false, at, count, address)
}

pub(super) fn store(at: u8, count: u8, address: u32) -> Words {
    load_store(false, false, at, count, address)
}

pub(super) fn load_dsa(at: u8, count: u8, offset: u32) -> Words {
    load_store(true, true, at, count, offset)
}

pub(super) fn store_dsa(at: u8, count: u8, offset: u32) -> Words {
    load_store(false, true, at, count, offset)
}
