//! Step 8, SCSI: LOG SENSE (SPC-3 sections 6.6 and 7.2): what the unit has counted since it was powered on.

use crate::scsi::medium::{Counter, Medium};
use crate::scsi::sense::Sense;
use crate::scsi::unit::Kind;

/// Supported pages, write errors, read errors, informational exceptions.
const PAGES: [u8; 4] = [0x00, 0x02, 0x03, 0x2f];
/// The same, where nothing is written.
const READ_ONLY_PAGES: [u8; 3] = [0x00, 0x03, 0x2f];

/// A counter that stops at its end and counts for ever.
const COUNTER: u8 = 0x00;
/// A list in binary format.
const BINARY_LIST: u8 = 0x03;

/// The page `code`, from parameter `pointer` on; with the values after a reset if `default`.
pub(super) fn sense(
    kind: Kind,
    medium: &Medium,
    code: u8,
    default: bool,
    pointer: u16,
) -> Result<Vec<u8>, Sense> {
    let pages = match kind {
        Kind::Disk => PAGES.as_slice(),
        Kind::Cdrom => READ_ONLY_PAGES.as_slice(),
    };
    if !pages.contains(&code) {
        return Err(Sense::invalid_field(2, Some(5)));
    }
    let counters = if default {
        <_>::default()
    } else {
        medium.counters()
    };
    let parameters = match code {
        0x00 => return Ok(page(code, pages)),
        0x02 => errors(counters.write),
        0x03 => errors(counters.read),
        // No exception; the temperature is not known.
        _ => vec![(0x0000, BINARY_LIST, vec![0x00, 0x00, 0xff, 0x00])],
    };
    if parameters.iter().all(|(code, ..)| *code < pointer) {
        return Err(Sense::invalid_field(5, None));
    }
    let mut body = Vec::new();
    for (code, control, value) in parameters {
        if code >= pointer {
            body.extend(code.to_be_bytes());
            body.extend([control, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
            body.extend(value);
        }
    }
    Ok(page(code, &body))
}

/// Errors corrected: none that we would know of. Bytes processed. Errors uncorrected.
fn errors(counter: Counter) -> Vec<(u16, u8, Vec<u8>)> {
    vec![
        (0x0003, COUNTER, vec![0; 4]),
        (0x0005, COUNTER, counter.bytes.to_be_bytes().to_vec()),
        (0x0006, COUNTER, counter.errors.to_be_bytes().to_vec()),
    ]
}

fn page(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![code, 0x00];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}
