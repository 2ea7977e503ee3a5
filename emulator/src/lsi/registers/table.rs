//! Step 6, registers: what exists where, with which reset value (manual, chapter 4).

use super::{SSTAT2_LDSC, STEST4_LVD};

/// Where a register exists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Both,
    Only895A,
}

/// One register: bytes from `offset`, its value after reset and the bits that a write keeps; on the 53C810 only
/// those of `narrow`, and reads show only those of `shows`.
pub(super) struct Row {
    pub(super) offset: u8,
    pub(super) bytes: u8,
    pub(super) name: &'static str,
    pub(super) reset: u32,
    pub(super) keeps: u32,
    pub(super) narrow: u32,
    pub(super) shows: u32,
    pub(super) on: On,
}

const fn row(offset: u8, bytes: u8, name: &'static str, reset: u32, keeps: u32) -> Row {
    Row {
        offset,
        bytes,
        name,
        reset,
        keeps,
        narrow: ALL,
        shows: ALL,
        on: On::Both,
    }
}

/// One byte, of which the 53C810 has fewer bits.
const fn less(offset: u8, name: &'static str, reset: u32, keeps: u32, narrow: u32) -> Row {
    Row {
        narrow,
        shows: narrow | reset,
        ..row(offset, 1, name, reset, keeps)
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
pub(super) const TABLE: &[Row] = &[
    row(0x00, 1, "SCNTL0", 0xc0, 0xfb), row(0x01, 1, "SCNTL1", 0, 0xef),
    less(0x02, "SCNTL2", 0, 0xf6, 0x80), less(0x03, "SCNTL3", 0, 0xff, 0x77),
    less(0x04, "SCID", 0, 0x6f, 0x67), less(0x05, "SXFER", 0, 0xff, 0xef),
    less(0x06, "SDID", 0, 0x0f, 0x07), less(0x07, "GPREG", 0, 0x1f, 0x03),
    row(0x08, 1, "SFBR", 0, 0xff), row(0x09, 1, "SOCL", 0, 0xff),
    row(0x0a, 1, "SSID", 0, 0), row(0x0b, 1, "SBCL", 0, 0),
    row(0x0c, 1, "DSTAT", 0x80, 0), row(0x0d, 1, "SSTAT0", 0, 0),
    row(0x0e, 1, "SSTAT1", 0, 0), row(0x0f, 1, "SSTAT2", SSTAT2_LDSC as u32, 0),
    row(0x10, 4, "DSA", 0, ALL), row(0x14, 1, "ISTAT0", 0, 0xf0),
    new(0x15, 1, "ISTAT1", 0, 0x01), new(0x16, 1, "MBOX0", 0, 0xff),
    new(0x17, 1, "MBOX1", 0, 0xff), row(0x18, 1, "CTEST0", 0, 0xff),
    row(0x19, 1, "CTEST1", 0xf0, 0), less(0x1a, "CTEST2", 0x01, 0x08, 0),
    row(0x1b, 1, "CTEST3", 0, 0x0b), row(0x1c, 4, "TEMP", 0, ALL),
    row(0x20, 1, "DFIFO", 0, 0), row(0x21, 1, "CTEST4", 0, 0xff),
    less(0x22, "CTEST5", 0, 0x3c, 0x18), row(0x23, 1, "CTEST6", 0, 0xff),
    row(0x24, 3, "DBC", 0, ALL), row(0x27, 1, "DCMD", 0x40, 0xff),
    row(0x28, 4, "DNAD", 0, ALL), row(0x2c, 4, "DSP", 0, ALL),
    row(0x30, 4, "DSPS", 0, ALL), row(0x34, 4, "SCRATCHA", 0, ALL),
    row(0x38, 1, "DMODE", 0, 0xff), row(0x39, 1, "DIEN", 0, 0x7d),
    row(0x3a, 1, "SBR", 0, 0xff), row(0x3b, 1, "DCNTL", 0, 0xbb),
    row(0x3c, 4, "ADDER", 0, 0), row(0x40, 1, "SIEN0", 0, 0xff),
    less(0x41, "SIEN1", 0, 0x17, 0x07), row(0x42, 1, "SIST0", 0, 0),
    row(0x43, 1, "SIST1", 0, 0), row(0x44, 1, "SLPAR", 0, 0xff),
    new(0x45, 1, "SWIDE", 0, 0xff), row(0x46, 1, "MACNTL", 0, 0x0f),
    row(0x47, 1, "GPCNTL", 0x0f, 0xff), row(0x48, 1, "STIME0", 0, 0xff),
    less(0x49, "STIME1", 0, 0x7f, 0x0f), row(0x4a, 1, "RESPID0", 0, 0xff),
    new(0x4b, 1, "RESPID1", 0, 0xff), row(0x4c, 1, "STEST0", 0x03, 0),
    less(0x4d, "STEST1", 0, 0xcf, 0xc0), less(0x4e, "STEST2", 0, 0xbf, 0x9b),
    less(0x4f, "STEST3", 0, 0xfd, 0xf5), row(0x50, 1, "SIDL", 0, 0),
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

pub(super) fn row_of(offset: u8) -> Option<(&'static Row, u8)> {
    TABLE
        .iter()
        .find(|r| (r.offset..=r.offset + (r.bytes - 1)).contains(&offset))
        .map(|r| (r, offset - r.offset))
}

/// The manual's name of the register byte at `offset`; a number follows if the register has more bytes.
pub(in crate::lsi) fn name(offset: u8) -> String {
    match row_of(offset) {
        Some((row, _)) if row.bytes == 1 => row.name.to_owned(),
        Some((row, byte)) => format!("{}{byte}", row.name),
        None => format!("RESERVED_{offset:02X}"),
    }
}
