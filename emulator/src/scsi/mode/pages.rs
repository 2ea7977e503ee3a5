//! Step 8, SCSI: the mode pages, byte by byte.

use super::Mode;
use crate::scsi::cdb::PageControl;

/// Read-write error recovery, disconnect-reconnect, format device, rigid disk geometry, caching, control.
pub(super) const PAGES: [u8; 6] = [0x01, 0x02, 0x03, 0x04, 0x08, 0x0a];

/// Caching page, byte 2.
pub(super) const WCE: u8 = 0x04;
/// Control page, byte 2.
pub(super) const D_SENSE: u8 = 0x04;

/// A geometry for those that ask for one.
const HEADS: u8 = 16;
const SECTORS: u16 = 63;

impl Mode {
    /// The whole page, header included; `None` if there is none with this code.
    pub(super) fn page(&self, code: u8, control: PageControl) -> Option<Vec<u8>> {
        let length = match code {
            0x01 | 0x0a => 0x0a,
            0x02 => 0x0e,
            0x03 | 0x04 => 0x16,
            0x08 => 0x12,
            _ => return None,
        };
        let mut bytes = vec![0; 2 + usize::from(length)];
        bytes[0] = code;
        bytes[1] = length;
        let values = self.values(control);
        // What cannot be changed is 0 in the mask.
        let fixed = control != PageControl::Changeable;
        match code {
            // AWRE: the host's storage reallocates.
            0x01 if fixed => bytes[2] = 0x80,
            0x03 if fixed => {
                let size = u16::try_from(self.block_size).unwrap_or(u16::MAX);
                bytes[10..12].copy_from_slice(&SECTORS.to_be_bytes());
                bytes[12..14].copy_from_slice(&size.to_be_bytes());
                bytes[20] = 0x40; // HSEC
            }
            0x04 if fixed => {
                let cylinders = self.blocks / (u64::from(HEADS) * u64::from(SECTORS));
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
            _ => {}
        }
        Some(bytes)
    }
}
