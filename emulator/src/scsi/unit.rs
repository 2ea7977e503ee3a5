//! Step 8, SCSI: a logical unit of any kind.

use super::cdb::Command;
use super::disk::Disk;
use super::medium::Medium;
use super::task::Phase;

/// What can be attached to the bus.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogicalUnit {
    /// A direct-access block device.
    Disk(Disk),
}

impl From<Disk> for LogicalUnit {
    fn from(disk: Disk) -> Self {
        Self::Disk(disk)
    }
}

impl LogicalUnit {
    /// A command has been enabled: what it does first. REQUEST SENSE and REPORT LUNS are the target's.
    pub(crate) fn start(&mut self, command: Command) -> Phase {
        match self {
            Self::Disk(disk) => disk.start(command),
        }
    }

    /// The parameter list that the command asked for has come.
    pub(crate) fn parameters(&mut self, command: Command, bytes: &[u8]) -> Phase {
        match self {
            Self::Disk(disk) => disk.parameters(command, bytes),
        }
    }

    /// Sense data are wanted in descriptor format (D_SENSE).
    pub(crate) fn descriptor_sense(&self) -> bool {
        match self {
            Self::Disk(disk) => disk.descriptor_sense(),
        }
    }

    /// A reset: everything that an initiator has set is at its default again.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Disk(disk) => disk.reset(),
        }
    }

    pub(crate) fn medium(&self) -> &Medium {
        match self {
            Self::Disk(disk) => disk.medium(),
        }
    }

    pub(crate) fn medium_mut(&mut self) -> &mut Medium {
        match self {
            Self::Disk(disk) => disk.medium_mut(),
        }
    }
}
