//! Step 8, SCSI: defects (SBC-3 sections 5.3, 5.17, 5.18 and 5.20; SCSI-2 section 9.2).
//!
//! The host's storage sees to its own defects. So none is ever listed here, and an initiator that names some is believed:
//! their data stay where they are.

use crate::scsi::cdb::Range;
use crate::scsi::medium::Medium;
use crate::scsi::sense::Sense;
use crate::scsi::task::Phase;

/// Bytes of the header of the list of REASSIGN BLOCKS.
pub(super) const REASSIGN_HEADER: usize = 4;

/// The longest list of defects, in bytes: what a short header can announce.
const MAX_LIST: u32 = 0xffff;

/// READ DEFECT DATA: of those lists that are asked for, nothing.
pub(super) fn read(twelve: bool, lists: u8) -> Vec<u8> {
    let mut bytes = vec![0, lists];
    bytes.resize(if twelve { 8 } else { 4 }, 0);
    bytes
}

/// The parameter list of FORMAT UNIT: its header, of 4 or 8 bytes, then the list of defects that the header announces.
pub(super) fn format_list(header: usize, bytes: &[u8]) -> Result<Phase, Sense> {
    let flags = bytes.get(1).copied().unwrap_or(0);
    if bytes.first().is_some_and(|byte| byte & 0x07 != 0) {
        return Err(Sense::invalid_parameter(0, Some(2))); // PROTECTION FIELD USAGE
    }
    if flags & 0x08 != 0 {
        return Err(Sense::invalid_parameter(1, Some(3))); // IP: an initialization pattern follows
    }
    let announced = if header == 4 {
        number(bytes.get(2..4))
    } else {
        number(bytes.get(4..8))
    };
    match rest(header, announced, bytes)? {
        Some(phase) => Ok(phase),
        None => Ok(Phase::GOOD),
    }
}

/// The parameter list of REASSIGN BLOCKS: its header, then the addresses that the header announces. All must be on the
/// medium.
pub(super) fn reassign(
    medium: &Medium,
    bytes: &[u8],
    long_addresses: bool,
    long_list: bool,
) -> Result<Phase, Sense> {
    let announced = number(bytes.get(if long_list { 0..4 } else { 2..4 }));
    if let Some(phase) = rest(REASSIGN_HEADER, announced, bytes)? {
        return Ok(phase);
    }
    let list = bytes.get(REASSIGN_HEADER..).unwrap_or_default();
    let addresses = list.chunks_exact(if long_addresses { 8 } else { 4 });
    if !addresses.remainder().is_empty() {
        return Err(Sense::PARAMETER_LENGTH);
    }
    for address in addresses {
        medium.extent(Range {
            lba: address
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
            count: 1,
            count_field: 0,
        })?;
    }
    Ok(Phase::GOOD)
}

/// What is to come of a list beside its header, if anything is.
fn rest(header: usize, announced: u32, bytes: &[u8]) -> Result<Option<Phase>, Sense> {
    if announced > MAX_LIST {
        return Err(Sense::PARAMETER_LENGTH);
    }
    let length = header + usize::try_from(announced).unwrap_or(0);
    Ok((bytes.len() < length).then(|| Phase::Parameters {
        bytes: bytes.to_vec(),
        length,
    }))
}

fn number(bytes: Option<&[u8]>) -> u32 {
    let bytes = bytes.unwrap_or_default().iter();
    bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
}
