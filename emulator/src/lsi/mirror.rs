//! Step 6, registers: ISTAT0 as a mirrored register, the one that drivers read and write for every request.
//!
//! INTF is the bit that the chip sets and a 1 clears; SIGP and SEM read back as written. SCRIPTS look at
//! these bits only at the start of a slice, when the driver's writes are in: see [`looks_at_istat`].

use super::register_access::Origin;
use super::registers::{Istat0, at};
use super::scripts::{Instruction, IoOperation};
use super::{Lsi, Model};
use outrigger_device::device::{Mirror, Mirrored, MirroredRegister};

/// Its number.
pub(super) const ISTAT0: u32 = 0;

/// What reads back as written.
const WRITTEN: u8 =
    Istat0::ABRT.bits() | Istat0::SRST.bits() | Istat0::SIGP.bits() | Istat0::SEM.bits();

const fn entry(bar: u8, offset: u64) -> MirroredRegister {
    MirroredRegister {
        bar,
        offset,
        register: ISTAT0,
        through: WRITTEN,
        opaque: Istat0::ABRT.bits() | Istat0::SRST.bits(),
        clears: Istat0::INTF.bits(),
    }
}

/// The I/O BAR, and the memory BAR with its images of the registers.
const ENTRIES: [MirroredRegister; 5] = [
    entry(0, 0x014),
    entry(1, 0x014),
    entry(1, 0x114),
    entry(1, 0x214),
    entry(1, 0x314),
];

/// Where the mirrored registers of this chip are.
pub(super) fn registers(model: Model) -> &'static [MirroredRegister] {
    match model {
        Model::Lsi53c895a => &ENTRIES,
        // Its memory BAR has one image.
        Model::Lsi53c810 => ENTRIES.get(..2).unwrap_or(&ENTRIES),
    }
}

impl Lsi {
    /// ISTAT0 as it is now.
    pub(super) fn shown(&self) -> Mirrored {
        Mirrored {
            value: self.istat0().bits(),
            events: self.flies & 0x7f_ffff,
        }
    }

    /// Shows ISTAT0, if it is not as it was shown last.
    pub(super) fn show_istat(&self, last: &mut Mirrored, mirror: &mut dyn Mirror) {
        let now = self.shown();
        if now != *last {
            *last = now;
            mirror.show(ISTAT0, now);
        }
    }

    /// The driver writes ISTAT0 and has seen so many INTFLYs: INTF stays for a later one.
    pub(super) fn write_mirrored(&mut self, offset: u8, value: u8, seen: u32) {
        let later = offset == at::ISTAT0 && seen != self.shown().events;
        let kept = if later { Istat0::INTF.bits() } else { 0 };
        self.write_register(offset, value & !kept, Origin::Host);
    }

    /// INTFLY.
    pub(super) fn interrupt_on_the_fly(&mut self) {
        self.interrupts.on_the_fly = true;
        self.flies = self.flies.wrapping_add(1);
    }
}

/// Where the driver's plain writes to ISTAT0 show: SIGP is in CTEST2 too.
pub(super) const SHOWS_SIGP: [u8; 2] = [at::ISTAT0, at::CTEST2];

/// Whether an instruction sees or changes what the driver's plain writes to ISTAT0 change. A memory move may, through the register
/// window: it looks for itself, once it knows both addresses.
pub(super) fn looks_at_istat(instruction: Instruction) -> bool {
    match instruction {
        Instruction::Register(r) => SHOWS_SIGP.contains(&r.register),
        Instruction::LoadStore(l) => SHOWS_SIGP
            .iter()
            .any(|register| (l.register..l.register.saturating_add(l.count)).contains(register)),
        Instruction::Io(i) => i.operation == IoOperation::WaitReselect,
        _ => false,
    }
}
