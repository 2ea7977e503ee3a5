//! Step 6, registers: names, offsets, contents and reset values (manual, chapter 4).
//!
//! One table says what exists on which model; bits with a meaning to this model of the chip are types.
//! Side effects are in [`register_access`](super::register_access).

use bitflags::bitflags;

use super::Model;

/// Offsets. A register of several bytes is named by its first.
pub(super) mod at {
    pub(in crate::lsi) const SCNTL0: u8 = 0x00;
    pub(in crate::lsi) const SCNTL1: u8 = 0x01;
    pub(in crate::lsi) const SCNTL2: u8 = 0x02;
    pub(in crate::lsi) const SCNTL3: u8 = 0x03;
    pub(in crate::lsi) const SXFER: u8 = 0x05;
    pub(in crate::lsi) const SDID: u8 = 0x06;
    pub(in crate::lsi) const GPREG: u8 = 0x07;
    pub(in crate::lsi) const SFBR: u8 = 0x08;
    pub(in crate::lsi) const SSID: u8 = 0x0a;
    pub(in crate::lsi) const SBCL: u8 = 0x0b;
    pub(in crate::lsi) const DSTAT: u8 = 0x0c;
    pub(in crate::lsi) const SSTAT0: u8 = 0x0d;
    pub(in crate::lsi) const SSTAT1: u8 = 0x0e;
    pub(in crate::lsi) const SSTAT2: u8 = 0x0f;
    pub(in crate::lsi) const DSA: u8 = 0x10;
    pub(in crate::lsi) const ISTAT0: u8 = 0x14;
    pub(in crate::lsi) const ISTAT1: u8 = 0x15;
    pub(in crate::lsi) const CTEST2: u8 = 0x1a;
    pub(in crate::lsi) const TEMP: u8 = 0x1c;
    pub(in crate::lsi) const DFIFO: u8 = 0x20;
    pub(in crate::lsi) const CTEST5: u8 = 0x22;
    pub(in crate::lsi) const DBC: u8 = 0x24;
    pub(in crate::lsi) const DNAD: u8 = 0x28;
    pub(in crate::lsi) const DSP: u8 = 0x2c;
    pub(in crate::lsi) const DSPS: u8 = 0x30;
    pub(in crate::lsi) const SCRATCHA: u8 = 0x34;
    pub(in crate::lsi) const DMODE: u8 = 0x38;
    pub(in crate::lsi) const DIEN: u8 = 0x39;
    pub(in crate::lsi) const DCNTL: u8 = 0x3b;
    pub(in crate::lsi) const ADDER: u8 = 0x3c;
    pub(in crate::lsi) const SIEN0: u8 = 0x40;
    pub(in crate::lsi) const SIEN1: u8 = 0x41;
    pub(in crate::lsi) const SIST0: u8 = 0x42;
    pub(in crate::lsi) const SIST1: u8 = 0x43;
    pub(in crate::lsi) const SWIDE: u8 = 0x45;
    pub(in crate::lsi) const MACNTL: u8 = 0x46;
    pub(in crate::lsi) const GPCNTL: u8 = 0x47;
    pub(in crate::lsi) const STIME0: u8 = 0x48;
    pub(in crate::lsi) const STIME1: u8 = 0x49;
    pub(in crate::lsi) const STEST1: u8 = 0x4d;
    pub(in crate::lsi) const SIDL: u8 = 0x50;
    pub(in crate::lsi) const STEST4: u8 = 0x52;
    pub(in crate::lsi) const SODL: u8 = 0x54;
    pub(in crate::lsi) const CCNTL0: u8 = 0x56;
    pub(in crate::lsi) const CCNTL1: u8 = 0x57;
    pub(in crate::lsi) const SCRATCHB: u8 = 0x5c;
    pub(in crate::lsi) const SCRATCHC: u8 = 0x60;
    pub(in crate::lsi) const MMRS: u8 = 0xa0;
    pub(in crate::lsi) const MMWS: u8 = 0xa4;
    pub(in crate::lsi) const SFS: u8 = 0xa8;
    pub(in crate::lsi) const DRS: u8 = 0xac;
    pub(in crate::lsi) const SBMS: u8 = 0xb0;
    pub(in crate::lsi) const DBMS: u8 = 0xb4;
    pub(in crate::lsi) const DNAD64: u8 = 0xb8;
    pub(in crate::lsi) const PMJAD1: u8 = 0xc0;
    pub(in crate::lsi) const PMJAD2: u8 = 0xc4;
    pub(in crate::lsi) const RBC: u8 = 0xc8;
    pub(in crate::lsi) const UA: u8 = 0xcc;
    pub(in crate::lsi) const ESA: u8 = 0xd0;
    pub(in crate::lsi) const IA: u8 = 0xd4;
    pub(in crate::lsi) const SBC: u8 = 0xd8;
    pub(in crate::lsi) const CSBC: u8 = 0xdc;
}

