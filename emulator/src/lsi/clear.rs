//! Step 6, registers: DSTAT, and SIST0 with SIST1, as read-to-clear groups: what a driver reads after an error.
//!
//! Their snapshots are published while SCRIPTS are halted, as whatever else the chip does after an error waits for the driver. Not published is
//! what has more behind it on the second level: reading the first brings that forward.

use std::time::Instant;

use super::registers::{DSTAT_DFE, Istat0, at};
use super::scripts::State;
use super::{Lsi, Model, mirror};
use outrigger_device::device::{Mirror, Mirrored, ReadToClearGroup, Snapshot, Snapshots};

/// Their numbers.
const DSTAT: u32 = 0;
const SIST: u32 = 1;

const fn place(bar: u8, image: u64, group: u32) -> ReadToClearGroup {
    let (first, size, summary) = match group {
        DSTAT => (at::DSTAT, 1, Istat0::DIP),
        _ => (at::SIST0, 2, Istat0::SIP),
    };
    ReadToClearGroup {
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
const GROUPS: [ReadToClearGroup; 10] = [
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

/// Where the read-to-clear groups of this chip are.
pub(super) fn groups(model: Model) -> &'static [ReadToClearGroup] {
    match model {
        Model::Lsi53c895a => &GROUPS,
        // Its memory BAR has one image.
        Model::Lsi53c810 => GROUPS.get(..4).unwrap_or(&GROUPS),
    }
}

impl Lsi {
    /// What reads of the groups would give. Both of them, if one has something: a driver may look at the other too.
    pub(super) fn read_to_clear_snapshots(&self) -> Snapshots {
        let pending = self.interrupts;
        let mut snapshots = Snapshots::default();
        if !matches!(self.processor.state, State::Halted)
            || !pending.stacked_dma.is_empty()
            || !pending.stacked_scsi.is_empty()
            || pending.dma.is_empty() && pending.scsi.is_empty()
        {
            return snapshots;
        }
        let [dstat, sist, ..] = &mut snapshots;
        *dstat = Some(Snapshot {
            value: (pending.dma.bits() | DSTAT_DFE).into(),
            residual: DSTAT_DFE.into(),
        });
        *sist = Some(Snapshot {
            value: pending.scsi.bits(),
            residual: 0,
        });
        snapshots
    }

    /// The driver has read this group, by its snapshot.
    pub(super) fn clear_group(&mut self, group: u32) {
        let registers: &[u8] = match group {
            DSTAT => &[at::DSTAT],
            SIST => &[at::SIST0, at::SIST1],
            _ => &[],
        };
        for &register in registers {
            self.read_register(register);
        }
    }

    /// Whether a slice that begins now does anything that ISTAT0 or a snapshot shows.
    pub(super) fn will_act(&self, now: Instant) -> bool {
        !matches!(self.processor.state, State::Halted)
            || self.timers.deadline().is_some_and(|at| at <= now)
            || self.awaits_reselection()
    }

    /// Revokes the snapshots, and clears what the driver has claimed.
    pub(super) fn revoke_snapshots(&mut self, shown: &mut Mirrored, mirror: &mut dyn Mirror) {
        let claimed = mirror.revoke();
        if !claimed.is_empty() {
            claimed.groups().for_each(|group| self.clear_group(group));
            self.show_istat(shown, mirror);
            mirror.claims_done();
        }
    }
}
