//! Rules about instructions and accesses that the chips take differently.

use outrigger_emulator::lsi::scripts::{Instruction, IoOperation, Operator, RegisterOperation};
use outrigger_emulator::lsi::{Model, Phase};

use super::conditions::{
    DBMS, illegal_for_ours, mismatches_elsewhere, only_ours_waits, upper_differs,
};
use super::{Right, Step, StepRule};
use crate::judge::chip::{Action, REGISTERS, Snapshot, at, istat0};
use crate::judge::program::{WINDOW, WINDOW_BYTES};

/// The registers that an instruction reads.
fn reads(step: &Step<'_>) -> Vec<u8> {
    match step.instruction {
        Some(Instruction::Register(r))
            if r.operation != RegisterOperation::FromSfbr && r.operator != Operator::Move =>
        {
            vec![r.register]
        }
        Some(Instruction::LoadStore(l)) if !l.load => {
            (0..l.count).map(|n| l.register.wrapping_add(n)).collect()
        }
        Some(Instruction::MemoryMove(m)) => {
            let last = m.source.saturating_add(m.count);
            (m.source.max(REGISTERS)..last.min(REGISTERS + 0x400))
                .map(|address| address.to_le_bytes()[0])
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether an instruction uses a register that differs: what it makes of it differs, too.
pub fn uses_what_differs(step: &Step<'_>) -> bool {
    let phases = (
        step.before.byte(at::SSTAT1),
        step.before_theirs.byte(at::SSTAT1),
    );
    let looks = match step.instruction {
        Some(Instruction::Transfer(t)) => t.condition.phase.is_some(),
        Some(Instruction::BlockMove(_)) => true,
        _ => false,
    };
    if looks && phases.0 != phases.1 {
        return true;
    }
    reads(step).into_iter().any(|register| {
        // A snapshot does not show these: QEMU's SFBR reads 0, and it looks at the bus in SBDL.
        [at::SFBR, at::CTEST2, at::SBDL].contains(&register)
            // Fetching the instruction has loaded DBC, but not in QEMU.
            || [0x20, 0x22, 0x24, 0x25, 0x26].contains(&register)
            || step.before.byte(register) != step.before_theirs.byte(register)
    })
}

/// Whether an instruction's result depends on SFBR.
pub fn uses_sfbr(instruction: Instruction) -> bool {
    match instruction {
        Instruction::Register(r) => r.sfbr_data || r.operation == RegisterOperation::FromSfbr,
        Instruction::Transfer(t) => t.condition.data.is_some(),
        _ => false,
    }
}

/// Which rule lets SFBR differ after a step, if one did `before` it.
pub fn sfbr_after(step: &Step<'_>, before: Option<&'static str>) -> Option<&'static str> {
    use outrigger_emulator::lsi::Phase::{Command, DataIn, MessageIn, MessageOut, Status};
    match step.instruction {
        Some(Instruction::Register(r)) if r.operation == RegisterOperation::ToSfbr => None,
        Some(Instruction::BlockMove(m)) => match m.phase {
            DataIn => Some("SFBR after DATA IN"),
            Command | MessageOut => Some("SFBR after COMMAND and MESSAGE OUT"),
            Status | MessageIn => None,
            _ => before,
        },
        Some(Instruction::Io(_)) if step.ours.byte(0x0a) != step.before.byte(0x0a) => {
            Some("SFBR after a reselection")
        }
        _ => before,
    }
}

/// Whether a step has effects that differ and that no register shows at once.
pub fn is_hidden(step: &Step<'_>) -> bool {
    let Some(Instruction::Register(r)) = step.instruction else {
        return false;
    };
    r.sfbr_data && r.operation != RegisterOperation::ReadModifyWrite
}

/// Selections that nobody answers.
const SELECTION: &str = "QEMU's STO comes with SELECT, ours when the target is needed";

/// WAIT RESELECT with a target that is there.
const WAIT: &str = "WAIT RESELECT while connected ends, in QEMU it waits";

/// Phase mismatch jumps.
const MISMATCH: &str = "a mismatch before the first byte jumps, in QEMU it interrupts";

/// The general purpose timer.
const GEN: &str = "QEMU's GEN comes at once, however long STIME1 says";

/// Messages that end before the block move does.
const LONG: &str = "MESSAGE IN of more bytes than the message waits for them, not in QEMU";

/// Addresses of more than 32 bits.
const UPPER: &str = "upper halves of addresses: QEMU forgets some, and keeps others";

/// Programs that run into empty memory.
const EMPTY: &str = "QEMU skips an empty Dword";

/// Instructions that QEMU does not refuse.
const ILLEGAL: &str = "illegal instructions that QEMU executes";

/// Fetches and data that reach nothing.
const FAULT: &str = "fetches from where nothing is: BF";

/// Which rule explains that the chips ended a free run differently.
pub fn explains_end(ours: &Snapshot, theirs: &Snapshot) -> Option<&'static str> {
    let only_ours = |register, bit| ours.byte(register) & !theirs.byte(register) & bit != 0;
    if only_ours(at::DSTAT, 0x01) {
        return Some(ILLEGAL);
    }
    if only_ours(at::DSTAT, 0x20) {
        return Some(FAULT);
    }
    if mismatches_elsewhere(ours, theirs) {
        return Some(MISMATCH);
    }
    if only_ours_waits(ours, theirs) {
        return Some(LONG);
    }
    if theirs.byte(at::SIST1) & !ours.byte(at::SIST1) & 2 != 0 {
        return Some(GEN);
    }
    // Direct moves of 64 bits, where tables have such addresses too; moves of 32 bits after one of 64.
    let modes = ours.byte(at::CCNTL1) & 3;
    if modes == 3 || modes == 1 && theirs.dword(DBMS) != 0 {
        return Some(UPPER);
    }
    // QEMU has stopped at WAIT RESELECT.
    if ours.has_stopped() && !theirs.has_stopped() && theirs.byte(0x27) & 0xf8 == 0x50 {
        return Some(WAIT);
    }
    // Where they are on a way without an end depends on their speed.
    let elsewhere = ours.dword(at::DSP) != theirs.dword(at::DSP);
    if !ours.has_stopped() && !theirs.has_stopped() && elsewhere {
        return Some(EMPTY);
    }
    // A jump needs no target, but stops QEMU after a selection that nobody answers.
    let [ours_timed_out, timed_out] = [ours, theirs].map(|chip| chip.byte(at::SIST1) & 4 != 0);
    (timed_out && (!ours_timed_out || elsewhere)).then_some(SELECTION)
}

/// All of them.
pub const STEPS: &[StepRule] = &[
    StepRule {
        name: "DCNTL.IRQD and ISTAT1.SI keep the line quiet, not in QEMU",
        right: Right::Ours,
        section: "4.2, DCNTL, ISTAT1",
        free: false,
        when: |step| {
            let silent = step.ours.byte(at::DCNTL) & 2 != 0 || step.ours.byte(at::ISTAT1) & 1 != 0;
            silent && step.theirs.line && !step.ours.line
        },
    },
    StepRule {
        name: "CTEST4.SRTM shows the shadows of TEMP and DSA, not in QEMU",
        right: Right::Ours,
        section: "4.2, CTEST4",
        free: false,
        when: |step| {
            [step.before, step.ours]
                .iter()
                .any(|chip| chip.byte(0x21) & 0x10 != 0)
        },
    },
    StepRule {
        name: WAIT,
        right: Right::Open,
        section: "5.4",
        free: false,
        when: |step| {
            matches!(step.instruction, Some(Instruction::Io(i))
                if i.operation == IoOperation::WaitReselect)
                && step.before.byte(at::SCNTL1) & 0x10 != 0
        },
    },
    StepRule {
        name: "SIGP ends WAIT RESELECT, in QEMU together with the next instruction",
        right: Right::Ours,
        section: "4.2, DCNTL.SSM",
        free: true,
        when: |step| {
            let signal = Action::byte(at::ISTAT0, istat0::SIGP);
            step.action == Some(signal) && step.ours.has_stopped()
        },
    },
    StepRule {
        name: GEN,
        right: Right::Ours,
        section: "4.2, STIME1",
        free: false,
        when: |step| step.theirs.byte(at::SIST1) & 2 != 0,
    },
    StepRule {
        name: "WAIT DISCONNECT while the target has a request is illegal",
        right: Right::Ours,
        section: "4.2, DSTAT.IID",
        free: false,
        when: |step| {
            illegal_for_ours(step)
                && matches!(step.instruction, Some(Instruction::Io(i))
                    if i.operation == IoOperation::WaitDisconnect)
        },
    },
    StepRule {
        name: "QEMU has no UDC",
        right: Right::Ours,
        section: "4.2, SIST0.UDC",
        free: false,
        when: |step| step.ours.byte(at::SIST0) & 4 != 0,
    },
    StepRule {
        name: "messages that QEMU's targets ignore, or reject instead of ignoring",
        right: Right::Ours,
        section: "SPI-4, 16",
        free: false,
        when: |step| {
            matches!(step.instruction, Some(Instruction::BlockMove(m))
                if m.phase == Phase::MessageOut)
                && [step.ours, step.theirs]
                    .iter()
                    .any(|chip| chip.byte(at::SSTAT1) & 7 == Phase::MessageIn.bits())
        },
    },
    StepRule {
        name: "a block move or a WHEN without a connection waits, in QEMU it does not",
        right: Right::Ours,
        section: "5.3, 5.6",
        free: false,
        when: |step| {
            let waits = match step.instruction {
                Some(Instruction::BlockMove(_)) => true,
                Some(Instruction::Transfer(t)) => t.condition.wait,
                _ => false,
            };
            waits && step.before.byte(at::ISTAT0) & 8 == 0
        },
    },
    StepRule {
        name: UPPER,
        right: Right::Ours,
        section: "4.2, CCNTL1",
        free: false,
        when: |step| {
            matches!(step.instruction, Some(Instruction::BlockMove(m)) if m.phase.is_data())
                && step.model == Model::Lsi53c895a
                && upper_differs(step)
        },
    },
    StepRule {
        name: LONG,
        right: Right::Open,
        section: "5.3.1",
        free: false,
        when: |step| only_ours_waits(step.ours, step.theirs),
    },
    StepRule {
        name: MISMATCH,
        right: Right::Ours,
        section: "4.4",
        free: false,
        when: |step| mismatches_elsewhere(step.ours, step.theirs),
    },
    StepRule {
        name: EMPTY,
        right: Right::Ours,
        section: "4.2, DSTAT.IID",
        free: false,
        when: |step| step.instruction.is_some() && step.words[0] == 0,
    },
    StepRule {
        name: FAULT,
        right: Right::Ours,
        section: "4.2, DSTAT.BF",
        free: false,
        when: |step| step.ours.byte(at::DSTAT) & 0x20 != 0,
    },
    StepRule {
        name: "memory outside the machines' common part",
        right: Right::Open,
        section: "-",
        free: false,
        when: |step| {
            let Some(Instruction::LoadStore(l)) = step.instruction else {
                return false;
            };
            let address = if l.dsa_relative {
                let offset = l.operand << 8;
                let dsa = step.before.dword(at::DSA);
                dsa.wrapping_add_signed(offset.cast_signed() >> 8)
            } else {
                l.operand
            };
            address
                .checked_sub(WINDOW)
                .is_none_or(|at| at as usize > WINDOW_BYTES - 4)
        },
    },
    StepRule {
        name: SELECTION,
        right: Right::Open,
        section: "4.2, SIST1.STO",
        free: true,
        when: |step| {
            matches!(step.instruction, Some(Instruction::Io(i))
                if i.operation == IoOperation::Select)
                && step.theirs.byte(at::SIST1) & 4 != 0
        },
    },
    StepRule {
        name: "SET ATN without a connection asks for MESSAGE OUT in QEMU",
        right: Right::Ours,
        section: "5.4, ATN",
        free: false,
        when: |step| {
            matches!(step.instruction, Some(Instruction::Io(i))
                if i.operation == IoOperation::Set && i.signals.atn)
                && step.ours.byte(at::ISTAT0) & 8 == 0
        },
    },
    StepRule {
        name: "QEMU has no target role",
        right: Right::Ours,
        section: "5.4, TM",
        free: false,
        when: |step| matches!(step.instruction, Some(Instruction::Io(i)) if i.signals.target),
    },
    StepRule {
        name: "SFBR as the data of MOVE to and from SFBR",
        right: Right::Open,
        section: "5.5",
        free: false,
        when: is_hidden,
    },
    StepRule {
        name: ILLEGAL,
        right: Right::Ours,
        section: "4.2, DSTAT.IID",
        free: false,
        when: |step| {
            illegal_for_ours(step)
                && matches!(
                    step.instruction,
                    Some(
                        Instruction::Illegal(_)
                            | Instruction::MemoryMove(_)
                            | Instruction::LoadStore(_)
                            | Instruction::BlockMove(_)
                    )
                )
        },
    },
    StepRule {
        name: "QEMU's 53C810 uses the 53C895A's selectors and modes",
        right: Right::Ours,
        section: "53C810, 5",
        free: false,
        when: |step| {
            let mut selectors = step.theirs.registers[0xa0..0xc0].iter();
            let modes = step.theirs.byte(0x56) | step.theirs.byte(0x57);
            step.model == Model::Lsi53c810 && (modes != 0 || selectors.any(|&byte| byte != 0))
        },
    },
    StepRule {
        name: "the 53C810 has no LOAD and STORE",
        right: Right::Ours,
        section: "53C810, 6",
        free: false,
        when: |step| {
            step.model == Model::Lsi53c810
                && matches!(step.instruction, Some(Instruction::LoadStore(_)))
        },
    },
    StepRule {
        name: "QEMU executes the next instruction within COMMAND and data moves",
        right: Right::Ours,
        section: "4.2, DCNTL.SSM",
        free: true,
        when: |step| {
            matches!(step.instruction, Some(Instruction::BlockMove(m))
                if m.phase == Phase::Command || m.phase.is_data())
                && step.theirs.byte(0x27) != step.words[0].to_le_bytes()[3]
        },
    },
];
