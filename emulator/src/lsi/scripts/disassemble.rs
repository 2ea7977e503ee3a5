//! Step 7, disassembly: an instruction in the manual's own assembler, for logs and tests.

use super::instruction::{
    Addressing, Condition, Instruction, Io, IoOperation, Operator, RegisterMove, RegisterOperation,
    Signals, TransferControl, TransferOperation,
};
use crate::lsi::registers;

/// One line of assembler, without the third Dword that some instructions have.
#[must_use]
pub fn disassemble(instruction: Instruction) -> String {
    match instruction {
        Instruction::BlockMove(m) => {
            let name = if m.opcode { "MOVE" } else { "CHMOV" };
            let operand = match m.addressing {
                Addressing::Direct => format!("{}, {:#x}", m.count, m.operand),
                Addressing::Indirect => format!("{}, PTR {:#x}", m.count, m.operand),
                Addressing::Table => format!("FROM {:#x}", m.operand & 0x00ff_ffff),
            };
            format!("{name} {operand}, WHEN {}", m.phase)
        }
        Instruction::Io(i) => io(i),
        Instruction::Register(r) => register(r),
        Instruction::Transfer(t) => transfer(t),
        Instruction::MemoryMove(m) => {
            let flush = if m.no_flush { " NO FLUSH" } else { "" };
            format!("MOVE MEMORY{flush} {}, {:#x}", m.count, m.source)
        }
        Instruction::LoadStore(l) => {
            let name = if l.load { "LOAD" } else { "STORE" };
            let flush = if l.no_flush { " NO FLUSH" } else { "" };
            let operand = if l.dsa_relative {
                format!("DSAREL({:#x})", l.operand & 0x00ff_ffff)
            } else {
                format!("{:#x}", l.operand)
            };
            let register = registers::name(l.register);
            format!("{name}{flush} {register}, {}, {operand}", l.count)
        }
        Instruction::Illegal([first, second]) => format!("; illegal {first:#010x} {second:#010x}"),
    }
}

fn io(i: Io) -> String {
    let alternate = if i.relative {
        format!("REL({:#x})", i.operand & 0x00ff_ffff)
    } else {
        format!("{:#x}", i.operand)
    };
    match i.operation {
        IoOperation::Select => {
            let atn = if i.atn { " ATN" } else { "" };
            if i.table {
                format!("SELECT{atn} FROM {:#x}, {alternate}", i.table_offset)
            } else {
                format!("SELECT{atn} {}, {alternate}", i.id)
            }
        }
        IoOperation::WaitDisconnect => "WAIT DISCONNECT".into(),
        IoOperation::WaitReselect => format!("WAIT RESELECT {alternate}"),
        IoOperation::Set => format!("SET {}", signals(i.signals)),
        IoOperation::Clear => format!("CLEAR {}", signals(i.signals)),
    }
}

fn signals(s: Signals) -> String {
    let names = [
        (s.carry, "CARRY"),
        (s.target, "TARGET"),
        (s.ack, "ACK"),
        (s.atn, "ATN"),
    ];
    let set: Vec<&str> = names
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
    set.join(" AND ")
}

fn register(r: RegisterMove) -> String {
    let name = registers::name(r.register);
    let (from, to) = match r.operation {
        RegisterOperation::FromSfbr => ("SFBR", name.as_str()),
        RegisterOperation::ToSfbr => (name.as_str(), "SFBR"),
        RegisterOperation::ReadModifyWrite => (name.as_str(), name.as_str()),
    };
    let data = if r.sfbr_data {
        "SFBR".to_owned()
    } else {
        format!("{:#04x}", r.data)
    };
    let operator = match r.operator {
        Operator::Move => return format!("MOVE {data} TO {to}"),
        Operator::ShiftLeft => return format!("MOVE {from} SHL TO {to}"),
        Operator::ShiftRight => return format!("MOVE {from} SHR TO {to}"),
        Operator::Or => "|",
        Operator::Xor => "XOR",
        Operator::And => "&",
        Operator::Add => "+",
        Operator::AddCarry => {
            return format!("MOVE {from} + {data} TO {to} WITH CARRY");
        }
    };
    format!("MOVE {from} {operator} {data} TO {to}")
}

fn transfer(t: TransferControl) -> String {
    let name = match t.operation {
        TransferOperation::Jump => "JUMP",
        TransferOperation::Call => "CALL",
        TransferOperation::Return => "RETURN",
        TransferOperation::Interrupt => "INT",
        TransferOperation::InterruptOnTheFly => "INTFLY",
    };
    let target = match t.operation {
        TransferOperation::Return => String::new(),
        _ if t.relative => format!(" REL({:#x})", t.operand & 0x00ff_ffff),
        _ => format!(" {:#x}", t.operand),
    };
    format!("{name}{target}{}", condition(t.condition))
}

fn condition(c: Condition) -> String {
    let mut parts = Vec::new();
    if c.carry {
        parts.push("CARRY".to_owned());
    }
    if let Some(phase) = c.phase {
        parts.push(phase.to_string());
    }
    if let Some(data) = c.data {
        parts.push(format!("{:#04x} AND MASK {:#04x}", data.value, data.mask));
    }
    if parts.is_empty() {
        return match (c.when_true, c.wait) {
            (true, false) => String::new(),
            (true, true) => ", WHEN TRUE".into(),
            (false, _) => ", IF FALSE".into(),
        };
    }
    let word = if c.wait { "WHEN" } else { "IF" };
    let not = if c.when_true { "" } else { "NOT " };
    format!(", {word} {not}{}", parts.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_instructions_read_as_in_the_manual() {
        for (words, text) in [
            ([0x1e00_0000, 0x40], "MOVE FROM 0x40, WHEN MSG_OUT"),
            ([0x4700_0018, 0x100], "SELECT ATN FROM 0x18, REL(0x100)"),
            ([0x6000_0048, 0], "CLEAR ACK AND ATN"),
            ([0x830b_0000, 0xdead_beef], "JUMP 0xdeadbeef, WHEN STATUS"),
            ([0x8104_0203, 0x10], "JUMP 0x10, IF NOT 0x03 AND MASK 0x02"),
            ([0xf110_0004, 8], "LOAD DSA0, 4, DSAREL(0x8)"),
            ([0x7e10_0800, 0], "MOVE DSA0 + 0x08 TO DSA0"),
            ([0x9818_0000, 0], "INTFLY 0x0"),
        ] {
            assert_eq!(disassemble(Instruction::decode(words)), text);
        }
    }
}
