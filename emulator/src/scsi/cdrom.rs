//! Step 8, SCSI: the CD-ROM and DVD-ROM drive (`scsi-cd`): a tray with a disc of one data track, or none (MMC-5).

mod configuration;
mod disc;
mod dvd;
mod toc;
mod tray;

use super::block_device::{BlockDevice, transfer};
use super::cdb::{Command, Multimedia, Range};
use super::identity::{Identity, UnitError};
use super::medium::{ErrorPolicy, Medium};
use super::mode::{CDROM_BLOCK_SIZES, Mode};
use super::sense::Sense;
use super::task::Phase;
use super::unit::Kind;
use outrigger_block::{Backend, Op};
use toc::Addresses;
use tray::Tray;

/// Bytes of a sector: its user data. A block is one, or a part of one.
const SECTOR: u32 = 2048;

/// Sectors of the longest CD, of 80 minutes. A larger disc is a DVD.
const MAX_CD_SECTORS: u64 = 80 * 60 * 75;

/// A drive's properties.
#[derive(Clone, Debug)]
pub struct CdromOptions {
    /// Its names.
    pub identity: Identity,
    /// Bytes of a logical block after a reset: 512, 1024 or 2048. MODE SELECT can ask for another size.
    pub logical_block_size: u32,
    /// What becomes of the disc's errors.
    pub errors: ErrorPolicy,
}

impl Default for CdromOptions {
    fn default() -> Self {
        Self {
            identity: Identity::of_product("CD-ROM"),
            logical_block_size: SECTOR,
            errors: ErrorPolicy::default(),
        }
    }
}

/// A drive.
#[derive(Debug)]
pub struct Cdrom {
    pub(crate) device: BlockDevice,
    tray: Tray,
}

impl Cdrom {
    /// A drive with a disc whose sectors of 2048 bytes are in `backend`, or without a disc. Bytes after the last whole
    /// sector cannot be reached.
    ///
    /// # Errors
    /// A name is too long or not ASCII, the block size is none that a drive has, or there is not one whole sector.
    pub fn new(backend: Option<Backend>, options: CdromOptions) -> Result<Self, UnitError> {
        options.identity.check()?;
        let block_size = options.logical_block_size;
        if !CDROM_BLOCK_SIZES.contains(&block_size) {
            return Err(UnitError::BlockSize {
                field: "logical_block_size",
                size: block_size,
            });
        }
        let disc = backend.is_some();
        let backend = backend.unwrap_or_else(|| Backend::memory(Vec::new(), true));
        let name = options.identity.device_id.clone();
        let medium = Medium::new(backend, block_size, options.errors, name).with_sectors(SECTOR);
        if disc && medium.blocks() == 0 {
            return Err(UnitError::Size {
                bytes: medium.geometry().bytes,
                block_size: SECTOR,
            });
        }
        Ok(Self {
            device: BlockDevice::new(Kind::Cdrom, options.identity, medium, Mode::cdrom()),
            tray: Tray::closed(disc),
        })
    }

    /// The tray stays as it is, but it is no longer locked.
    pub(crate) fn reset(&mut self) {
        let Self { device, tray: _ } = self;
        device.reset();
    }

    /// Another disc may be in the tray.
    pub(crate) fn news(&mut self) -> Option<Sense> {
        if self.device.medium.has_changed() {
            self.tray.disc_changed();
        }
        self.tray.take_attention().then_some(Sense::MEDIUM_CHANGED)
    }

    pub(crate) fn start(&mut self, command: Command) -> Result<Phase, Sense> {
        if let Some(phase) = self.device.administer(command) {
            return phase;
        }
        match command {
            Command::PreventAllow { prevent } => {
                self.device.mode.locked = prevent;
                return Ok(Phase::GOOD);
            }
            Command::StartStop {
                start,
                load_or_eject,
            } => {
                if load_or_eject {
                    self.tray.move_to(!start, self.device.mode.locked)?;
                }
                return Ok(Phase::GOOD);
            }
            Command::Multimedia(command) => return self.multimedia(command),
            _ => self.tray.ready()?,
        }
        self.device
            .access(command)
            .unwrap_or(Err(Sense::INVALID_OPERATION))
    }

    pub(crate) fn parameters(&mut self, command: Command, bytes: &[u8]) -> Result<Phase, Sense> {
        self.device
            .parameters(command, bytes)
            .unwrap_or(Err(Sense::INVALID_OPERATION))
    }

    fn multimedia(&mut self, command: Multimedia) -> Result<Phase, Sense> {
        // These tell of the drive, with a disc or without.
        match command {
            Multimedia::GetConfiguration {
                select,
                feature,
                allocation,
            } => {
                let profile = self.profile();
                let block_size = self.device.medium.block_size();
                let bytes = configuration::answer(profile, block_size, select, feature);
                return Ok(Phase::answer(bytes, allocation));
            }
            Multimedia::GetEventStatus {
                classes,
                allocation,
            } => {
                let bytes = self.tray.event_status(classes, allocation);
                return Ok(Phase::answer(bytes, allocation));
            }
            Multimedia::MechanismStatus { allocation } => {
                return Ok(Phase::answer(self.tray.mechanism_status(), allocation));
            }
            Multimedia::SetSpeed => return Ok(Phase::GOOD),
            _ => self.tray.ready()?,
        }
        let sectors = self.device.medium.sectors();
        let (bytes, allocation) = match command {
            Multimedia::ReadToc {
                msf,
                format,
                track,
                allocation,
            } => (
                self.addresses(msf).table(sectors, format, track)?,
                allocation,
            ),
            Multimedia::ReadSubchannel {
                msf,
                q,
                format,
                allocation,
            } => (self.addresses(msf).subchannel(q, format)?, allocation),
            Multimedia::ReadHeader {
                msf,
                lba,
                allocation,
            } => {
                let lba = lba.into();
                self.device.medium.extent(Range {
                    lba,
                    count: 0,
                    count_field: 2,
                })?;
                (self.addresses(msf).header(lba), allocation)
            }
            Multimedia::DiscInformation { allocation } => (disc::information(), allocation),
            Multimedia::TrackInformation {
                by,
                address,
                allocation,
            } => (disc::track(sectors, by, address)?, allocation),
            Multimedia::DiscStructure {
                media,
                layer,
                format,
                allocation,
            } => {
                if self.profile() != configuration::DVD_ROM {
                    return Err(Sense::INCOMPATIBLE_MEDIUM);
                }
                (dvd::structure(sectors, media, layer, format)?, allocation)
            }
            Multimedia::ReadCd { range, user_data } => {
                let extent = self.device.transfer_extent_of(range, SECTOR)?;
                return Ok(if user_data {
                    transfer(Op::Read, extent)
                } else {
                    Phase::GOOD
                });
            }
            _ => return Err(Sense::INVALID_OPERATION),
        };
        Ok(Phase::answer(bytes, allocation))
    }

    /// How the answers of this command tell addresses.
    fn addresses(&self, msf: bool) -> Addresses {
        Addresses {
            msf,
            blocks_per_sector: SECTOR / self.device.medium.block_size().max(1),
        }
    }

    /// The current profile.
    fn profile(&self) -> u16 {
        if self.tray.ready().is_err() {
            0
        } else if self.device.medium.sectors() <= MAX_CD_SECTORS {
            configuration::CD_ROM
        } else {
            configuration::DVD_ROM
        }
    }
}
