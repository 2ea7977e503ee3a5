//! Step 8, SCSI: the mode pages, byte by byte.

use super::Mode;
use crate::scsi::cdb::PageControl;
use crate::scsi::medium::Medium;
use crate::scsi::unit::Kind;

/// The pages of each kind of unit.
pub(super) fn codes(kind: Kind) -> &'static [u8] {
    match kind {
        // Read-write error recovery, disconnect-reconnect, format device, rigid disk geometry, caching, control,
        // informational exceptions.
        Kind::Disk => &[0x01, 0x02, 0x03, 0x04, 0x08, 0x0a, 0x1c],
        // Read error recovery, disconnect-reconnect, control, CD parameters, CD audio, capabilities.
        Kind::Cdrom => &[0x01, 0x02, 0x0a, 0x0d, 0x0e, 0x2a],
    }
}

/// Bytes of the longest page, header included.
const LONGEST: usize = 2 + 0x16;

/// Caching page, byte 2.
pub(super) const WCE: u8 = 0x04;
/// Control page, byte 2.
pub(super) const D_SENSE: u8 = 0x04;

/// A geometry for those that ask for one.
const HEADS: u8 = 16;
const SECTORS: u16 = 63;

/// What a 52 times CD-ROM drive reads, in thousands of bytes a second.
const SPEED: u16 = 9173;

impl Mode {
    /// The whole page, header included; `None` if there is none with this code.
    pub(super) fn page(&self, code: u8, control: PageControl, medium: &Medium) -> Option<Vec<u8>> {
        if !codes(self.kind).contains(&code) {
            return None;
        }
        let length = match code {
            0x01 | 0x0a | 0x1c => 0x0a,
            0x0d => 0x06,
            0x02 | 0x0e => 0x0e,
            0x03 | 0x04 => 0x16,
            0x08 => 0x12,
            0x2a => 0x14,
            _ => return None,
        };
        let mut bytes = [0; LONGEST];
        bytes[0] = code;
        bytes[1] = length;
        let values = self.values(control);
        // What cannot be changed is 0 in the mask.
        let fixed = control != PageControl::Changeable;
        match code {
            // AWRE: the host's storage reallocates.
            0x01 if fixed && self.kind == Kind::Disk => bytes[2] = 0x80,
            0x03 if fixed => {
                let size = u16::try_from(medium.block_size()).unwrap_or(u16::MAX);
                bytes[10..12].copy_from_slice(&SECTORS.to_be_bytes());
                bytes[12..14].copy_from_slice(&size.to_be_bytes());
                bytes[20] = 0x40; // HSEC
            }
            0x04 if fixed => {
                let cylinders = medium.blocks() / (u64::from(HEADS) * u64::from(SECTORS));
                let cylinders = u32::try_from(cylinders)
                    .unwrap_or(u32::MAX)
                    .clamp(1, 0xff_ffff);
                bytes[2..5].copy_from_slice(&cylinders.to_be_bytes()[1..]);
                bytes[5] = HEADS;
                bytes[20..22].copy_from_slice(&self.rotation_rate.to_be_bytes());
            }
            0x08 => bytes[2] = if values.write_cache { WCE } else { 0 },
            0x0a => {
                bytes[2] = if values.descriptor_sense { D_SENSE } else { 0 };
                if fixed {
                    bytes[3] = 0x10; // QUEUE ALGORITHM MODIFIER: unrestricted reordering
                }
            }
            // An hour's worth of seconds and frames, as every CD has them.
            0x0d if fixed => bytes[5..8].copy_from_slice(&[60, 0, 75]),
            0x2a if fixed => self.capabilities(&mut bytes),
            _ => {}
        }
        let length = 2 + usize::from(length);
        Some(bytes.into_iter().take(length).collect())
    }

    /// The capabilities page (MMC-3): reads data of CDs and DVDs from a tray that can be locked.
    fn capabilities(&self, bytes: &mut [u8; LONGEST]) {
        bytes[2] = 0x0b; // DVD-ROM, CD-RW, CD-R
        bytes[4] = 0x70; // Multisession, Mode 2 form 2, Mode 2 form 1
        bytes[6] = 0x29 | u8::from(self.locked) << 1; // Tray; Eject, Lock; Lock State
        let speed = SPEED.to_be_bytes();
        bytes[8..10].copy_from_slice(&speed);
        bytes[12..14].copy_from_slice(&2048u16.to_be_bytes()); // buffer, in KiB
        bytes[14..16].copy_from_slice(&speed);
    }
}
