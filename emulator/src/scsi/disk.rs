//! Step 8, SCSI: the disk (`scsi-hd`): a direct-access block device (SBC-3).

mod capacity;
mod options;
mod provisioning;

use super::cdb::{Command, Range};
use super::inquiry;
use super::medium::Medium;
use super::mode::Mode;
use super::sense::Sense;
use super::task::Phase;
use super::work::Work;
use super::work::compare::Compare;
use super::work::media::Media;
use super::work::sweep::{Extent, Sweep};
use crate::block::{Backend, Op};
pub use options::{DiskError, DiskOptions};
pub(crate) use provisioning::MAX_UNMAP_DESCRIPTORS;

/// Bytes that one command can move, and so a data phase's length fits 32 bits. At least what
/// READ (10) can ask for.
const MAX_TRANSFER: u32 = 1 << 30;

/// A disk.
#[derive(Debug)]
pub struct Disk {
    options: DiskOptions,
    medium: Medium,
    mode: Mode,
    /// START STOP UNIT has stopped it.
    stopped: bool,
}

impl Disk {
    /// A disk whose blocks are in `backend`.
    ///
    /// # Errors
    /// An option's text or number is out of its range, or the backend is empty or not a whole number of blocks.
    pub fn new(backend: Backend, options: DiskOptions) -> Result<Self, DiskError> {
        options.check(backend.geometry().bytes)?;
        let medium = Medium::new(backend, options.logical_block_size);
        let mode = Mode::new(&medium, &options);
        Ok(Self {
            options,
            medium,
            mode,
            stopped: false,
        })
    }

    /// The longest transfer, in blocks.
    fn max_blocks(&self) -> u32 {
        MAX_TRANSFER / self.medium.block_size().max(1)
    }

    pub(crate) fn medium(&self) -> &Medium {
        &self.medium
    }

    pub(crate) fn medium_mut(&mut self) -> &mut Medium {
        &mut self.medium
    }

    pub(crate) fn descriptor_sense(&self) -> bool {
        self.mode.descriptor_sense()
    }

    pub(crate) fn reset(&mut self) {
        let Self {
            options,
            medium,
            mode,
            stopped,
        } = self;
        *mode = Mode::new(medium, options);
        *stopped = false;
    }

    pub(crate) fn start(&mut self, command: Command) -> Phase {
        self.begin(command).unwrap_or_else(Phase::check)
    }

    pub(crate) fn parameters(&mut self, command: Command, bytes: &[u8]) -> Phase {
        self.take_parameters(command, bytes)
            .unwrap_or_else(Phase::check)
    }

    fn begin(&mut self, command: Command) -> Result<Phase, Sense> {
        match command {
            Command::Inquiry { page, allocation } => {
                Ok(Phase::answer(self.inquiry(page)?, allocation))
            }
            Command::ModeSense(fields) => {
                Ok(Phase::answer(self.mode.sense(&fields)?, fields.allocation))
            }
            Command::ModeSelect { length: 0, .. } => Ok(Phase::GOOD),
            Command::ModeSelect { length, .. } => Ok(Phase::parameters(length.into())),
            Command::PreventAllow | Command::SendDiagnostic => Ok(Phase::GOOD),
            Command::StartStop { start } => {
                // Stopping leaves nothing in the cache.
                self.stopped = !start;
                Ok(if start { Phase::GOOD } else { flush() })
            }
            Command::RequestSense { .. } | Command::ReportLuns { .. } => {
                Err(Sense::INVALID_OPERATION)
            }
            _ if self.stopped => Err(Sense::STOPPED),
            Command::TestUnitReady => Ok(Phase::GOOD),
            Command::ReadCapacity10 => Ok(Phase::answer(self.capacity10(), 8)),
            Command::ReadCapacity16 { allocation } => {
                Ok(Phase::answer(self.capacity16(), allocation))
            }
            Command::Read { range } => {
                let extent = self.transfer_extent(range)?;
                Ok(transfer(Op::Read, extent))
            }
            Command::Write { range, fua } => {
                self.refuse_if_protected()?;
                let extent = self.transfer_extent(range)?;
                let fua = fua || !self.mode.write_cache();
                Ok(transfer(Op::Write { fua }, extent))
            }
            Command::Verify { range, compare } => {
                let extent = self.transfer_extent(range)?;
                let block_size = self.medium.block_size();
                let length = u32::try_from(extent.length).unwrap_or(u32::MAX);
                Ok(Phase::work(if compare {
                    Work::Compare(Compare::new(block_size, extent.offset, length))
                } else {
                    Work::Sweep(Sweep::Check {
                        extent,
                        chunk: Vec::new(),
                    })
                }))
            }
            Command::SynchronizeCache { range } => {
                self.medium.extent(range)?;
                Ok(flush())
            }
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
        }
    }

    fn take_parameters(&mut self, command: Command, bytes: &[u8]) -> Result<Phase, Sense> {
        match command {
            Command::ModeSelect { ten, .. } => {
                let cached = self.mode.write_cache();
                self.mode.select(ten, bytes)?;
                // What was cached is stable once the cache is off.
                Ok(if cached && !self.mode.write_cache() {
                    flush()
                } else {
                    Phase::GOOD
                })
            }
            Command::WriteSame { range, unmap, .. } => self.write_same_block(range, unmap, bytes),
            Command::Unmap { .. } => self.unmap_list(bytes),
            Command::FormatUnit { .. } => provisioning::check_format_header(bytes),
            _ => Err(Sense::INVALID_OPERATION),
        }
    }

    fn refuse_if_protected(&self) -> Result<(), Sense> {
        if self.medium.geometry().read_only {
            Err(Sense::WRITE_PROTECTED)
        } else {
            Ok(())
        }
    }

    /// The bytes of a range that one command may move.
    fn transfer_extent(&self, range: Range) -> Result<Extent, Sense> {
        let extent = self.medium.extent(range)?;
        if range.count > self.max_blocks() {
            return Err(Sense::invalid_field(range.count_field, None));
        }
        Ok(extent)
    }

    fn inquiry(&self, page: Option<u8>) -> Result<Vec<u8>, Sense> {
        let Some(page) = page else {
            return Ok(inquiry::standard(&self.options));
        };
        let thin = self.medium.geometry().discard;
        let bytes = match page {
            0x00 => Some(inquiry::pages(&self.options, thin)),
            0x80 => inquiry::serial_number(&self.options),
            0x83 => Some(inquiry::identification(&self.options)),
            0xb0 => Some(inquiry::block_limits(
                &self.options,
                self.max_blocks(),
                thin,
            )),
            0xb1 => Some(inquiry::characteristics(&self.options)),
            0xb2 if thin => Some(inquiry::provisioning()),
            _ => None,
        };
        bytes.ok_or(Sense::invalid_field(2, None))
    }
}

/// READ or WRITE of an extent of at most [`MAX_TRANSFER`].
fn transfer(op: Op, extent: Extent) -> Phase {
    let length = u32::try_from(extent.length).unwrap_or(u32::MAX);
    Phase::work(Work::Media(Media::new(op, extent.offset, length)))
}

fn flush() -> Phase {
    Phase::work(Work::Sweep(Sweep::Flush(true)))
}
