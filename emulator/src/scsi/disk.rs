//! Step 8, SCSI: the disk (`scsi-hd`): a direct-access block device (SBC-3).

mod capacity;
mod defects;
mod options;
mod provisioning;

use super::block_device::{BlockDevice, flush, transfer};
use super::cdb::{Command, Range};
use super::identity::UnitError;
use super::inquiry;
use super::medium::Medium;
use super::mode::Mode;
use super::sense::Sense;
use super::task::Phase;
use super::unit::Kind;
use super::work::Work;
use super::work::exchange::Exchange;
use super::work::verified::Verified;
pub use options::DiskOptions;
use outrigger_block::{Backend, Op};
pub(crate) use provisioning::MAX_UNMAP_DESCRIPTORS;

/// Blocks of one COMPARE AND WRITE.
pub(crate) const MAX_COMPARE_AND_WRITE: u8 = 8;

/// A disk.
#[derive(Debug)]
pub struct Disk {
    pub(crate) device: BlockDevice,
    options: DiskOptions,
    /// START STOP UNIT has stopped it.
    stopped: bool,
}

impl Disk {
    /// A disk whose blocks are in `backend`.
    ///
    /// # Errors
    /// An option's text or number is out of its range, or the backend is empty or not a whole number of blocks.
    pub fn new(backend: Backend, options: DiskOptions) -> Result<Self, UnitError> {
        options.check(backend.geometry().bytes)?;
        let name = options.identity.device_id.clone();
        let medium = Medium::new(backend, options.logical_block_size, options.errors, name);
        let mode = Mode::disk(options.write_cache, options.rotation_rate);
        let identity = options.identity.clone();
        Ok(Self {
            device: BlockDevice::new(Kind::Disk, identity, medium, mode),
            options,
            stopped: false,
        })
    }

    pub(crate) fn reset(&mut self) {
        let Self {
            device,
            options: _,
            stopped,
        } = self;
        device.reset();
        *stopped = false;
    }

    /// The disk may have been resized.
    pub(crate) fn news(&mut self) -> Option<Sense> {
        self.device
            .medium
            .has_changed()
            .then_some(Sense::CAPACITY_CHANGED)
    }

    pub(crate) fn start(&mut self, command: Command) -> Result<Phase, Sense> {
        if let Command::Inquiry {
            page: Some(page @ 0xb0..),
            allocation,
        } = command
        {
            return Ok(Phase::answer(self.vital(page)?, allocation));
        }
        if let Some(phase) = self.device.administer(command) {
            return phase;
        }
        match command {
            // Nothing can be removed.
            Command::PreventAllow { .. } => return Ok(Phase::GOOD),
            Command::StartStop { start, .. } => {
                self.stopped = !start;
                // Stopping leaves nothing in the cache.
                return Ok(if start { Phase::GOOD } else { flush() });
            }
            _ if self.stopped => return Err(Sense::STOPPED),
            _ => {}
        }
        match self.device.access(command) {
            Some(phase) => phase,
            None => self.start_own(command),
        }
    }

    /// What only a disk has.
    fn start_own(&self, command: Command) -> Result<Phase, Sense> {
        match command {
            Command::ReadCapacity16 { allocation } => {
                Ok(Phase::answer(self.capacity16(), allocation))
            }
            Command::LbaStatus { lba, allocation } => {
                Ok(Phase::answer(self.lba_status(lba)?, allocation))
            }
            Command::ReadDefects {
                twelve,
                lists,
                allocation,
            } => Ok(Phase::answer(defects::read(twelve, lists), allocation)),
            Command::Write { range, fua } => {
                self.refuse_if_protected()?;
                let extent = self.device.transfer_extent(range)?;
                let fua = fua || !self.device.mode.write_cache();
                Ok(transfer(Op::Write { fua }, extent))
            }
            Command::WriteVerify { range } => {
                self.refuse_if_protected()?;
                let extent = self.device.transfer_extent(range)?;
                Ok(Phase::work(Work::Verified(Verified::new(extent))))
            }
            Command::CompareAndWrite { range } => self.compare_and_write(range),
            Command::WriteSame {
                range,
                unmap,
                zeroes,
            } => self.write_same(range, unmap, zeroes),
            Command::Unmap { length } => self.unmap(length),
            Command::FormatUnit { header } => {
                self.refuse_if_protected()?;
                Ok(header.map_or(Phase::GOOD, |length| Phase::parameters(length.into())))
            }
            Command::ReassignBlocks { .. } => {
                self.refuse_if_protected()?;
                Ok(Phase::parameters(defects::REASSIGN_HEADER))
            }
            _ => Err(Sense::INVALID_OPERATION),
        }
    }

    pub(crate) fn parameters(&mut self, command: Command, bytes: &[u8]) -> Result<Phase, Sense> {
        if let Some(phase) = self.device.parameters(command, bytes) {
            return phase;
        }
        match command {
            Command::CompareAndWrite { range } => {
                let extent = self.device.transfer_extent(range)?;
                let fua = !self.device.mode.write_cache();
                let exchange = Exchange::new(extent.offset, bytes, fua);
                Ok(Phase::work(Work::Exchange(exchange)))
            }
            Command::WriteSame { range, unmap, .. } => self.write_same_block(range, unmap, bytes),
            Command::Unmap { .. } => self.unmap_list(bytes),
            Command::FormatUnit { header } => {
                defects::format_list(header.unwrap_or(4).into(), bytes)
            }
            Command::ReassignBlocks {
                long_addresses,
                long_list,
            } => defects::reassign(&self.device.medium, bytes, long_addresses, long_list),
            _ => Err(Sense::INVALID_OPERATION),
        }
    }

    fn compare_and_write(&self, range: Range) -> Result<Phase, Sense> {
        self.refuse_if_protected()?;
        let extent = self.device.transfer_extent(range)?;
        if range.count > u32::from(MAX_COMPARE_AND_WRITE) {
            return Err(Sense::invalid_field(range.count_field, None));
        }
        if range.count == 0 {
            return Ok(Phase::GOOD);
        }
        let length = usize::try_from(extent.length).unwrap_or(0);
        Ok(Phase::parameters(2 * length))
    }

    fn refuse_if_protected(&self) -> Result<(), Sense> {
        if self.device.medium.geometry().read_only {
            Err(Sense::WRITE_PROTECTED)
        } else {
            Ok(())
        }
    }

    /// The VPD pages of a disk.
    fn vital(&self, page: u8) -> Result<Vec<u8>, Sense> {
        let thin = self.device.medium.geometry().discard;
        let max_blocks = self.device.max_blocks();
        match page {
            0xb0 => Ok(inquiry::block_limits(&self.options, max_blocks, thin)),
            0xb1 => Ok(inquiry::characteristics(&self.options)),
            0xb2 if thin => Ok(inquiry::provisioning()),
            _ => Err(Sense::invalid_field(2, None)),
        }
    }
}
