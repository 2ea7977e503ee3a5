//! Step 6, registers: DSTAT, and SIST0 with SIST1, as clear groups: what a driver reads after an error.
//!
//! They are offered while SCRIPTS are halted, as whatever else the chip does after an error waits for the driver. Not offered is
//! what has more behind it on the second level: reading the first brings that forward.

use std::time::Instant;

use super::registers::{DSTAT_DFE, Istat0, at};
use super::scripts::State;
use super::{Lsi, Model, mirror};
use outrigger_device::device::{ClearGroup, Mirror, Mirrored, Offer, Offers};

/// Their numbers.
const DSTAT: u32 = 0;
const SIST: u32 = 1;

const fn place(bar: u8, image: u64, group: u32) -> ClearGroup {
    let (first, size, summary) = match group {
        DSTAT => (at::DSTAT, 1, Istat0::DIP),
        _ => (at::SIST0, 2, Istat0::SIP),
    };
    ClearGroup {
        bar,
        offset: image + first as u64,
        size,
        group,
        register: ISTAT0,
        summary: summary.bits(),
    }
}

const ISTAT0: u8 = 0;
const _: () = assert!(ISTAT0 as u32 == mirror::ISTAT0);

/// The I/O BAR, and the memory BAR with its images of the registers.
const GROUPS: [ClearGroup; 10] = [
    place(0, 0, DSTAT),
    place(0, 0, SIST),
    place(1, 0, DSTAT),
    place(1, 0, SIST),
    place(1, 0x100, DSTAT),
    place(1, 0x100, SIST),
    place(1, 0x200, DSTAT),
    place(1, 0x200, SIST),
    place(1, 0x300, DSTAT),
    place(1, 0x300, SIST),
];

/// Where the clear groups of this chip are.
pub(super) fn groups(model: Model) -> &'static [ClearGroup] {
    match model {
        Model::Lsi53c895a => &GROUPS,
        // Its memory BAR has one image.
        Model::Lsi53c810 => GROUPS.get(..4).unwrap_or(&GROUPS),
    }
}

impl Lsi {
    /// What reads of the groups would take. Both of them, if one has something: a driver may look at the other too.
    pub(super) fn clear_offers(&self) -> Offers {
        let pending = self.interrupts;
        let mut offers = Offers::default();
        if !matches!(self.processor.state, State::Halted)
            || !pending.stacked_dma.is_empty()
            || !pending.stacked_scsi.is_empty()
            || pending.dma.is_empty() && pending.scsi.is_empty()
        {
            return offers;
        }
        let [dstat, sist, ..] = &mut offers;
        *dstat = Some(Offer {
            value: (pending.dma.bits() | DSTAT_DFE).into(),
            residual: DSTAT_DFE.into(),
        });
        *sist = Some(Offer {
            value: pending.scsi.bits(),
            residual: 0,
        });
        offers
    }

    /// The driver has read this group, as it was offered.
    pub(super) fn take_group(&mut self, group: u32) {
        let registers: &[u8] = match group {
            DSTAT => &[at::DSTAT],
            SIST => &[at::SIST0, at::SIST1],
            _ => &[],
        };
        for &register in registers {
            self.read_register(register);
        }
    }

    /// Whether a slice that begins now does anything that ISTAT0 or an offer shows.
    pub(super) fn stirs(&self, now: Instant) -> bool {
        !matches!(self.processor.state, State::Halted)
            || self.timers.deadline().is_some_and(|at| at <= now)
            || self.awaits_reselection()
    }

    /// Nothing is offered from here on, and what the driver has taken is taken.
    pub(super) fn stand_down(&mut self, shown: &mut Mirrored, mirror: &mut dyn Mirror) {
        let taken = mirror.withdraw();
        if !taken.is_empty() {
            taken.groups().for_each(|group| self.take_group(group));
            self.show_istat(shown, mirror);
            mirror.collected();
        }
    }
}
