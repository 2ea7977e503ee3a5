//! Step 11, interrupt: DSTAT, SIST0/1 and their stack (manual, sections 2.2.16 and 4.2).
//!
//! Fatal conditions stop SCRIPTS and show in ISTAT even when masked. A masked non-fatal one is only posted; an
//! enabled one is fatal.
//! While something shows in ISTAT, new conditions collect in a second level behind the registers and
//! come forward when the first level has been read away. More than two levels merge into the second.

use bitflags::bitflags;

bitflags! {
    /// DMA conditions: DSTAT and DIEN.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Dma: u8 {
        /// Master data parity error.
        const MDPE = 0x40;
        /// Bus fault.
        const BF = 0x20;
        /// Aborted by ISTAT.ABRT.
        const ABRT = 0x10;
        /// Single step.
        const SSI = 0x08;
        /// The INT instruction.
        const SIR = 0x04;
        /// Illegal instruction.
        const IID = 0x01;
    }
}

bitflags! {
    /// SCSI conditions: SIST0/SIEN0 in the low byte, SIST1/SIEN1 in the high byte.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Scsi: u16 {
        /// Phase mismatch.
        const MA = 0x0080;
        /// Function complete.
        const CMP = 0x0040;
        /// Selected.
        const SEL = 0x0020;
        /// Reselected.
        const RSL = 0x0010;
        /// SCSI gross error.
        const SGE = 0x0008;
        /// Unexpected disconnect.
        const UDC = 0x0004;
        /// The RST signal.
        const RST = 0x0002;
        /// Parity error.
        const PAR = 0x0001;
        /// Bus mode change (895A).
        const SBMC = 0x1000;
        /// Selection time-out.
        const STO = 0x0400;
        /// General purpose timer.
        const GEN = 0x0200;
        /// Handshake-to-handshake timer.
        const HTH = 0x0100;
    }
}

impl Scsi {
    /// What does not stop SCRIPTS, unless it is enabled.
    const NON_FATAL: Self = Self::CMP
        .union(Self::SEL)
        .union(Self::RSL)
        .union(Self::GEN)
        .union(Self::HTH);

    /// Whether SCRIPTS stop: section 2.2.16.3, an enabled condition is always fatal.
    pub(super) const fn is_fatal(self, enabled: Self) -> bool {
        !Self::NON_FATAL.difference(enabled).contains(self)
    }
}

/// The enables, DIEN and SIEN0/1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Enables {
    pub(super) dma: Dma,
    pub(super) scsi: Scsi,
}

/// What is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interrupts {
    /// DSTAT without DFE.
    pub(super) dma: Dma,
    /// SIST0 and SIST1.
    pub(super) scsi: Scsi,
    /// The second level behind DSTAT.
    pub(super) stacked_dma: Dma,
    /// The second level behind SIST0 and SIST1.
    pub(super) stacked_scsi: Scsi,
    /// ISTAT.INTF.
    pub(super) on_the_fly: bool,
}

impl Interrupts {
    /// ISTAT.DIP.
    pub(super) fn dip(&self) -> bool {
        !self.dma.is_empty()
    }

    /// ISTAT.SIP.
    pub(super) fn sip(&self, enables: Enables) -> bool {
        self.scsi
            .intersects(enables.scsi | Scsi::NON_FATAL.complement())
    }

    /// What asks for the interrupt line.
    pub(super) fn asserted(&self, enables: Enables) -> bool {
        self.on_the_fly || self.dma.intersects(enables.dma) || self.scsi.intersects(enables.scsi)
    }

    /// Posts a DMA condition.
    pub(super) fn raise_dma(&mut self, condition: Dma, enables: Enables) {
        if self.dip() || self.sip(enables) {
            self.stacked_dma |= condition;
        } else {
            self.dma |= condition;
        }
    }

    /// Posts a SCSI condition.
    pub(super) fn raise_scsi(&mut self, condition: Scsi, enables: Enables) {
        if self.dip() || self.sip(enables) {
            self.stacked_scsi |= condition;
        } else {
            self.scsi |= condition;
        }
    }

    /// DSTAT was read: what it held is cleared.
    pub(super) fn take_dma(&mut self, enables: Enables) -> Dma {
        let taken = std::mem::take(&mut self.dma);
        self.promote(enables);
        taken
    }

    /// SIST0 (`Scsi` bits 0 to 7) or SIST1 (8 to 15) was read.
    pub(super) fn take_scsi(&mut self, which: Scsi, enables: Enables) -> Scsi {
        let taken = self.scsi & which;
        self.scsi -= taken;
        self.promote(enables);
        taken
    }

    fn promote(&mut self, enables: Enables) {
        if !self.dip() && !self.sip(enables) {
            self.dma |= std::mem::take(&mut self.stacked_dma);
            self.scsi |= std::mem::take(&mut self.stacked_scsi);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Enables = Enables {
        dma: Dma::all(),
        scsi: Scsi::all(),
    };
    const NONE: Enables = Enables {
        dma: Dma::empty(),
        scsi: Scsi::empty(),
    };
    const LOW: Scsi = Scsi::from_bits_retain(0x00ff);
    const HIGH: Scsi = Scsi::from_bits_retain(0xff00);

    #[test]
    fn a_second_condition_waits_behind_the_first() {
        let mut i = Interrupts::default();
        i.raise_scsi(Scsi::MA, ALL);
        i.raise_dma(Dma::SIR, ALL);
        i.raise_scsi(Scsi::UDC, ALL);
        assert!(i.sip(ALL) && !i.dip());
        assert_eq!(i.take_dma(ALL), Dma::empty());
        assert_eq!(i.take_scsi(HIGH, ALL), Scsi::empty());
        assert_eq!(i.take_scsi(LOW, ALL), Scsi::MA);
        // Both come forward together: they merged on the second level.
        assert!(i.sip(ALL) && i.dip());
        assert_eq!(i.take_dma(ALL), Dma::SIR);
        assert_eq!(i.take_scsi(LOW, ALL), Scsi::UDC);
        assert_eq!(i, Interrupts::default());
    }

    #[test]
    fn a_masked_fatal_condition_shows_but_does_not_ask() {
        let mut i = Interrupts::default();
        i.raise_scsi(Scsi::STO, NONE);
        assert!(i.sip(NONE) && !i.asserted(NONE));
        let mut i = Interrupts::default();
        i.raise_dma(Dma::BF, NONE);
        assert!(i.dip() && !i.asserted(NONE) && i.asserted(ALL));
    }

    #[test]
    fn a_masked_non_fatal_condition_is_posted_and_stacks_nothing() {
        let mut i = Interrupts::default();
        i.raise_scsi(Scsi::GEN, NONE);
        assert!(!i.sip(NONE) && !i.asserted(NONE));
        i.raise_scsi(Scsi::MA, NONE);
        assert_eq!(i.scsi, Scsi::GEN | Scsi::MA);
        assert_eq!(i.take_scsi(HIGH, NONE), Scsi::GEN);
        assert_eq!(i.take_scsi(LOW, NONE), Scsi::MA);
    }

    #[test]
    fn only_five_masked_conditions_leave_scripts_running() {
        for c in Scsi::all() {
            let non_fatal = matches!(c, Scsi::CMP | Scsi::SEL | Scsi::RSL | Scsi::GEN | Scsi::HTH);
            assert_eq!(c.is_fatal(Scsi::empty()), !non_fatal, "{c:?}");
            assert!(c.is_fatal(c), "{c:?}");
        }
    }
}
