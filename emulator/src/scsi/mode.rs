//! Step 8, SCSI: mode parameters (SPC-3 sections 6.7 to 6.10 and 7.4, SBC-3 section 6.4,
//! MMC-5 chapter 7).
//!
//! Changeable are WCE (caching page, on a disk), D_SENSE (control page) and the block size of a CD-ROM drive; they last
//! until a reset.

mod pages;
mod select;

use super::cdb::{ModeSense, PageControl};
use super::medium::Medium;
use super::sense::Sense;
use super::unit::Kind;
use pages::WCE;
pub(crate) use select::CDROM_BLOCK_SIZES;

/// All pages, or all pages and subpages.
const ALL: u8 = 0x3f;
/// The vendor's page, which need not have the format of a page (SCSI-2 section 8.3.3). Here it is empty: there are only the
/// header and the block descriptor, which is what boot ROMs ask for.
const NONE: u8 = 0x00;

/// Blocks that a block descriptor with a density code can count.
const MAX_24: u32 = 0xff_ffff;

/// What MODE SELECT can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changeable {
    write_cache: bool,
    descriptor_sense: bool,
}

/// A unit's mode parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    kind: Kind,
    current: Changeable,
    default: Changeable,
    rotation_rate: u16,
    /// PREVENT ALLOW MEDIUM REMOVAL has locked the tray.
    pub(crate) locked: bool,
}

impl Mode {
    /// A disk's, as after a reset.
    pub(crate) fn disk(write_cache: bool, rotation_rate: u16) -> Self {
        let default = Changeable {
            write_cache,
            descriptor_sense: false,
        };
        Self {
            kind: Kind::Disk,
            current: default,
            default,
            rotation_rate,
            locked: false,
        }
    }

    /// A CD-ROM drive's, as after a reset.
    pub(crate) fn cdrom() -> Self {
        Self {
            kind: Kind::Cdrom,
            ..Self::disk(false, 0)
        }
    }

    /// What an initiator has set is gone.
    pub(crate) fn reset(&mut self) {
        let Self {
            kind: _,
            current,
            default,
            rotation_rate: _,
            locked,
        } = self;
        *current = *default;
        *locked = false;
    }

    /// WCE: writes may be cached.
    pub(crate) fn write_cache(&self) -> bool {
        self.current.write_cache
    }

    /// D_SENSE.
    pub(crate) fn descriptor_sense(&self) -> bool {
        self.current.descriptor_sense
    }

    /// The answer to MODE SENSE.
    pub(crate) fn sense(&self, fields: &ModeSense, medium: &Medium) -> Result<Vec<u8>, Sense> {
        let subpages_ok = fields.subpage == 0 || (fields.page == ALL && fields.subpage == 0xff);
        if !subpages_ok {
            return Err(Sense::invalid_field(3, None));
        }
        let descriptor = self.block_descriptor(fields, medium);
        let mut pages = Vec::new();
        for &code in pages::codes(self.kind) {
            if fields.page == code || fields.page == ALL {
                pages.extend(self.page(code, fields.control, medium).unwrap_or_default());
            }
        }
        if pages.is_empty() && fields.page != NONE {
            return Err(Sense::invalid_field(2, Some(5)));
        }

        let specific = match self.kind {
            // WP; DPOFUA.
            Kind::Disk => u8::from(medium.geometry().read_only) << 7 | 0x10,
            Kind::Cdrom => 0,
        };
        let body = descriptor.len() + pages.len();
        let mut bytes = if fields.ten {
            let length = u16::try_from(body + 6).unwrap_or(u16::MAX).to_be_bytes();
            let long = u8::from(descriptor.len() == 16);
            let descriptor = u16::try_from(descriptor.len()).unwrap_or(0).to_be_bytes();
            vec![
                length[0],
                length[1],
                0,
                specific,
                long,
                0,
                descriptor[0],
                descriptor[1],
            ]
        } else {
            let length = u8::try_from(body + 3).unwrap_or(u8::MAX);
            vec![
                length,
                0,
                specific,
                u8::try_from(descriptor.len()).unwrap_or(0),
            ]
        };
        bytes.extend(descriptor);
        bytes.extend(pages);
        Ok(bytes)
    }

    /// Number of blocks and block size, in the short or the long form.
    fn block_descriptor(&self, fields: &ModeSense, medium: &Medium) -> Vec<u8> {
        if fields.no_descriptor {
            return Vec::new();
        }
        let (blocks, size) = match fields.control {
            PageControl::Current => (medium.blocks(), medium.block_size()),
            PageControl::Default => {
                let size = medium.default_block_size();
                (medium.count(size), size)
            }
            // A mask of what can be changed.
            PageControl::Changeable if self.kind == Kind::Cdrom => (0, MAX_24),
            PageControl::Changeable => (0, 0),
        };
        let size = size.to_be_bytes();
        match u32::try_from(blocks) {
            Err(_) if fields.long => {
                let mut bytes = blocks.to_be_bytes().to_vec();
                bytes.extend([0; 4]);
                bytes.extend(size);
                bytes
            }
            short => {
                let most = match self.kind {
                    Kind::Disk => u32::MAX,
                    // The first byte is the density code: the default.
                    Kind::Cdrom => MAX_24,
                };
                let mut bytes = short.unwrap_or(most).min(most).to_be_bytes().to_vec();
                // 24 bits, after a reserved byte.
                bytes.extend([0, size[1], size[2], size[3]]);
                bytes
            }
        }
    }

    fn values(&self, control: PageControl) -> Changeable {
        match control {
            PageControl::Current => self.current,
            PageControl::Default => self.default,
            PageControl::Changeable => Changeable {
                write_cache: self.kind == Kind::Disk,
                descriptor_sense: true,
            },
        }
    }
}