bitflags! {
    /// SCNTL0 (section 4.2): only what changes behaviour here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Scntl0: u8 {
        /// Target role.
        const TRG = 0x01;
    }
}

bitflags! {
    /// SCNTL1.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Scntl1: u8 {
        /// Connected.
        const CON = 0x10;
        /// Assert RST.
        const RST = 0x08;
    }
}

bitflags! {
    /// SCNTL2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Scntl2: u8 {
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
    pub(super) struct Istat0: u8 {
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
    pub(super) struct Istat1: u8 {
        /// SCRIPTS are running.
        const SRUN = 0x02;
        /// Further interrupts do not reach the pin.
        const SI = 0x01;
    }
}

bitflags! {
    /// CTEST2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Ctest2: u8 {
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
    pub(super) struct Dmode: u8 {
        /// DSP does not start SCRIPTS; DCNTL.STD does.
        const MAN = 0x01;
    }
}

bitflags! {
    /// DCNTL.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Dcntl: u8 {
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
    pub(super) struct Ccntl0: u8 {
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
    pub(super) struct Ccntl1: u8 {
        /// Table entries carry address bits 39 to 32 instead of a selector.
        const TIMOD64 = 0x04;
        /// 64-bit table indirect block moves.
        const EN64TIBMV = 0x02;
        /// 64-bit direct block moves.
        const EN64DBMV = 0x01;
    }
}

/// SSTAT0.RST: the RST signal.
pub(super) const SSTAT0_RST: u8 = 0x02;
/// SSTAT2.LDSC: the last disconnect is newer than the last connect.
pub(super) const SSTAT2_LDSC: u8 = 0x02;
/// SSID.VAL.
pub(super) const SSID_VALID: u8 = 0x80;
/// DSTAT.DFE: the DMA FIFO is empty, as always here.
pub(super) const DSTAT_DFE: u8 = 0x80;
/// STEST1.QEN: the clock quadrupler is powered.
pub(super) const STEST1_QEN: u8 = 0x08;
/// STEST4: LVD mode, and the quadrupler's lock.
pub(super) const STEST4_LVD: u8 = 0xc0;
pub(super) const STEST4_LOCK: u8 = 0x20;
/// SCNTL3.EWS: the bus is used 16 bits wide.
pub(super) const SCNTL3_EWS: u8 = 0x08;

/// Where a register exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    Only895A,
}

/// One register: bytes from `offset`, its value after reset and the bits that a write keeps.
struct Row {
    offset: u8,
    bytes: u8,
    name: &'static str,
    reset: u32,
    keeps: u32,
    on: On,
}

const fn row(offset: u8, bytes: u8, name: &'static str, reset: u32, keeps: u32) -> Row {
    Row {
        offset,
        bytes,
        name,
        reset,
        keeps,
        on: On::Both,
    }
}

const fn new(offset: u8, bytes: u8, name: &'static str, reset: u32, keeps: u32) -> Row {
    Row {
        on: On::Only895A,
        ..row(offset, bytes, name, reset, keeps)
    }
}

const ALL: u32 = u32::MAX;

/// The registers in order. To 0x5f: section 4.2; 0xa0 to 0xbb: 4.3 (64-bit selectors); from 0xc0: 4.4
/// (phase mismatch). `keeps` 0 marks what is computed or read-only.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(0x00, 1, "SCNTL0", 0xc0, 0xff), row(0x01, 1, "SCNTL1", 0, 0xef),
    row(0x02, 1, "SCNTL2", 0, 0xf6), row(0x03, 1, "SCNTL3", 0, 0xff),
    row(0x04, 1, "SCID", 0, 0x6f), row(0x05, 1, "SXFER", 0, 0xff),
    row(0x06, 1, "SDID", 0, 0x0f), row(0x07, 1, "GPREG", 0, 0xff),
    row(0x08, 1, "SFBR", 0, 0xff), row(0x09, 1, "SOCL", 0, 0xff),
    row(0x0a, 1, "SSID", 0, 0), row(0x0b, 1, "SBCL", 0, 0),
    row(0x0c, 1, "DSTAT", 0x80, 0), row(0x0d, 1, "SSTAT0", 0, 0),
    row(0x0e, 1, "SSTAT1", 0, 0), row(0x0f, 1, "SSTAT2", 0, 0),
    row(0x10, 4, "DSA", 0, ALL), row(0x14, 1, "ISTAT0", 0, 0xf0),
    new(0x15, 1, "ISTAT1", 0, 0x01), new(0x16, 1, "MBOX0", 0, 0xff),
    new(0x17, 1, "MBOX1", 0, 0xff), row(0x18, 1, "CTEST0", 0, 0xff),
    row(0x19, 1, "CTEST1", 0xf0, 0), row(0x1a, 1, "CTEST2", 0x01, 0x08),
    row(0x1b, 1, "CTEST3", 0, 0x0b), row(0x1c, 4, "TEMP", 0, ALL),
    row(0x20, 1, "DFIFO", 0, 0), row(0x21, 1, "CTEST4", 0, 0xff),
    row(0x22, 1, "CTEST5", 0, 0x3c), row(0x23, 1, "CTEST6", 0, 0xff),
    row(0x24, 3, "DBC", 0, ALL), row(0x27, 1, "DCMD", 0, 0xff),
    row(0x28, 4, "DNAD", 0, ALL), row(0x2c, 4, "DSP", 0, ALL),
    row(0x30, 4, "DSPS", 0, ALL), row(0x34, 4, "SCRATCHA", 0, ALL),
    row(0x38, 1, "DMODE", 0, 0xff), row(0x39, 1, "DIEN", 0, 0x7d),
    row(0x3a, 1, "SBR", 0, 0xff), row(0x3b, 1, "DCNTL", 0, 0xbb),
    row(0x3c, 4, "ADDER", 0, 0), row(0x40, 1, "SIEN0", 0, 0xff),
    row(0x41, 1, "SIEN1", 0, 0x17), row(0x42, 1, "SIST0", 0, 0),
    row(0x43, 1, "SIST1", 0, 0), row(0x44, 1, "SLPAR", 0, 0xff),
    new(0x45, 1, "SWIDE", 0, 0xff), row(0x46, 1, "MACNTL", 0, 0x0f),
    row(0x47, 1, "GPCNTL", 0x0f, 0xff), row(0x48, 1, "STIME0", 0, 0xff),
    row(0x49, 1, "STIME1", 0, 0x7f), row(0x4a, 1, "RESPID0", 0, 0xff),
    new(0x4b, 1, "RESPID1", 0, 0xff), row(0x4c, 1, "STEST0", 0x03, 0),
    row(0x4d, 1, "STEST1", 0, 0xcf), row(0x4e, 1, "STEST2", 0, 0xbf),
    row(0x4f, 1, "STEST3", 0, 0xfd), row(0x50, 1, "SIDL", 0, 0),
    new(0x51, 1, "SIDL1", 0, 0), new(0x52, 1, "STEST4", STEST4_LVD as u32, 0),
    row(0x54, 1, "SODL", 0, 0xff), new(0x55, 1, "SODL1", 0, 0xff),
    new(0x56, 1, "CCNTL0", 0, 0xf3), new(0x57, 1, "CCNTL1", 0, 0x9f),
    row(0x58, 1, "SBDL", 0, 0), new(0x59, 1, "SBDL1", 0, 0),
    row(0x5c, 4, "SCRATCHB", 0, ALL),
    new(0x60, 4, "SCRATCHC", 0, ALL), new(0x64, 4, "SCRATCHD", 0, ALL),
    new(0x68, 4, "SCRATCHE", 0, ALL), new(0x6c, 4, "SCRATCHF", 0, ALL),
    new(0x70, 4, "SCRATCHG", 0, ALL), new(0x74, 4, "SCRATCHH", 0, ALL),
    new(0x78, 4, "SCRATCHI", 0, ALL), new(0x7c, 4, "SCRATCHJ", 0, ALL),
    new(0x80, 4, "SCRATCHK", 0, ALL), new(0x84, 4, "SCRATCHL", 0, ALL),
    new(0x88, 4, "SCRATCHM", 0, ALL), new(0x8c, 4, "SCRATCHN", 0, ALL),
    new(0x90, 4, "SCRATCHO", 0, ALL), new(0x94, 4, "SCRATCHP", 0, ALL),
    new(0x98, 4, "SCRATCHQ", 0, ALL), new(0x9c, 4, "SCRATCHR", 0, ALL),
    new(0xa0, 4, "MMRS", 0, ALL), new(0xa4, 4, "MMWS", 0, ALL),
    new(0xa8, 4, "SFS", 0, ALL), new(0xac, 4, "DRS", 0, ALL),
    new(0xb0, 4, "SBMS", 0, ALL), new(0xb4, 4, "DBMS", 0, ALL),
    new(0xb8, 4, "DNAD64", 0, ALL), new(0xc0, 4, "PMJAD1", 0, ALL),
    new(0xc4, 4, "PMJAD2", 0, ALL), new(0xc8, 4, "RBC", 0, ALL),
    new(0xcc, 4, "UA", 0, ALL), new(0xd0, 4, "ESA", 0, ALL),
    new(0xd4, 4, "IA", 0, ALL), new(0xd8, 3, "SBC", 0, 0),
    new(0xdc, 4, "CSBC", 0, ALL),
];

