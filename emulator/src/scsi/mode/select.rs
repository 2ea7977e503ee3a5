//! Step 8, SCSI: MODE SELECT: a parameter list is checked to its end before any of it takes effect.

use super::pages::D_SENSE;
use super::{Mode, WCE};
use crate::scsi::cdb::PageControl;
use crate::scsi::medium::Medium;
use crate::scsi::sense::Sense;

impl Mode {
    /// Takes a MODE SELECT parameter list, all of it or nothing.
    pub(crate) fn select(&mut self, ten: bool, list: &[u8], medium: &Medium) -> Result<(), Sense> {
        let Header {
            bytes: header,
            descriptor,
            long,
        } = Header::parse(ten, list)?;
        let pages = header + descriptor;
        let block = list.get(header..pages).ok_or(Sense::PARAMETER_LENGTH)?;
        if !block.is_empty() && block.len() != if long { 16 } else { 8 } {
            return Err(invalid(header - 1));
        }
        check_block_descriptor(header, block, medium)?;

        let mut next = *self;
        let mut at = pages;
        while at < list.len() {
            at += next.select_page(list, at, medium)?;
        }
        *self = next;
        Ok(())
    }

    /// Takes the page that starts at byte `at` of the list; how many bytes it has.
    fn select_page(&mut self, list: &[u8], at: usize, medium: &Medium) -> Result<usize, Sense> {
        let rest = list.get(at..).unwrap_or_default();
        let &[head, length, ..] = rest else {
            return Err(Sense::PARAMETER_LENGTH);
        };
        if head & 0x40 != 0 {
            return Err(invalid(at));
        }
        let code = head & 0x3f;
        let (Some(current), Some(mask)) = (
            self.page(code, PageControl::Current, medium),
            self.page(code, PageControl::Changeable, medium),
        ) else {
            return Err(invalid(at));
        };
        if usize::from(length) + 2 != current.len() {
            return Err(invalid(at + 1));
        }
        let page = rest.get(..current.len()).ok_or(Sense::PARAMETER_LENGTH)?;
        let bytes = page.iter().zip(&current).zip(&mask).enumerate().skip(2);
        for (place, ((new, old), mask)) in bytes {
            if (new ^ old) & !mask != 0 {
                return Err(invalid(at + place));
            }
        }
        match (code, page) {
            (0x08, [_, _, flags, ..]) => self.current.write_cache = flags & WCE != 0,
            (0x0a, [_, _, flags, ..]) => self.current.descriptor_sense = flags & D_SENSE != 0,
            _ => {}
        }
        Ok(page.len())
    }
}

/// The mode parameter header.
struct Header {
    /// Its own length.
    bytes: usize,
    /// The block descriptors' length.
    descriptor: usize,
    /// LONGLBA.
    long: bool,
}

impl Header {
    /// The medium type in it must be that of every medium here.
    fn parse(ten: bool, list: &[u8]) -> Result<Self, Sense> {
        let (header, medium_type, medium_type_at) = match *list {
            [_, _, medium_type, _, flags, _, high, low, ..] if ten => {
                let header = Self {
                    bytes: 8,
                    descriptor: u16::from_be_bytes([high, low]).into(),
                    long: flags & 1 == 1,
                };
                (header, medium_type, 2)
            }
            [_, medium_type, _, length, ..] if !ten => {
                let header = Self {
                    bytes: 4,
                    descriptor: length.into(),
                    long: false,
                };
                (header, medium_type, 1)
            }
            _ => return Err(Sense::PARAMETER_LENGTH),
        };
        if medium_type != 0 {
            return Err(invalid(medium_type_at));
        }
        Ok(header)
    }
}

/// Neither the number nor the size of blocks can be changed.
fn check_block_descriptor(at: usize, block: &[u8], medium: &Medium) -> Result<(), Sense> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (blocks, size, size_at, most) = match *block {
        [a, b, c, d, _, ref size @ ..] if size.len() == 3 => {
            (number(&[a, b, c, d]), number(size), 5, u64::from(u32::MAX))
        }
        [a, b, c, d, e, f, g, h, _, _, _, _, ref size @ ..] if size.len() == 4 => {
            let blocks = [a, b, c, d, e, f, g, h];
            (number(&blocks), number(size), 12, u64::MAX)
        }
        _ => return Ok(()),
    };
    // 0 and all ones leave the number as it is.
    if blocks != 0 && blocks != most && blocks != medium.blocks() {
        return Err(invalid(at));
    }
    if size != u64::from(medium.block_size()) {
        return Err(invalid(at + size_at));
    }
    Ok(())
}

fn invalid(at: usize) -> Sense {
    Sense::invalid_parameter(u16::try_from(at).unwrap_or(u16::MAX), None)
}
