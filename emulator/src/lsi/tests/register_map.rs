//! Every register byte of both chips: its value after reset, and the bits that the host can change.

use super::Rig;
use crate::lsi::{Model, at};
use outrigger_block::Backend;

/// From a first to a last byte: the value after reset, the writable bits of the 53C895A and of the 53C810; `None`: the
/// byte does not exist there.
type Entry = (u8, u8, u8, Option<u8>, Option<u8>);

const ALL: Option<u8> = Some(0xff);
const NO: Option<u8> = Some(0);

/// Chapter 4 of the manuals. Left out is what has an effect of its own, which other tests show: SCNTL0, SCNTL1, ISTAT0,
/// CTEST2, DCNTL, DSP3.
#[rustfmt::skip]
const MAP: &[Entry] = &[
    (0x02, 0x02, 0x00, Some(0xf6), Some(0x80)), // SCNTL2
    (0x03, 0x03, 0x00, ALL, Some(0x77)),        // SCNTL3
    (0x04, 0x04, 0x00, Some(0x6f), Some(0x67)), // SCID
    (0x05, 0x05, 0x00, ALL, Some(0xef)),        // SXFER
    (0x06, 0x06, 0x00, Some(0x0f), Some(0x07)), // SDID
    (0x08, 0x08, 0x00, NO, NO),                 // SFBR
    (0x09, 0x09, 0x00, ALL, ALL),               // SOCL
    (0x0a, 0x0b, 0x00, NO, NO),                 // SSID, SBCL
    (0x0c, 0x0c, 0x80, NO, NO),                 // DSTAT
    (0x0d, 0x0e, 0x00, NO, NO),                 // SSTAT0, SSTAT1
    (0x0f, 0x0f, 0x02, NO, NO),                 // SSTAT2
    (0x10, 0x13, 0x00, ALL, ALL),               // DSA
    (0x15, 0x15, 0x00, Some(0x01), None),       // ISTAT1
    (0x16, 0x17, 0x00, ALL, None),              // MBOX0, MBOX1
    (0x18, 0x18, 0x00, ALL, ALL),               // CTEST0
    (0x19, 0x19, 0xf0, NO, NO),                 // CTEST1
    (0x1b, 0x1b, 0x00, Some(0x0b), Some(0x0b)), // CTEST3
    (0x1c, 0x1f, 0x00, ALL, ALL),               // TEMP
    (0x20, 0x20, 0x00, NO, NO),                 // DFIFO
    (0x21, 0x21, 0x00, ALL, ALL),               // CTEST4
    (0x22, 0x22, 0x00, Some(0x3c), Some(0x18)), // CTEST5
    (0x23, 0x23, 0x00, ALL, ALL),               // CTEST6
    (0x24, 0x26, 0x00, ALL, ALL),               // DBC
    (0x27, 0x27, 0x40, ALL, ALL),               // DCMD
    (0x28, 0x2e, 0x00, ALL, ALL),               // DNAD, DSP0-2
    (0x30, 0x38, 0x00, ALL, ALL),               // DSPS, SCRATCHA, DMODE
    (0x39, 0x39, 0x00, Some(0x7d), Some(0x7d)), // DIEN
    (0x3a, 0x3a, 0x00, ALL, ALL),               // SBR
    (0x3c, 0x3f, 0x00, NO, NO),                 // ADDER
    (0x40, 0x40, 0x00, ALL, ALL),               // SIEN0
    (0x41, 0x41, 0x00, Some(0x17), Some(0x07)), // SIEN1
    (0x42, 0x43, 0x00, NO, NO),                 // SIST0, SIST1
    (0x44, 0x44, 0x00, ALL, ALL),               // SLPAR
    (0x45, 0x45, 0x00, ALL, None),              // SWIDE
    (0x47, 0x47, 0x0f, ALL, ALL),               // GPCNTL
    (0x48, 0x48, 0x00, ALL, ALL),               // STIME0
    (0x49, 0x49, 0x00, Some(0x7f), Some(0x0f)), // STIME1
    (0x4a, 0x4a, 0x00, ALL, ALL),               // RESPID0
    (0x4b, 0x4b, 0x00, ALL, None),              // RESPID1
    (0x4c, 0x4c, 0x03, NO, NO),                 // STEST0
    (0x4d, 0x4d, 0x00, Some(0xcf), Some(0xc0)), // STEST1
    (0x4e, 0x4e, 0x00, Some(0xbf), Some(0x9b)), // STEST2
    (0x4f, 0x4f, 0x00, Some(0xfd), Some(0xf5)), // STEST3
    (0x50, 0x50, 0x00, NO, NO),                 // SIDL
    (0x51, 0x51, 0x00, NO, None),               // SIDL1
    (0x52, 0x52, 0xc0, NO, None),               // STEST4
    (0x53, 0x53, 0x00, None, None),
    (0x54, 0x54, 0x00, ALL, ALL),               // SODL
    (0x55, 0x55, 0x00, ALL, None),              // SODL1
    (0x56, 0x56, 0x00, Some(0xf3), None),       // CCNTL0
    (0x57, 0x57, 0x00, Some(0x9f), None),       // CCNTL1
    (0x58, 0x58, 0x00, NO, NO),                 // SBDL
    (0x59, 0x59, 0x00, NO, None),               // SBDL1
    (0x5a, 0x5b, 0x00, None, None),
    (0x5c, 0x5f, 0x00, ALL, ALL),               // SCRATCHB
    (0x60, 0x9f, 0x00, ALL, None),              // SCRATCHC-R
    (0xa0, 0xbb, 0x00, ALL, None),              // MMRS, MMWS, SFS, DRS, SBMS, DBMS, DNAD64
    (0xbc, 0xbf, 0x00, None, None),
    (0xc0, 0xd7, 0x00, ALL, None),              // PMJAD1/2, RBC, UA, ESA, IA
    (0xd8, 0xda, 0x00, NO, None),               // SBC
    (0xdb, 0xdb, 0x00, None, None),
    (0xdc, 0xdf, 0x00, ALL, None),              // CSBC
    (0xe0, 0xff, 0x00, None, None),
];