fn row_of(offset: u8) -> Option<(&'static Row, u8)> {
    TABLE
        .iter()
        .find(|r| (r.offset..=r.offset + (r.bytes - 1)).contains(&offset))
        .map(|r| (r, offset - r.offset))
}

/// The manual's name of the register byte at `offset`; a number follows if the register has more bytes.
pub(super) fn name(offset: u8) -> String {
    match row_of(offset) {
        Some((row, _)) if row.bytes == 1 => row.name.to_owned(),
        Some((row, byte)) => format!("{}{byte}", row.name),
        None => format!("RESERVED_{offset:02X}"),
    }
}

/// The storage behind the registers, and the bits that a plain write keeps.
#[derive(Clone)]
pub(super) struct Registers {
    bytes: [u8; 256],
    keeps: [u8; 256],
    reset: [u8; 256],
}

impl std::fmt::Debug for Registers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (offset, byte) in (0..=u8::MAX).zip(self.bytes) {
            if byte != 0 && row_of(offset).is_some() {
                map.entry(&name(offset), &format_args!("{byte:#04x}"));
            }
        }
        map.finish()
    }
}

impl Registers {
    /// All at their reset values.
    pub(super) fn new(model: Model) -> Self {
        let mut registers = Self {
            bytes: [0; 256],
            keeps: [0; 256],
            reset: [0; 256],
        };
        for row in TABLE {
            if row.on == On::Only895A && model != Model::Lsi53c895a {
                continue;
            }
            for byte in 0..row.bytes {
                let index = usize::from(row.offset + byte);
                let shift = 8 * u32::from(byte);
                registers.reset[index] = (row.reset >> shift).to_le_bytes()[0];
                registers.keeps[index] = (row.keeps >> shift).to_le_bytes()[0];
            }
        }
        registers.bytes = registers.reset;
        registers
    }

