//! What rules about instructions ask of the two chips.

use outrigger_emulator::lsi::Phase;

use super::Step;
use crate::judge::chip::{Snapshot, at};

/// The registers of upper halves that a move uses.
const SBMS: u8 = 0xb0;
pub(super) const DBMS: u8 = 0xb4;
const DNAD64: u8 = 0xb8;

/// The upper half of a move's address is not the one that QEMU takes.
pub(super) fn upper_differs(step: &Step<'_>) -> bool {
    let theirs = step.theirs;
    let taken = match (step.ours.byte(at::CCNTL1) & 2, theirs.dword(DBMS)) {
        (0, 0) => theirs.dword(SBMS),
        (0, upper) => upper,
        _ => theirs.dword(DNAD64),
    };
    step.ours.dword(DNAD64) != taken
}

/// With CCNTL0.ENPMJ, QEMU has interrupted where ours went on, perhaps to another mismatch.
pub(super) fn mismatches_elsewhere(ours: &Snapshot, theirs: &Snapshot) -> bool {
    let [ours_does, theirs_does] = [ours, theirs].map(|chip| chip.byte(at::SIST0) & 0x80 != 0);
    let elsewhere = ours.dword(at::DSP) != theirs.dword(at::DSP);
    ours.byte(at::CCNTL0) & 0x80 != 0 && theirs_does && (!ours_does || elsewhere)
}

/// Ours is at MESSAGE IN, without a connection.
pub(super) fn only_ours_waits(ours: &Snapshot, theirs: &Snapshot) -> bool {
    let at_message = ours.byte(0x27) & 0xc7 == Phase::MessageIn.bits();
    at_message && ours.byte(at::ISTAT0) & 8 == 0 && !ours.has_stopped() && theirs.has_stopped()
}

pub(super) fn illegal_for_ours(step: &Step<'_>) -> bool {
    step.ours.byte(at::DSTAT) & 1 != 0
}
