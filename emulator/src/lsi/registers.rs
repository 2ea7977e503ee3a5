//! Step 6, registers: names, offsets, contents and reset values (manual, chapter 4).
//!
//! One table says what exists on which model; bits with a meaning to this model of the chip are types.
//! Side effects are in [`register_access`](super::register_access).

mod bits;
mod table;

use super::Model;
pub(super) use bits::*;
pub(super) use table::name;
use table::{On, TABLE, row_of};

/// Offsets. A register of several bytes is named by its first.
pub(super) mod at {
    pub(in crate::lsi) const SCNTL0: u8 = 0x00;
    pub(in crate::lsi) const SCNTL1: u8 = 0x01;
    pub(in crate::lsi) const SCNTL2: u8 = 0x02;
    pub(in crate::lsi) const SCNTL3: u8 = 0x03;
    pub(in crate::lsi) const SCID: u8 = 0x04;
    pub(in crate::lsi) const SXFER: u8 = 0x05;
    pub(in crate::lsi) const SDID: u8 = 0x06;
    pub(in crate::lsi) const GPREG: u8 = 0x07;
    pub(in crate::lsi) const SFBR: u8 = 0x08;
    pub(in crate::lsi) const SOCL: u8 = 0x09;
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
    pub(in crate::lsi) const CTEST4: u8 = 0x21;
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
    pub(in crate::lsi) const RESPID: u8 = 0x4a;
    pub(in crate::lsi) const STEST1: u8 = 0x4d;
    pub(in crate::lsi) const STEST2: u8 = 0x4e;
    pub(in crate::lsi) const SIDL: u8 = 0x50;
    pub(in crate::lsi) const STEST4: u8 = 0x52;
    pub(in crate::lsi) const SODL: u8 = 0x54;
    pub(in crate::lsi) const CCNTL0: u8 = 0x56;
    pub(in crate::lsi) const CCNTL1: u8 = 0x57;
    pub(in crate::lsi) const SBDL: u8 = 0x58;
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

/// The storage behind the registers, and the bits that a plain write keeps.
///
/// The chip works with more than a model shows: the 53C810 has no CHM, no IA and no SBC, and yet its block moves pass through here.
/// What a model lacks keeps whatever the chip leaves there, and reads as 0.
#[derive(Clone)]
pub(super) struct Registers {
    bytes: [u8; 256],
    keeps: [u8; 256],
    shows: [u8; 256],
    reset: [u8; 256],
    shadows: Shadows,
}

/// What a memory move uses in place of two registers, so that they keep their contents (manual, section 4.2, CTEST4.SRTM).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shadows {
    /// STEMP: where the memory move writes. Section 5.2: its third Dword is loaded here.
    pub(super) temp: u32,
    /// SDSA: where it reads. Section 5.7: a holding register during the move.
    pub(super) dsa: u32,
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
            shows: [0; 256],
            reset: [0; 256],
            shadows: Shadows::default(),
        };
        for row in TABLE {
            if row.on == On::Only895A && model != Model::Lsi53c895a {
                continue;
            }
            let (keeps, shows) = match model {
                Model::Lsi53c895a => (row.keeps, u32::MAX),
                Model::Lsi53c810 => (row.keeps & row.narrow, row.shows),
            };
            for byte in 0..row.bytes {
                let index = usize::from(row.offset + byte);
                let shift = 8 * u32::from(byte);
                let [reset, keeps, shows] = [row.reset, keeps, shows].map(|bits| bits >> shift);
                if let Some(byte) = registers.reset.get_mut(index) {
                    *byte = reset.to_le_bytes()[0];
                }
                if let Some(byte) = registers.keeps.get_mut(index) {
                    *byte = keeps.to_le_bytes()[0];
                }
                if let Some(byte) = registers.shows.get_mut(index) {
                    *byte = shows.to_le_bytes()[0];
                }
            }
        }
        registers.bytes = registers.reset;
        registers
    }

    /// All back to their reset values.
    pub(super) fn reset(&mut self) {
        self.bytes = self.reset;
        self.shadows = Shadows::default();
    }

    /// What a memory move holds.
    pub(super) fn set_shadows(&mut self, shadows: Shadows) {
        self.shadows = shadows;
    }

    /// CTEST4.SRTM: TEMP and DSA are their shadows for whoever reads or writes them.
    #[inline]
    pub(super) fn show_shadows(&self) -> bool {
        self.byte(at::CTEST4) & CTEST4_SRTM != 0
    }

    /// One byte of the shadow behind TEMP or DSA.
    pub(super) fn shadow_byte(&self, offset: u8) -> u8 {
        let (shadow, first) = match offset {
            at::TEMP.. => (self.shadows.temp, at::TEMP),
            _ => (self.shadows.dsa, at::DSA),
        };
        let bytes = shadow.to_le_bytes();
        let index = usize::from(offset.wrapping_sub(first));
        bytes.get(index).copied().unwrap_or(0)
    }

    /// Sets one byte of the shadow behind TEMP or DSA.
    pub(super) fn set_shadow_byte(&mut self, offset: u8, value: u8) {
        let (shadow, first) = match offset {
            at::TEMP.. => (&mut self.shadows.temp, at::TEMP),
            _ => (&mut self.shadows.dsa, at::DSA),
        };
        let mut bytes = shadow.to_le_bytes();
        if let Some(byte) = bytes.get_mut(usize::from(offset.wrapping_sub(first))) {
            *byte = value;
        }
        *shadow = u32::from_le_bytes(bytes);
    }

    /// One byte as this model shows it.
    #[inline]
    pub(super) fn shown_byte(&self, offset: u8) -> u8 {
        self.byte(offset) & self.shows.get(usize::from(offset)).copied().unwrap_or(0)
    }

    /// One byte.
    #[inline]
    pub(super) fn byte(&self, offset: u8) -> u8 {
        self.bytes.get(usize::from(offset)).copied().unwrap_or(0)
    }

    /// Sets one byte, whatever a guest may write there.
    #[inline]
    pub(super) fn set_byte(&mut self, offset: u8, value: u8) {
        if let Some(byte) = self.bytes.get_mut(usize::from(offset)) {
            *byte = value;
        }
    }

    /// A write from outside: bits that do not exist or are read-only stay as they are.
    pub(super) fn write_byte(&mut self, offset: u8, value: u8) {
        let keeps = self.keeps.get(usize::from(offset)).copied().unwrap_or(0);
        self.set_byte(offset, self.byte(offset) & !keeps | value & keeps);
    }

    /// Four bytes, little-endian.
    #[inline]
    pub(super) fn dword(&self, offset: u8) -> u32 {
        let from = self.bytes.get(usize::from(offset)..).unwrap_or_default();
        from.first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Sets four bytes.
    #[inline]
    pub(super) fn set_dword(&mut self, offset: u8, value: u32) {
        let from = self.bytes.get_mut(usize::from(offset)..);
        if let Some(bytes) = from.and_then(|from| from.first_chunk_mut()) {
            *bytes = value.to_le_bytes();
        }
    }

    /// Sets DBC, keeps DCMD.
    pub(super) fn set_dbc(&mut self, count: u32) {
        let command = self.dword(at::DBC) & 0xff00_0000;
        self.set_dword(at::DBC, command | count & 0x00ff_ffff);
    }

    pub(super) fn scntl0(&self) -> Scntl0 {
        Scntl0::from_bits_retain(self.byte(at::SCNTL0))
    }

    pub(super) fn set_scntl0(&mut self, bits: Scntl0, on: bool) {
        let mut value = self.scntl0();
        value.set(bits, on);
        self.set_byte(at::SCNTL0, value.bits());
    }

    pub(super) fn scntl1(&self) -> Scntl1 {
        Scntl1::from_bits_retain(self.byte(at::SCNTL1))
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

    pub(super) fn dmode(&self) -> Dmode {
        Dmode::from_bits_retain(self.byte(at::DMODE))
    }

    pub(super) fn ccntl0(&self) -> Ccntl0 {
        Ccntl0::from_bits_retain(self.byte(at::CCNTL0))
    }

    pub(super) fn ccntl1(&self) -> Ccntl1 {
        Ccntl1::from_bits_retain(self.byte(at::CCNTL1))
    }

    pub(super) fn is_target(&self) -> bool {
        self.scntl0().contains(Scntl0::TRG)
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
    fn bytes_have_names() {
        assert_eq!(name(0x12), "DSA2");
        assert_eq!(name(0xff), "RESERVED_FF");
    }
}
