//! Step 6, register accesses: what a read or a write of one register byte does beside moving the byte.
//!
//! Wider accesses are bytes in ascending order, so a write of DSP starts SCRIPTS with its last byte. The
//! same code serves the host and SCRIPTS; nothing here executes SCRIPTS, so a script that reaches the
//! chip's own registers cannot re-enter it.

use super::interrupt::{Dma, Scsi};
use super::registers::{
    Ctest2, DSTAT_DFE, Dcntl, Dmode, Istat0, Istat1, STEST1_QEN, STEST4_LOCK, STEST4_LVD,
    STIME1_GENSF, Scntl0, Scntl1, Scntl2, at,
};
use super::scripts::State;
use super::{Lsi, Model};
use outrigger_device::device::Device as _;

/// Who writes a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The host, through a BAR, or a memory move through the chip's own window.
    Host,
    /// A SCRIPTS instruction that names the register.
    Scripts,
}

const SIST0_BITS: Scsi = Scsi::from_bits_retain(0x00ff);
const SIST1_BITS: Scsi = Scsi::from_bits_retain(0xff00);

impl Lsi {
    /// Reads one register byte.
    #[inline]
    pub(super) fn read_register(&mut self, offset: u8) -> u8 {
        if self.is_stored(offset) {
            return self.registers.byte(offset);
        }
        self.read_with_effects(offset)
    }

    /// Whether this byte is of a register that only keeps what is written: those that SCRIPTS move all the time. Other bytes
    /// may be so too.
    #[inline]
    pub(super) fn is_stored(&self, offset: u8) -> bool {
        match offset {
            at::DSA..=0x13 | at::TEMP..=0x1f => !self.registers.show_shadows(),
            at::SCRATCHA..=0x37 | at::SCRATCHB..=0x5f => !self.shows_bars(),
            _ => false,
        }
    }

    fn read_with_effects(&mut self, offset: u8) -> u8 {
        let stored = self.registers.shown_byte(offset);
        match offset {
            // Only with CTEST4.SRTM, as in writes.
            at::DSA..=0x13 | at::TEMP..=0x1f => self.registers.shadow_byte(offset),
            at::SCNTL1 => stored & !Scntl1::CON.bits() | self.connected_bit(),
            // Pins that are inputs are pulled up.
            at::GPREG => stored | self.registers.byte(at::GPCNTL) & self.pins(),
            at::SOCL => self.socl().bits(),
            at::SBCL => self.control_lines(),
            at::DSTAT => {
                let enables = self.enables();
                let taken = self.interrupts.take_dma(enables).bits() | DSTAT_DFE;
                self.serviced();
                taken
            }
            at::SSTAT0 => self.sstat0(),
            at::SSTAT1 => self.link.latched.bits(),
            at::ISTAT0 => self.istat0().bits(),
            at::ISTAT1 if self.model == Model::Lsi53c895a => {
                let running = !matches!(self.processor.state, State::Halted);
                stored | if running { Istat1::SRUN.bits() } else { 0 }
            }
            at::CTEST2 => self.read_ctest2(),
            // Nothing is ever left in the FIFO: its counter follows DBC.
            at::DFIFO if stored_dfs(self) => self.registers.byte(at::DBC),
            at::DFIFO => self.registers.byte(at::DBC) & 0x7f,
            at::CTEST5 => stored | self.registers.byte(at::DBC + 1) & 3,
            at::SIST0 => {
                let enables = self.enables();
                let taken = self.interrupts.take_scsi(SIST0_BITS, enables);
                self.serviced();
                taken.bits().to_le_bytes()[0]
            }
            at::SIST1 => {
                let enables = self.enables();
                let taken = self.interrupts.take_scsi(SIST1_BITS, enables);
                self.serviced();
                taken.bits().to_le_bytes()[1]
            }
            at::MACNTL => {
                stored
                    | match self.model {
                        // Not one of the old numbers: PCI's, which SFS shows.
                        Model::Lsi53c895a => 0xf0,
                        Model::Lsi53c810 => 0x40,
                    }
            }
            at::STEST4 if self.model == Model::Lsi53c895a => {
                let locked = self.registers.byte(at::STEST1) & STEST1_QEN != 0;
                STEST4_LVD | if locked { STEST4_LOCK } else { 0 }
            }
            at::SIDL => self.read_sidl(),
            at::SBDL => self.read_data_lines(),
            at::SCRATCHA..=0x37 if self.shows_bars() => self.bar_byte(1, offset - at::SCRATCHA),
            at::SCRATCHB..=0x5f if self.shows_bars() => self.bar_byte(2, offset - at::SCRATCHB),
            at::MMRS..=0xa3 if self.shows_bars() => self.bar_byte(1, offset - at::MMRS + 4),
            at::MMWS..=0xa7 if self.shows_bars() => self.bar_byte(2, offset - at::MMWS + 4),
            at::SFS..=0xab if self.shows_bars() => self.identity_byte(offset - at::SFS),
            _ => stored,
        }
    }

    /// Writes one register byte.
    #[inline]
    pub(super) fn write_register(&mut self, offset: u8, value: u8, origin: Origin) {
        if self.is_stored(offset) {
            self.registers.set_byte(offset, value);
        } else {
            self.write_with_effects(offset, value, origin);
        }
    }