#[test]
fn reset_values_and_writable_bits() {
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        let mut rig = Rig::with(model, Backend::memory(vec![0; 512], false));
        for &(first, last, reset, wide, narrow) in MAP {
            let exists = match model {
                Model::Lsi53c895a => wide,
                Model::Lsi53c810 => narrow,
            };
            let (reset, writable) = exists.map_or((0, 0), |writable| (reset, writable));
            for offset in first..=last {
                assert_eq!(rig.r8(offset), reset, "{model:?} {offset:#x}");
                for value in [0xff, 0x00, 0x5a, 0xa5] {
                    rig.w8(offset, value);
                    let expected = reset & !writable | value & writable;
                    assert_eq!(rig.r8(offset), expected, "{model:?} {offset:#x}");
                }
                rig.w8(at::ISTAT0, 0x40);
                rig.w8(at::ISTAT0, 0x00);
                assert_eq!(rig.r8(offset), reset, "{model:?} {offset:#x} after SRST");
            }
        }
    }
}

#[test]
fn registers_with_an_effect_of_their_own() {
    for (model, scntl0, gpreg, ctest2, macntl) in [
        (Model::Lsi53c895a, 0xdb, 0x15, 0x39, 0xff),
        (Model::Lsi53c810, 0xdb, 0x01, 0x31, 0x4f),
    ] {
        let mut rig = Rig::with(model, Backend::memory(vec![0; 512], false));
        // Without START.
        rig.w8(at::SCNTL0, 0xdf);
        assert_eq!(rig.r8(at::SCNTL0), scntl0);
        // CON shows the connection.
        rig.w8(at::SCNTL1, 0xf7);
        assert_eq!(rig.r8(at::SCNTL1), 0xe7);
        // All pins are outputs, then inputs, which are pulled up.
        rig.w8(at::GPCNTL, 0x00);
        rig.w8(at::GPREG, 0x15);
        assert_eq!(rig.r8(at::GPREG), gpreg);
        rig.w8(at::GPCNTL, 0x1f);
        assert_eq!(rig.r8(at::GPREG), if gpreg == 0x15 { 0x1f } else { 0x03 });
        rig.w8(at::CTEST2, 0xff);
        assert_eq!(rig.r8(at::CTEST2), ctest2);
        rig.w8(at::MACNTL, 0xff);
        assert_eq!(rig.r8(at::MACNTL), macntl);
        // PFF and STD read 0.
        rig.w8(at::DCNTL, 0xfb);
        assert_eq!(rig.r8(at::DCNTL), 0xbb);
    }
}
