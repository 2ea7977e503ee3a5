//! Step 8, SCSI: what a disk and a CD-ROM drive have in common: who they are, and blocks to be read.
//!
//! [`BlockDevice::administer`] takes the commands that work whatever the medium does, [`BlockDevice::access`] those
//! that both do with the medium's blocks. What neither takes is the kind's own.

mod buffer;
mod log;
mod operations;
mod reservations;

use super::cdb::{Command, Range};
use super::identity::Identity;
use super::inquiry;
use super::medium::Medium;
use super::mode::Mode;
use super::sense::Sense;
use super::task::Phase;
use super::unit::Kind;
use super::work::Work;
use super::work::compare::Compare;
use super::work::media::Media;
use super::work::sweep::{Extent, Sweep};
use buffer::Buffer;
use outrigger_block::Op;
use reservations::Reservations;

/// Bytes that one command can move, and so a data phase's length fits 32 bits. At least what
/// READ (10) can ask for.
const MAX_TRANSFER: u32 = 1 << 30;

/// The common part of a unit.
#[derive(Debug)]
pub(crate) struct BlockDevice {
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
    pub(crate) medium: Medium,
    pub(crate) mode: Mode,
    reservations: Reservations,
    buffer: Buffer,
}

impl BlockDevice {
    pub(crate) fn new(kind: Kind, identity: Identity, medium: Medium, mode: Mode) -> Self {
        Self {
            kind,
            identity,
            medium,
            mode,
            reservations: Reservations::default(),
            buffer: Buffer::default(),
        }
    }

    /// A reset. Names, what is on the medium, and persistent reservations outlast it.
    pub(crate) fn reset(&mut self) {
        let Self {
            kind: _,
            identity: _,
            medium,
            mode,
            reservations,
            buffer,
        } = self;
        medium.reset();
        mode.reset();
        reservations.reset();
        *buffer = Buffer::default();
    }

    /// What the command does, if it is one that works with any medium and without one.
    pub(crate) fn administer(&mut self, command: Command) -> Option<Result<Phase, Sense>> {
        Some(match command {
            Command::Inquiry { page, allocation } => self
                .inquiry(page)
                .map(|bytes| Phase::answer(bytes, allocation)),
            Command::ModeSense(fields) => self
                .mode
                .sense(&fields, &self.medium)
                .map(|bytes| Phase::answer(bytes, fields.allocation)),
            Command::ModeSelect { length, .. } => Ok(parameters_unless_empty(length.into())),
            Command::LogSense {
                page,
                default,
                pointer,
                allocation,
            } => log::sense(self.kind, &self.medium, page, default, pointer)
                .map(|bytes| Phase::answer(bytes, allocation)),
            Command::LogSelect { reset } => {
                if reset {
                    self.medium.forget_counters();
                }
                Ok(Phase::GOOD)
            }
            Command::Reserve => Ok(self.reservations.reserve()),
            Command::Release => Ok(self.reservations.release()),
            Command::PersistentReserveIn { action, allocation } => Ok(self
                .reservations
                .read(action)
                .map_or(Phase::CONFLICT, |bytes| Phase::answer(bytes, allocation))),
            Command::PersistentReserveOut {
                action,
                scope,
                kind,
                length,
            } => self.reservations.begin(action, scope, kind, length),
            Command::SendDiagnostic { length: 0 } => Ok(Phase::GOOD),
            // A list is at least the header of a diagnostic page.
            Command::SendDiagnostic { length: 1..=3 } => Err(Sense::PARAMETER_LENGTH),
            Command::SendDiagnostic { length } => Ok(Phase::parameters(length.into())),
            Command::ReceiveDiagnostic {
                page: None | Some(0),
                allocation,
            } => Ok(Phase::answer(DIAGNOSTIC_PAGES.to_vec(), allocation)),
            Command::ReceiveDiagnostic { .. } => Err(Sense::invalid_field(2, None)),
            Command::ReadBuffer(access) => self
                .buffer
                .read(access)
                .map(|bytes| Phase::answer(bytes, access.length)),
            Command::WriteBuffer(access) => Buffer::check_write(access)
                .map(|()| parameters_unless_empty(access.length as usize)),
            Command::ReportOperations {
                select,
                timeouts,
                allocation,
            } => {
                let thin = self.medium.geometry().discard;
                operations::report(self.kind, thin, select, timeouts)
                    .map(|bytes| Phase::answer(bytes, allocation))
            }
            Command::ReportTaskManagement {
                extended,
                allocation,
            } => Ok(Phase::answer(
                operations::task_management(extended),
                allocation,
            )),
            _ => return None,
        })
    }

