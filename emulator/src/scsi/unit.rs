//! Step 8, SCSI: a logical unit of any kind.

use super::block_device::BlockDevice;
use super::cdb::Command;
use super::cdrom::Cdrom;
use super::disk::Disk;
use super::medium::Medium;
use super::sense::Sense;
use super::task::Phase;

/// What can be attached to the bus.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogicalUnit {
    /// A direct-access block device.
    Disk(Disk),
    /// A CD-ROM or DVD-ROM drive.
    Cdrom(Cdrom),
}

/// Which of them: it decides which commands there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    Cdrom,
}

impl Kind {
    /// PERIPHERAL DEVICE TYPE (SPC-3 section 6.4.2).
    pub(crate) fn device_type(self) -> u8 {
        match self {
            Self::Disk => 0x00,
            Self::Cdrom => 0x05,
        }
    }
}

impl From<Disk> for LogicalUnit {
    fn from(disk: Disk) -> Self {
        Self::Disk(disk)
    }
}

impl From<Cdrom> for LogicalUnit {
    fn from(cdrom: Cdrom) -> Self {
        Self::Cdrom(cdrom)
    }
}

impl LogicalUnit {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Disk(_) => Kind::Disk,
            Self::Cdrom(_) => Kind::Cdrom,
        }
    }

    /// A command has been enabled: what it does first. REQUEST SENSE and REPORT LUNS are the target's.
    pub(crate) fn start(&mut self, command: Command) -> Phase {
        let phase = match self {
            Self::Disk(disk) => disk.start(command),
            Self::Cdrom(cdrom) => cdrom.start(command),
        };
        phase.unwrap_or_else(Phase::check)
    }

    /// The parameter list that the command asked for has come.
    pub(crate) fn parameters(&mut self, command: Command, bytes: &[u8]) -> Phase {
        let phase = match self {
            Self::Disk(disk) => disk.parameters(command, bytes),
            Self::Cdrom(cdrom) => cdrom.parameters(command, bytes),
        };
        phase.unwrap_or_else(Phase::check)
    }

    /// What has happened to the medium since the last time, as a unit attention condition.
    pub(crate) fn news(&mut self) -> Option<Sense> {
        match self {
            Self::Disk(disk) => disk.news(),
            Self::Cdrom(cdrom) => cdrom.news(),
        }
    }

    /// A reset: everything that an initiator has set is at its default again.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Disk(disk) => disk.reset(),
            Self::Cdrom(cdrom) => cdrom.reset(),
        }
    }

    /// Sense data are wanted in descriptor format (D_SENSE).
    pub(crate) fn descriptor_sense(&self) -> bool {
        self.device().mode.descriptor_sense()
    }

    pub(crate) fn medium(&self) -> &Medium {
        &self.device().medium
    }

    pub(crate) fn medium_mut(&mut self) -> &mut Medium {
        match self {
            Self::Disk(disk) => &mut disk.device.medium,
            Self::Cdrom(cdrom) => &mut cdrom.device.medium,
        }
    }

    fn device(&self) -> &BlockDevice {
        match self {
            Self::Disk(disk) => &disk.device,
            Self::Cdrom(cdrom) => &cdrom.device,
        }
    }
}
