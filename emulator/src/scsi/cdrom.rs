//! Step 8, SCSI: the CD-ROM and DVD-ROM drive (`scsi-cd`): a tray with a disc of one data track, or none (MMC-5).

mod configuration;
mod disc;
mod dvd;
mod toc;
mod tray;

use super::block_device::{BlockDevice, transfer};
use super::cdb::{Command, Multimedia};
use super::identity::{Identity, UnitError};
use super::medium::{ErrorPolicy, Medium};
use super::mode::Mode;
use super::sense::Sense;
use super::task::Phase;
use super::unit::Kind;
use crate::block::{Backend, Op};
use tray::Tray;

/// Bytes of a block: the user data of a sector.
const BLOCK: u32 = 2048;

/// Blocks of the longest CD, of 80 minutes. A larger disc is a DVD.
const MAX_CD_BLOCKS: u64 = 80 * 60 * 75;

/// A drive's properties.
#[derive(Clone, Debug)]
pub struct CdromOptions {
    /// Its names.
    pub identity: Identity,
    /// What becomes of the disc's errors.
    pub errors: ErrorPolicy,
}

impl Default for CdromOptions {
    fn default() -> Self {
        Self {
            identity: Identity::of_product("CD-ROM"),
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
    /// A drive with a disc whose blocks of 2048 bytes are in `backend`, or without a disc. Bytes after the last whole
    /// block cannot be reached.
    ///
    /// # Errors
    /// A name is too long or not ASCII, or there is not one whole block.
    pub fn new(backend: Option<Backend>, options: CdromOptions) -> Result<Self, UnitError> {
        options.identity.check()?;
        let disc = backend.is_some();
        let backend = backend.unwrap_or_else(|| Backend::memory(Vec::new(), true));
        let name = options.identity.device_id.clone();
        let medium = Medium::new(backend, BLOCK, options.errors, name);
        if disc && medium.blocks() == 0 {
            return Err(UnitError::Size {
                bytes: medium.geometry().bytes,
                block_size: BLOCK,
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
                let bytes = configuration::answer(profile, select, feature);
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
        let blocks = self.device.medium.blocks();
        let (bytes, allocation) = match command {
            Multimedia::ReadToc {
                msf,
                format,
                track,
                allocation,
            } => (toc::table(blocks, msf, format, track)?, allocation),
            Multimedia::ReadSubchannel {
                msf,
                q,
                format,
                allocation,
            } => (toc::subchannel(msf, q, format)?, allocation),
            Multimedia::DiscInformation { allocation } => (disc::information(), allocation),
            Multimedia::TrackInformation {
                by,
                address,
                allocation,
            } => (disc::track(blocks, by, address)?, allocation),
            Multimedia::DiscStructure {
                media,
                layer,
                format,
                allocation,
            } => {
                if self.profile() != configuration::DVD_ROM {
                    return Err(Sense::INCOMPATIBLE_MEDIUM);
                }
                (dvd::structure(blocks, media, layer, format)?, allocation)
            }
            Multimedia::ReadCd { range, user_data } => {
                let extent = self.device.transfer_extent(range)?;
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

    /// The current profile.
    fn profile(&self) -> u16 {
        if self.tray.ready().is_err() {
            0
        } else if self.device.medium.blocks() <= MAX_CD_BLOCKS {
            configuration::CD_ROM
        } else {
            configuration::DVD_ROM
        }
    }
}