    /// What the command does, if it is one that reads the medium, which is ready.
    pub(crate) fn access(&mut self, command: Command) -> Option<Result<Phase, Sense>> {
        Some(match command {
            Command::TestUnitReady | Command::Rezero => Ok(Phase::GOOD),
            // The host's cache knows best what to keep.
            Command::CacheHint { range } => self.medium.extent(range).map(|_| Phase::GOOD),
            Command::ReadCapacity10 => Ok(Phase::answer(self.capacity(), 8)),
            Command::Seek { lba } => self
                .medium
                .extent(Range {
                    lba,
                    count: 0,
                    count_field: 2,
                })
                .map(|_| Phase::GOOD),
            Command::Read { range } => self
                .transfer_extent(range)
                .map(|extent| transfer(Op::Read, extent)),
            Command::Verify { range, compare } => self
                .transfer_extent(range)
                .map(|extent| self.verify(extent, compare)),
            Command::SynchronizeCache { range } => self.medium.extent(range).map(|_| flush()),
            _ => return None,
        })
    }

    /// The parameter list of a command that [`BlockDevice::administer`] has begun.
    pub(crate) fn parameters(
        &mut self,
        command: Command,
        bytes: &[u8],
    ) -> Option<Result<Phase, Sense>> {
        Some(match command {
            Command::ModeSelect { ten, .. } => {
                let cached = self.mode.write_cache();
                self.mode.select(ten, bytes, &mut self.medium).map(|()| {
                    // What was cached is stable once the cache is off.
                    if cached && !self.mode.write_cache() {
                        flush()
                    } else {
                        Phase::GOOD
                    }
                })
            }
            Command::PersistentReserveOut { action, kind, .. } => {
                self.reservations.take(action, kind, bytes)
            }
            // The only page is the list of pages, which has no parameters.
            Command::SendDiagnostic { .. } => match bytes {
                [0, _, 0, 0] => Ok(Phase::GOOD),
                [0, ..] => Err(Sense::PARAMETER_LENGTH),
                _ => Err(Sense::invalid_parameter(0, None)),
            },
            Command::WriteBuffer(access) => {
                self.buffer.write(access, bytes);
                Ok(Phase::GOOD)
            }
            _ => return None,
        })
    }

    /// The longest transfer, in blocks.
    pub(crate) fn max_blocks(&self) -> u32 {
        MAX_TRANSFER / self.medium.block_size().max(1)
    }

    /// The bytes of a range of blocks that one command may move.
    pub(crate) fn transfer_extent(&self, range: Range) -> Result<Extent, Sense> {
        self.transfer_extent_of(range, self.medium.block_size())
    }

    /// The same for pieces of this size.
    pub(crate) fn transfer_extent_of(&self, range: Range, size: u32) -> Result<Extent, Sense> {
        let extent = self.medium.extent_of(range, size)?;
        if range.count > MAX_TRANSFER / size.max(1) {
            return Err(Sense::invalid_field(range.count_field, None));
        }
        Ok(extent)
    }

    fn verify(&self, extent: Extent, compare: bool) -> Phase {
        Phase::work(if compare {
            let length = u32::try_from(extent.length).unwrap_or(u32::MAX);
            let block_size = self.medium.block_size();
            Work::Compare(Compare::new(block_size, extent.offset, length))
        } else {
            Work::Sweep(Sweep::check(extent))
        })
    }

    /// READ CAPACITY (10): last block and block size; all ones for a last block that does not fit (SBC-3 section 5.15).
    fn capacity(&self) -> Vec<u8> {
        let last = self.medium.blocks().saturating_sub(1);
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(self.medium.block_size().to_be_bytes());
        bytes
    }

    fn inquiry(&self, page: Option<u8>) -> Result<Vec<u8>, Sense> {
        let bytes = match page {
            None => Some(inquiry::standard(self.kind, &self.identity)),
            Some(0x00) => {
                let thin = self.medium.geometry().discard;
                Some(inquiry::pages(self.kind, &self.identity, thin))
            }
            Some(0x80) => inquiry::serial_number(self.kind, &self.identity),
            Some(0x83) => Some(inquiry::identification(self.kind, &self.identity)),
            Some(0x86) => Some(inquiry::extended(self.kind)),
            Some(_) => None,
        };
        bytes.ok_or(Sense::invalid_field(2, None))
    }
}

/// The diagnostic page that lists the diagnostic pages: only itself (SPC-3 section 7.1.2).
const DIAGNOSTIC_PAGES: [u8; 5] = [0x00, 0x00, 0x00, 0x01, 0x00];

fn parameters_unless_empty(length: usize) -> Phase {
    if length == 0 {
        Phase::GOOD
    } else {
        Phase::parameters(length)
    }
}

/// READ or WRITE of an extent of at most [`MAX_TRANSFER`].
pub(crate) fn transfer(op: Op, extent: Extent) -> Phase {
    let length = u32::try_from(extent.length).unwrap_or(u32::MAX);
    Phase::work(Work::Media(Media::new(op, extent.offset, length)))
}

pub(crate) fn flush() -> Phase {
    Phase::work(Work::Sweep(Sweep::Flush(true)))
}
