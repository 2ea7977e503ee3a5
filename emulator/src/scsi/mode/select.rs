//! Step 8, SCSI: MODE SELECT: a parameter list is checked to its end before any of it takes effect.

use super::pages::D_SENSE;
use super::{Mode, WCE};
use crate::scsi::cdb::PageControl;
use crate::scsi::medium::Medium;
use crate::scsi::sense::Sense;

impl Mode {
    /// Takes a MODE SELECT parameter list, all of it or nothing.
    pub(crate) fn select(&mut self, ten: bool, list: &[u8], medium: &Medium) -> Result<(), Sense> {
        let header = if ten { 8 } else { 4 };
        let head = list.get(..header).ok_or(Sense::PARAMETER_LENGTH)?;
        let medium_type = if ten { 2 } else { 1 };
        if head[medium_type] != 0 {
            return Err(invalid(medium_type));
        }
        let descriptor = match *head {
            [.., high, low] if ten => usize::from(u16::from_be_bytes([high, low])),
            [.., length] => usize::from(length),
            [] => 0,
        };
        let long = ten && head[4] & 1 == 1;
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
        match code {
            0x08 => self.current.write_cache = page[2] & WCE != 0,
            0x0a => self.current.descriptor_sense = page[2] & D_SENSE != 0,
            _ => {}
        }
        Ok(page.len())
    }
}

/// Neither the number nor the size of blocks can be changed.
fn check_block_descriptor(at: usize, block: &[u8], medium: &Medium) -> Result<(), Sense> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (blocks, size, size_at, most) = match block.len() {
        8 => (
            number(&block[..4]),
            number(&block[5..]),
            5,
            u64::from(u32::MAX),
        ),
        16 => (number(&block[..8]), number(&block[12..]), 12, u64::MAX),
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
