//! Step 8, SCSI: READ DISC INFORMATION and READ TRACK INFORMATION of a complete disc (MMC-5 chapter 6).

use crate::scsi::sense::Sense;

/// The answer to READ DISC INFORMATION: one session, complete, with one track.
pub(super) fn information() -> Vec<u8> {
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&[0, 32]);
    bytes[2] = 0x0e; // last session complete, disc complete
    bytes[3..7].fill(1); // first track; sessions; first and last track of the last session
    bytes[7] = 0x20; // unrestricted use
    // Of a complete disc: no next lead-in, no possible lead-out.
    bytes[16..24].fill(0xff);
    bytes.to_vec()
}

/// The answer to READ TRACK INFORMATION: `by` is what `address` is.
pub(super) fn track(sectors: u64, by: u8, address: u32) -> Result<Vec<u8>, Sense> {
    match by {
        0 if u64::from(address) >= sectors => return Err(Sense::out_of_range(address.into())),
        // Track 1, or a track of session 1.
        1 | 2 if address != 1 => return Err(Sense::invalid_field(2, None)),
        _ => {}
    }
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&[0, 34, 1, 1]); // track, session
    bytes[5] = 0x04; // data track
    bytes[6] = 0x01; // mode 1
    let size = u32::try_from(sectors).unwrap_or(u32::MAX);
    bytes[24..28].copy_from_slice(&size.to_be_bytes());
    Ok(bytes.to_vec())
}
