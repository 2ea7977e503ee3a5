//! Rules about registers that read differently.

use outrigger_emulator::lsi::scripts::{Instruction, IoOperation, RegisterOperation};
use outrigger_emulator::lsi::{Model, Phase};

use super::{RegisterRule, Right, Step};
use crate::judge::chip::{Action, REGISTERS as REGISTERS_BAR, at};

fn always(_: &Step<'_>) -> bool {
    true
}

fn on_810(step: &Step<'_>) -> bool {
    step.model == Model::Lsi53c810
}

fn on_895a(step: &Step<'_>) -> bool {
    step.model == Model::Lsi53c895a
}

fn is_a_block_move(step: &Step<'_>) -> bool {
    matches!(step.instruction, Some(Instruction::BlockMove(_)))
}

fn not_a_block_move(step: &Step<'_>) -> bool {
    !is_a_block_move(step)
}

/// Whether an instruction or a driver writes a register.
fn writes(step: &Step<'_>, register: u8) -> bool {
    match (step.instruction, step.action) {
        (Some(Instruction::Register(r)), _) => {
            r.operation != RegisterOperation::ToSfbr && r.register == register
        }
        (Some(Instruction::LoadStore(l)), _) => {
            l.load && (l.register..l.register.saturating_add(l.count)).contains(&register)
        }
        (
            None,
            Some(Action::Write {
                bar: 0 | 1,
                at,
                width,
                ..
            }),
        ) => {
            let register = u16::from(register);
            (at % 0x100..at % 0x100 + u16::from(width.bytes())).contains(&register)
        }
        _ => false,
    }
}

fn is_io(step: &Step<'_>, operation: IoOperation) -> bool {
    matches!(step.instruction, Some(Instruction::Io(i)) if i.operation == operation)
}

fn moves(step: &Step<'_>, phase: Phase) -> bool {
    matches!(step.instruction, Some(Instruction::BlockMove(m)) if m.phase == phase)
}