    /// All back to their reset values.
    pub(super) fn reset(&mut self) {
        self.bytes = self.reset;
    }

    /// One byte.
    pub(super) fn byte(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// Sets one byte, whatever a guest may write there.
    pub(super) fn set_byte(&mut self, offset: u8, value: u8) {
        self.bytes[usize::from(offset)] = value;
    }

    /// A write from outside: bits that do not exist or are read-only stay as they are.
    pub(super) fn write_byte(&mut self, offset: u8, value: u8) {
        let keeps = self.keeps[usize::from(offset)];
        let byte = &mut self.bytes[usize::from(offset)];
        *byte = *byte & !keeps | value & keeps;
    }

    /// Four bytes, little-endian.
    pub(super) fn dword(&self, offset: u8) -> u32 {
        let mut bytes = [0; 4];
        for (offset, byte) in (offset..=u8::MAX).zip(&mut bytes) {
            *byte = self.byte(offset);
        }
        u32::from_le_bytes(bytes)
    }

    /// Sets four bytes.
    pub(super) fn set_dword(&mut self, offset: u8, value: u32) {
        for (offset, byte) in (offset..=u8::MAX).zip(value.to_le_bytes()) {
            self.set_byte(offset, byte);
        }
    }

    /// Sets DBC, keeps DCMD.
    pub(super) fn set_dbc(&mut self, count: u32) {
        let command = self.dword(at::DBC) & 0xff00_0000;
        self.set_dword(at::DBC, command | count & 0x00ff_ffff);
    }

    pub(super) fn scntl2(&self) -> Scntl2 {
        Scntl2::from_bits_retain(self.byte(at::SCNTL2))
    }

    pub(super) fn set_scntl2(&mut self, bits: Scntl2, on: bool) {
        let mut value = self.scntl2();
        value.set(bits, on);
        self.set_byte(at::SCNTL2, value.bits());
    }

    pub(super) fn istat0(&self) -> Istat0 {
        Istat0::from_bits_retain(self.byte(at::ISTAT0))
    }

    pub(super) fn dcntl(&self) -> Dcntl {
        Dcntl::from_bits_retain(self.byte(at::DCNTL))
    }

    pub(super) fn ccntl0(&self) -> Ccntl0 {
        Ccntl0::from_bits_retain(self.byte(at::CCNTL0))
    }

    pub(super) fn ccntl1(&self) -> Ccntl1 {
        Ccntl1::from_bits_retain(self.byte(at::CCNTL1))
    }

    pub(super) fn is_target(&self) -> bool {
        self.byte(at::SCNTL0) & Scntl0::TRG.bits() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_do_not_overlap() {
        for pair in TABLE.windows(2) {
            assert!(
                pair[0].offset + pair[0].bytes <= pair[1].offset,
                "{} and {}",
                pair[0].name,
                pair[1].name
            );
        }
    }

    #[test]
    fn reset_values_are_the_manuals() {
        let r = Registers::new(Model::Lsi53c895a);
        for (offset, value) in [(0x00, 0xc0), (0x0c, 0x80), (0x19, 0xf0), (0x47, 0x0f)] {
            assert_eq!(r.byte(offset), value, "{}", name(offset));
        }
        assert_eq!(name(0x12), "DSA2");
        assert_eq!(name(0xff), "RESERVED_FF");
    }

    #[test]
    fn the_810_has_no_mailboxes() {
        let mut r = Registers::new(Model::Lsi53c810);
        r.write_byte(0x16, 0x55);
        assert_eq!(r.byte(0x16), 0);
    }
}
