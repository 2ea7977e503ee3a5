//! Step 8, SCSI: MODE SELECT: a parameter list is checked to its end before any of it takes effect.

use super::pages::D_SENSE;
use super::{MAX_24, Mode, WCE};
use crate::scsi::cdb::PageControl;
use crate::scsi::medium::Medium;
use crate::scsi::sense::Sense;
use crate::scsi::unit::Kind;

impl Mode {
    /// Takes a MODE SELECT parameter list, all of it or nothing.
    pub(crate) fn select(
        &mut self,
        ten: bool,
        list: &[u8],
        medium: &mut Medium,
    ) -> Result<(), Sense> {
        let Header {
            bytes: header,
            descriptor,
            long,
        } = Header::parse(self.kind, ten, list)?;
        let pages = header + descriptor;
        let block = list.get(header..pages).ok_or(Sense::PARAMETER_LENGTH)?;
        let block_size = match block.len() {
            0 => medium.block_size(),
            16 if long => BlockDescriptor::long(block).check(header, self.kind, medium)?,
            8 if !long => {
                BlockDescriptor::short(block, self.kind).check(header, self.kind, medium)?
            }
            _ => return Err(invalid(header - 1)),
        };

        let mut next = *self;
        let mut at = pages;
        while at < list.len() {
            at += next.select_page(list, at, medium)?;
        }
        *self = next;
        medium.set_block_size(block_size);
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
    /// The medium type in it must be that of every medium here: the default, or of a disc 120 mm with data only (SCSI-2
    /// section 14.3.3).
    fn parse(kind: Kind, ten: bool, list: &[u8]) -> Result<Self, Sense> {
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
        if medium_type > u8::from(kind == Kind::Cdrom) {
            return Err(invalid(medium_type_at));
        }
        Ok(header)
    }
}

/// The block sizes that a CD-ROM drive can have: parts of a sector, and the sector.
pub(crate) const CDROM_BLOCK_SIZES: [u32; 3] = [512, 1024, 2048];

/// A block descriptor.
struct BlockDescriptor {
    /// DENSITY CODE, where there is one.
    density: u8,
    blocks: u64,
    /// All ones in the field for the number of blocks.
    most: u64,
    size: u32,
    /// Where in the descriptor the size stands.
    size_at: usize,
}

impl BlockDescriptor {
    /// Of 8 bytes. A disk has 32 bits for the number of blocks, the others a density code and 24 bits.
    fn short(bytes: &[u8], kind: Kind) -> Self {
        let (first, blocks) = (number(bytes, 0, 1), number(bytes, 1, 3));
        let (density, blocks, most) = match kind {
            Kind::Disk => (0, first << 24 | blocks, u32::MAX.into()),
            Kind::Cdrom => (first, blocks, MAX_24.into()),
        };
        Self {
            density: u8::try_from(density).unwrap_or(0),
            blocks,
            most,
            size: u32::try_from(number(bytes, 5, 3)).unwrap_or(0),
            size_at: 5,
        }
    }

    /// Of 16 bytes.
    fn long(bytes: &[u8]) -> Self {
        Self {
            density: 0,
            blocks: number(bytes, 0, 8),
            most: u64::MAX,
            size: u32::try_from(number(bytes, 12, 4)).unwrap_or(0),
            size_at: 12,
        }
    }

    /// The block size that it asks for; `at` is where it starts. The number of blocks follows from the size: it can be told
    /// for the old one or the new one, and 0 and all ones leave it as it is. A size of 0 leaves the block size as it is.
    fn check(&self, at: usize, kind: Kind, medium: &Medium) -> Result<u32, Sense> {
        // The default, or user data only (SCSI-2 section 14.3.3).
        if self.density > 1 {
            return Err(invalid(at));
        }
        let now = medium.block_size();
        let size = match self.size {
            0 => now,
            size if size == now => size,
            size if kind == Kind::Cdrom && CDROM_BLOCK_SIZES.contains(&size) => size,
            _ => return Err(invalid(at + self.size_at)),
        };
        let counts = [now, size].map(|size| medium.count(size).min(self.most));
        if self.blocks != 0 && self.blocks != self.most && !counts.contains(&self.blocks) {
            return Err(invalid(at));
        }
        Ok(size)
    }
}

/// `length` bytes from `at` on, as a number.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(length);
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn invalid(at: usize) -> Sense {
    Sense::invalid_parameter(u16::try_from(at).unwrap_or(u16::MAX), None)
}