/// All of them.
pub const REGISTERS: &[RegisterRule] = &[
    RegisterRule {
        name: "reserved registers read 0, QEMU's FF",
        right: Right::Open,
        section: "4.2",
        registers: &[
            (0x53, 0x53, 0xff),
            (0x5a, 0x5b, 0xff),
            (0xbc, 0xbf, 0xff),
            (0xdb, 0xdb, 0xff),
            (0xe0, 0xff, 0xff),
        ],
        when: always,
    },
    RegisterRule {
        name: "QEMU's 53C810 has the 53C895A's registers",
        right: Right::Ours,
        section: "53C810, 5",
        registers: &[
            (0x02, 0x06, 0xff),
            (0x15, 0x17, 0xff),
            (0x22, 0x22, 0x27),
            (0x41, 0x41, 0xff),
            (0x45, 0x45, 0xff),
            (0x49, 0x49, 0xff),
            (0x4b, 0x4b, 0xff),
            (0x4d, 0x4f, 0xff),
            (0x51, 0x53, 0xff),
            (0x55, 0x57, 0xff),
            (0x59, 0x5b, 0xff),
            (0x60, 0xff, 0xff),
        ],
        when: on_810,
    },
    RegisterRule {
        name: "GPREG, GPCNTL and MACNTL are constants in QEMU",
        right: Right::Ours,
        section: "4.2",
        registers: &[(0x07, 0x07, 0xff), (0x46, 0x47, 0xff)],
        when: always,
    },
    RegisterRule {
        name: "QEMU has no CTEST0, CTEST1 and CTEST6",
        right: Right::Ours,
        section: "4.2",
        registers: &[(0x18, 0x19, 0xff), (0x23, 0x23, 0xff)],
        when: always,
    },
    RegisterRule {
        name: "QEMU has no SLPAR, SWIDE, STIME1, STEST0, SIDL1, SODL and ESA",
        right: Right::Ours,
        section: "4.2, 4.4",
        registers: &[
            (0x44, 0x45, 0xff),
            (0x49, 0x49, 0xff),
            (0x4c, 0x4c, 0xff),
            (0x51, 0x51, 0xff),
            (0x54, 0x55, 0xff),
            (0xd0, 0xd3, 0xff),
        ],
        when: always,
    },
    RegisterRule {
        name: "STEST4.LOCK is always set in QEMU",
        right: Right::Ours,
        section: "4.2",
        registers: &[(0x52, 0x52, 0x20)],
        when: on_895a,
    },
    RegisterRule {
        name: "SCID is 7 in QEMU after a reset",
        right: Right::Ours,
        section: "4.2, SCID",
        registers: &[(0x04, 0x04, 0x07)],
        when: |step| step.instruction.is_none() && step.action.is_none(),
    },
    RegisterRule {
        name: "reset values of RESPID and DCMD",
        right: Right::Open,
        section: "4.2",
        registers: &[(0x4a, 0x4a, 0x80), (0x27, 0x27, 0x40)],
        when: |step| step.instruction.is_none() && step.action.is_none(),
    },
    RegisterRule {
        name: "QEMU's SOCL shows ATN only, and that for ever",
        right: Right::Ours,
        section: "4.2, SOCL; 5.4",
        registers: &[(0x09, 0x09, 0xff)],
        when: always,
    },
    RegisterRule {
        name: "signals by hand, which QEMU does not know",
        right: Right::Ours,
        section: "4.2, SOCL",
        registers: &[(0x0b, 0x0b, 0xff), (0x0e, 0x0e, 0x07)],
        when: |step| step.ours.byte(0x09) & 0xb7 != 0,
    },
    RegisterRule {
        name: "QEMU has no ISTAT1.SI",
        right: Right::Ours,
        section: "4.2, ISTAT1",
        registers: &[(0x15, 0x15, 0x01)],
        when: on_895a,
    },
    RegisterRule {
        name: "CTEST2.PCICIE shows the BARs, not in QEMU",
        right: Right::Ours,
        section: "4.2, CTEST2",
        registers: &[(0x34, 0x37, 0xff), (0x5c, 0x5f, 0xff), (0xa0, 0xab, 0xff)],
        when: |step| step.ours.dword(0x34) == REGISTERS_BAR,
    },
    RegisterRule {
        name: "SCNTL2.SDU falls with the reset of the bus, not in QEMU",
        right: Right::Ours,
        section: "4.2, SCNTL2",
        registers: &[(0x02, 0x02, 0x80)],
        when: |step| writes(step, 0x01),
    },
    RegisterRule {
        name: "DCMD cannot be written in QEMU",
        right: Right::Ours,
        section: "4.2, DCMD",
        registers: &[(0x27, 0x27, 0xff)],
        when: |step| writes(step, 0x27),
    },
    RegisterRule {
        name: "SBCL keeps ACK and ATN in QEMU, whatever is on the bus",
        right: Right::Ours,
        section: "4.2, SBCL",
        registers: &[(0x0b, 0x0b, 0x48)],
        when: always,
    },
    RegisterRule {
        name: "DBC is loaded with each instruction, QEMU's with block moves only",
        right: Right::Ours,
        section: "4.2, DBC",
        registers: &[(0x20, 0x20, 0xff), (0x22, 0x22, 0x03), (0x24, 0x26, 0xff)],
        when: not_a_block_move,
    },
    RegisterRule {
        name: "DNAD after instructions that move nothing",
        right: Right::Open,
        section: "4.2, DNAD",
        registers: &[(0x28, 0x2b, 0xff)],
        when: not_a_block_move,
    },
    RegisterRule {
        name: "ADDER has sums only, QEMU's every jump's target",
        right: Right::Ours,
        section: "4.2, ADDER",
        registers: &[(0x3c, 0x3f, 0xff)],
        when: always,
    },
    RegisterRule {
        name: "SCNTL2.SDU and CHM follow connections and moves, QEMU's stay as written",
        right: Right::Ours,
        section: "4.2, SCNTL2",
        registers: &[(0x02, 0x02, 0xc0)],
        when: |step| step.instruction.is_some(),
    },
    RegisterRule {
        name: "selected without ATN, QEMU's targets want a message",
        right: Right::Ours,
        section: "SPI-4",
        registers: &[(0x0b, 0x0b, 0x07), (0x0e, 0x0e, 0x07)],
        when: |step| {
            matches!(step.instruction, Some(Instruction::Io(i))
                if i.operation == IoOperation::Select && !i.atn)
        },
    },
    RegisterRule {
        name: "RBC, UA and SBC count what moved, QEMU's what did not",
        right: Right::Ours,
        section: "4.4",
        registers: &[(0xc8, 0xcf, 0xff), (0xd8, 0xdb, 0xff)],
        when: is_a_block_move,
    },
    RegisterRule {
        name: "DBC and DNAD at a phase mismatch, QEMU's stay as they were",
        right: Right::Ours,
        section: "4.2, DBC, DNAD",
        registers: &[
            (0x20, 0x20, 0xff),
            (0x22, 0x22, 0x03),
            (0x28, 0x2b, 0xff),
            (0xb8, 0xbb, 0xff),
        ],
        when: |step| is_a_block_move(step) && step.ours.byte(at::SIST0) & 0x80 != 0,
    },
    RegisterRule {
        name: "DNAD64 has the upper half of every address, QEMU's that of tables only",
        right: Right::Ours,
        section: "4.2, DNAD64",
        registers: &[(0xb8, 0xbb, 0xff)],
        when: |step| is_a_block_move(step) && step.ours.byte(at::CCNTL1) & 1 != 0,
    },
    RegisterRule {
        name: "SSTAT1 keeps the phase of the last REQ, in QEMU until the bus is free",
        right: Right::Ours,
        section: "4.2, SSTAT1",
        registers: &[(0x0e, 0x0e, 0x07)],
        when: |step| step.ours.byte(at::SCNTL1) & 0x10 == 0,
    },
    RegisterRule {
        name: "DBC and DNAD count in COMMAND, STATUS and MESSAGE IN, not in QEMU",
        right: Right::Ours,
        section: "4.2, DBC",
        registers: &[
            (0x20, 0x20, 0xff),
            (0x22, 0x22, 0x03),
            (0x24, 0x26, 0xff),
            (0x28, 0x2b, 0xff),
        ],
        when: |step| {
            [Phase::Command, Phase::Status, Phase::MessageIn]
                .iter()
                .any(|&phase| moves(step, phase))
        },
    },
    RegisterRule {
        name: "SIDL has the byte on the bus, QEMU's the last of MESSAGE IN",
        right: Right::Ours,
        section: "4.2, SIDL",
        registers: &[(0x50, 0x50, 0xff)],
        when: always,
    },
    RegisterRule {
        name: "QEMU has no parity",
        right: Right::Ours,
        section: "4.2, SSTAT0.SDP0",
        registers: &[(0x0d, 0x0d, 0x01)],
        when: always,
    },
    RegisterRule {
        name: "ACK of a message's last byte stays, QEMU's target goes at once",
        right: Right::Ours,
        section: "5.3.1",
        registers: &[(0x01, 0x01, 0x10), (0x0b, 0x0b, 0xff), (0x0e, 0x0e, 0x07)],
        when: |step| moves(step, Phase::MessageIn),
    },
    RegisterRule {
        name: "QEMU keeps bits that are reserved, read-only or clear themselves",
        right: Right::Ours,
        section: "4.2",
        registers: &[
            (0x00, 0x00, 0x04),
            (0x01, 0x01, 0x11),
            (0x02, 0x02, 0x09),
            (0x04, 0x04, 0x90),
            (0x1b, 0x1b, 0x04),
            (0x22, 0x22, 0xc3),
            (0x39, 0x39, 0x82),
            (0x3b, 0x3b, 0x44),
            (0x41, 0x41, 0xe8),
            (0x4d, 0x4d, 0x30),
            (0x4e, 0x4e, 0x40),
            (0x4f, 0x4f, 0x02),
            (0x56, 0x56, 0x0c),
            (0x57, 0x57, 0x60),
            (0xd8, 0xda, 0xff),
        ],
        when: always,
    },
    RegisterRule {
        name: "SSTAT2.LDSC falls with the first block move, QEMU's with the connection",
        right: Right::Ours,
        section: "4.2, SSTAT2",
        registers: &[(0x0f, 0x0f, 0x02)],
        when: |step| step.instruction.is_some(),
    },
    RegisterRule {
        name: "QEMU has no ISTAT0.CON",
        right: Right::Ours,
        section: "4.2, ISTAT0",
        registers: &[(0x14, 0x14, 0x08)],
        when: always,
    },
    RegisterRule {
        name: "a table SELECT loads SCNTL3 and SXFER, not in QEMU",
        right: Right::Ours,
        section: "5.4, bit 25",
        registers: &[(0x03, 0x03, 0xff), (0x05, 0x05, 0xff)],
        when: |step| is_io(step, IoOperation::Select),
    },
];
