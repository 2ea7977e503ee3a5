//! Step 8, SCSI: READ DISC STRUCTURE of a DVD-ROM with one layer (MMC-5 chapter 6).

use crate::scsi::sense::Sense;

/// Bytes of the physical format and of the manufacturer's information.
const LEAD_IN: usize = 2048;
/// The first sector of the data area.
const FIRST_SECTOR: u32 = 0x03_0000;

const PHYSICAL: u8 = 0x00;
const COPYRIGHT: u8 = 0x01;
const MANUFACTURER: u8 = 0x04;
const LIST: u8 = 0xff;

/// The structure of this format.
pub(super) fn structure(sectors: u64, media: u8, layer: u8, format: u8) -> Result<Vec<u8>, Sense> {
    if media != 0 {
        return Err(Sense::invalid_field(1, Some(3)));
    }
    if layer != 0 {
        return Err(Sense::invalid_field(6, None));
    }
    let data = match format {
        PHYSICAL => physical(sectors),
        // No protection, no region.
        COPYRIGHT => vec![0; 4],
        MANUFACTURER => vec![0; LEAD_IN],
        LIST => list(),
        _ => return Err(Sense::invalid_field(7, None)),
    };
    let length = u16::try_from(data.len() + 2).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(data);
    Ok(bytes)
}

fn physical(sectors: u64) -> Vec<u8> {
    let last = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let last = FIRST_SECTOR.saturating_add(last).min(0xff_ffff);
    let mut bytes = [0; LEAD_IN];
    // DVD-ROM, version 1; 120 mm, any rate; one layer, embossed; the usual densities.
    bytes[..4].copy_from_slice(&[0x01, 0x0f, 0x01, 0x00]);
    bytes[4..8].copy_from_slice(&FIRST_SECTOR.to_be_bytes());
    bytes[8..12].copy_from_slice(&last.to_be_bytes());
    bytes.to_vec()
}

/// Each format, that it can be read, and its length.
fn list() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (format, length) in [(PHYSICAL, 2052u16), (COPYRIGHT, 8), (MANUFACTURER, 2052)] {
        bytes.extend([format, 0x40]);
        bytes.extend(length.to_be_bytes());
    }
    bytes
}