    fn write_with_effects(&mut self, offset: u8, value: u8, origin: Origin) {
        match offset {
            at::DSA..=0x13 | at::TEMP..=0x1f => self.registers.set_shadow_byte(offset, value),
            at::SCNTL0 => {
                let was = self.registers.scntl0();
                self.registers.write_byte(offset, value);
                if (self.registers.scntl0() - was).contains(Scntl0::START) {
                    self.start_sequence();
                }
            }
            at::SCNTL1 => {
                let was = self.registers.scntl1();
                self.registers.write_byte(offset, value);
                if (self.registers.scntl1() - was).contains(Scntl1::RST) {
                    self.reset_bus();
                }
                self.select_by_hand();
            }
            at::SOCL => self.write_socl(value),
            at::SODL..=0x55 => {
                self.registers.write_byte(offset, value);
                self.select_by_hand();
            }
            at::SCNTL2 => {
                self.registers.write_byte(offset, value);
                let flags = Scntl2::from_bits_retain(value) & (Scntl2::WSR | Scntl2::WSS);
                if flags.contains(Scntl2::WSR) {
                    self.drop_residue();
                }
                self.registers.set_scntl2(flags, false);
            }
            // Section 4.2, SFBR: only SCRIPTS can write it.
            at::SFBR if origin == Origin::Host => {}
            at::SFBR => self.set_sfbr(value),
            at::ISTAT0 => self.write_istat0(Istat0::from_bits_retain(value)),
            at::ISTAT1 => {
                let asks = self.asks();
                self.registers.write_byte(offset, value);
                self.line_held = asks && value & Istat1::SI.bits() != 0;
            }
            at::DCNTL => {
                self.registers.write_byte(offset, value);
                let start = Dcntl::from_bits_retain(value).contains(Dcntl::STD);
                if start && matches!(self.processor.state, State::Halted) {
                    self.processor.state = State::Running;
                }
            }
            at::STIME1 => {
                self.registers.write_byte(offset, value);
                let kept = self.registers.byte(offset);
                let period = self.period(kept, kept & STIME1_GENSF != 0);
                self.timers.start_general(period);
            }
            0x2f if origin == Origin::Host => {
                self.registers.write_byte(offset, value);
                if !self.registers.dmode().contains(Dmode::MAN) {
                    self.processor.state = State::Running;
                }
            }
            _ => self.registers.write_byte(offset, value),
        }
    }

    fn write_istat0(&mut self, value: Istat0) {
        if value.contains(Istat0::SRST) {
            self.reset_chip();
            // It reads back until it is written 0, but does not hold the chip: SeaBIOS never clears it.
            self.registers
                .write_byte(at::ISTAT0, (value & Istat0::SRST).bits());
            return;
        }
        self.registers.write_byte(at::ISTAT0, value.bits());
        if value.contains(Istat0::INTF) {
            self.interrupts.on_the_fly = false;
            self.serviced();
        }
        if value.contains(Istat0::ABRT) {
            self.post_dma(Dma::ABRT);
        }
    }

    #[inline]
    pub(super) fn istat0(&self) -> Istat0 {
        let when = |on: bool, bit: Istat0| Istat0::from_bits_retain(u8::from(on) * bit.bits());
        let shown = Istat0::CON | Istat0::INTF | Istat0::SIP | Istat0::DIP;
        self.registers.istat0().difference(shown)
            | when(self.link.connected(), Istat0::CON)
            | when(self.interrupts.on_the_fly, Istat0::INTF)
            | when(self.interrupts.sip(self.enables()), Istat0::SIP)
            | when(self.interrupts.dip(), Istat0::DIP)
    }

    /// Reading CTEST2 clears SIGP, in ISTAT too.
    fn read_ctest2(&mut self) -> u8 {
        let stored = Ctest2::from_bits_retain(self.registers.byte(at::CTEST2));
        let mut value = (stored & Ctest2::PCICIE) | Ctest2::DACK;
        value.set(Ctest2::CIO, self.windows[0].is_some());
        value.set(Ctest2::CM, self.windows[1].is_some());
        let istat = self.registers.istat0();
        value.set(Ctest2::SIGP, istat.contains(Istat0::SIGP));
        self.registers
            .set_byte(at::ISTAT0, (istat - Istat0::SIGP).bits());
        value.bits()
    }

    /// The general purpose pins.
    fn pins(&self) -> u8 {
        match self.model {
            Model::Lsi53c895a => 0x1f,
            Model::Lsi53c810 => 0x03,
        }
    }

    #[inline]
    fn shows_bars(&self) -> bool {
        self.model == Model::Lsi53c895a
            && self.registers.byte(at::CTEST2) & Ctest2::PCICIE.bits() != 0
    }

    fn bar_byte(&self, bar: usize, byte: u8) -> u8 {
        let base = self.windows.get(bar).copied().flatten().unwrap_or(0);
        let bytes = base.to_le_bytes();
        bytes.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// Section 4.3, SFS: PCI's device ID, then the revision.
    fn identity_byte(&self, byte: u8) -> u8 {
        let identity = self.identity();
        let [low, high] = identity.device.to_le_bytes();
        let bytes = [low, high, identity.revision];
        bytes.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// After a status register was read: a held line is let go once nothing asks any more.
    fn serviced(&mut self) {
        self.line_held &= self.asks();
    }
}

/// CTEST5.DFS: the big FIFO, whose counter has 10 bits.
fn stored_dfs(lsi: &Lsi) -> bool {
    lsi.model == Model::Lsi53c895a && lsi.registers.byte(at::CTEST5) & 0x20 != 0
}
