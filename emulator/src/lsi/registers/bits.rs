//! Step 6, registers: the bits that mean something to this model of the chip (manual, section 4.2).

use bitflags::bitflags;

bitflags! {
    /// SCNTL0 (section 4.2): only what changes behaviour here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Scntl0: u8 {
        /// Arbitration mode: both bits are full arbitration, none is simple arbitration.
        const ARB = 0xc0;
        /// Start the sequence.
        const START = 0x20;
        /// The sequence selects with ATN.
        const WATN = 0x10;
        /// Parity is checked.
        const EPC = 0x08;
        /// Target role.
        const TRG = 0x01;
    }
}

bitflags! {
    /// SCNTL1.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Scntl1: u8 {
        /// Drive SODL onto the data bus.
        const ADB = 0x40;
        /// Connected.
        const CON = 0x10;
        /// Assert RST.
        const RST = 0x08;
        /// Send even parity.
        const AESP = 0x04;
        /// Arbitrate as soon as the bus is free.
        const IARB = 0x02;
    }
}

bitflags! {
    /// The control signals of the bus, as in SOCL and SBCL.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Signal: u8 {
        /// Request: the target's.
        const REQ = 0x80;
        /// Acknowledge: the initiator's.
        const ACK = 0x40;
        /// Busy.
        const BSY = 0x20;
        /// Selection or reselection.
        const SEL = 0x10;
        /// Attention: the initiator has a message.
        const ATN = 0x08;
        /// The phase.
        const MSG = 0x04;
        /// The phase.
        const C_D = 0x02;
        /// The phase.
        const I_O = 0x01;
    }
}

bitflags! {
    /// SCNTL2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Scntl2: u8 {
        /// A disconnect now is unexpected.
        const SDU = 0x80;
        /// Chained mode.
        const CHM = 0x40;
        /// A byte of a wide send waits for its partner; writing 1 clears it.
        const WSS = 0x08;
        /// A byte of a wide receive waits in SWIDE; writing 1 clears it.
        const WSR = 0x01;
    }
}

bitflags! {
    /// ISTAT0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Istat0: u8 {
        /// Abort operation.
        const ABRT = 0x80;
        /// Software reset.
        const SRST = 0x40;
        /// Signal process.
        const SIGP = 0x20;
        /// Semaphore.
        const SEM = 0x10;
        /// Connected.
        const CON = 0x08;
        /// Interrupt on the fly; writing 1 clears it.
        const INTF = 0x04;
        /// SCSI interrupt pending.
        const SIP = 0x02;
        /// DMA interrupt pending.
        const DIP = 0x01;
    }
}

bitflags! {
    /// ISTAT1 (895A).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Istat1: u8 {
        /// SCRIPTS are running.
        const SRUN = 0x02;
        /// Further interrupts do not reach the pin.
        const SI = 0x01;
    }
}

bitflags! {
    /// CTEST2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Ctest2: u8 {
        /// SIGP, cleared by the read.
        const SIGP = 0x40;
        /// The I/O BAR decodes.
        const CIO = 0x20;
        /// The memory BAR decodes.
        const CM = 0x10;
        /// SCRATCHA and SCRATCHB show the BARs.
        const PCICIE = 0x08;
        /// Data acknowledge: idle level.
        const DACK = 0x01;
    }
}

bitflags! {
    /// DMODE.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Dmode: u8 {
        /// The source of memory and block moves is in I/O space.
        const SIOM = 0x20;
        /// Their destination is.
        const DIOM = 0x10;
        /// DSP does not start SCRIPTS; DCNTL.STD does.
        const MAN = 0x01;
    }
}

bitflags! {
    /// DCNTL.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Dcntl: u8 {
        /// Flush the prefetch unit; reads 0.
        const PFF = 0x40;
        /// Single step.
        const SSM = 0x10;
        /// Start; reads 0.
        const STD = 0x04;
        /// The interrupt pin is off.
        const IRQD = 0x02;
        /// IDs go to SSID only, not to SFBR.
        const COM = 0x01;
    }
}

bitflags! {
    /// CCNTL0 (895A).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Ccntl0: u8 {
        /// Jump on phase mismatch.
        const ENPMJ = 0x80;
        /// Choose the address by direction, not by WSR.
        const PMJCTL = 0x40;
        /// Also outside the data phases.
        const ENNDJ = 0x20;
    }
}

bitflags! {
    /// CCNTL1 (895A).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::lsi) struct Ccntl1: u8 {
        /// Table entries carry address bits 39 to 32 instead of a selector.
        const TIMOD64 = 0x04;
        /// 64-bit table indirect block moves.
        const EN64TIBMV = 0x02;
        /// 64-bit direct block moves.
        const EN64DBMV = 0x01;
    }
}

/// SXFER.MO: the synchronous offset; 0 is asynchronous.
pub(in crate::lsi) const SXFER_OFFSET: u8 = 0x1f;
/// SCID.RRE: reselections are answered at any time.
pub(in crate::lsi) const SCID_RRE: u8 = 0x40;
/// STIME1.HTHBA: HTH runs whenever the bus is busy.
pub(in crate::lsi) const STIME1_HTHBA: u8 = 0x40;
/// STIME1.GENSF: GEN takes 16 times as long.
pub(in crate::lsi) const STIME1_GENSF: u8 = 0x20;
/// STIME1.HTHSF: HTH takes 16 times as long.
pub(in crate::lsi) const STIME1_HTHSF: u8 = 0x10;
/// STEST2.SLB: loopback.
pub(in crate::lsi) const STEST2_SLB: u8 = 0x10;
/// STEST2.LOW: no SCRIPTS execute.
pub(in crate::lsi) const STEST2_LOW: u8 = 0x01;
/// SSTAT0.AIP: arbitration in progress.
pub(in crate::lsi) const SSTAT0_AIP: u8 = 0x10;
/// SSTAT0.LOA: arbitration was lost.
pub(in crate::lsi) const SSTAT0_LOA: u8 = 0x08;
/// SSTAT0.WOA: full arbitration was won.
pub(in crate::lsi) const SSTAT0_WOA: u8 = 0x04;
/// SSTAT0.SDP0: the parity signal.
pub(in crate::lsi) const SSTAT0_SDP0: u8 = 0x01;
/// SSTAT0.RST: the RST signal.
pub(in crate::lsi) const SSTAT0_RST: u8 = 0x02;
/// CTEST4.SRTM: accesses to TEMP and DSA reach their shadows.
pub(in crate::lsi) const CTEST4_SRTM: u8 = 0x10;
/// SSTAT2.LDSC: the last disconnect is newer than the last connect.
pub(in crate::lsi) const SSTAT2_LDSC: u8 = 0x02;
/// SSID.VAL.
pub(in crate::lsi) const SSID_VALID: u8 = 0x80;
/// DSTAT.DFE: the DMA FIFO is empty, as always here.
pub(in crate::lsi) const DSTAT_DFE: u8 = 0x80;
/// STEST1.QEN: the clock quadrupler is powered.
pub(in crate::lsi) const STEST1_QEN: u8 = 0x08;
/// STEST1.QSEL: the quadrupled clock is used.
pub(in crate::lsi) const STEST1_QSEL: u8 = 0x04;
/// STEST4: LVD mode, and the quadrupler's lock.
pub(in crate::lsi) const STEST4_LVD: u8 = 0xc0;
pub(in crate::lsi) const STEST4_LOCK: u8 = 0x20;
/// SCNTL3.EWS: the bus is used 16 bits wide.
pub(in crate::lsi) const SCNTL3_EWS: u8 = 0x08;
