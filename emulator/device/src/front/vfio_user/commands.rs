//! Step 5, intake: what each command is answered.

use std::os::fd::OwnedFd;

use mio::Registry;
use outrigger_vfio_user::{
    AccessMap, Command, DeviceFlags, DeviceInfo, IrqInfo, IrqInfoFlags, RegionRange, Reply,
    Request, WireError,
};
use rustix::io::Errno;

use super::intx::{self, IRQ_INDICES};
use super::regions::{self, REGIONS};
use super::session::Session;
use super::{guest_ram, negotiation, ring_setup};
use crate::pci::Function;

/// A reply, ready to go.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Answer {
    fn new(reply: &Reply<'_>, id: u16) -> Self {
        Self {
            bytes: reply.emit(id),
            fds: Vec::new(),
        }
    }
}

impl Session {
    /// The answer to `request`, or the error to report. Descriptors that the command has no use for are closed.
    ///
    /// # Errors
    /// The outer error ends the connection.
    pub(super) fn answer(
        &mut self,
        registry: &Registry,
        id: u16,
        request: &Request<'_>,
        fds: Vec<OwnedFd>,
        function: &mut Function,
    ) -> Result<Result<Answer, Errno>, WireError> {
        if self.negotiated == matches!(request, Request::Version(_)) {
            // Anything before VERSION, or a second one.
            return Ok(Err(Errno::INVAL));
        }
        if let Request::Version(version) = request {
            let agreed = negotiation::answer(version)?;
            self.negotiated = agreed.is_ok();
            self.ring_agreed = agreed.as_ref().is_ok_and(|agreed| agreed.ring);
            return Ok(agreed.map(|agreed| Answer::new(&agreed.reply(), id)));
        }
        Ok(self.answer_negotiated(registry, id, request, fds, function))
    }

    fn answer_negotiated(
        &mut self,
        registry: &Registry,
        id: u16,
        request: &Request<'_>,
        fds: Vec<OwnedFd>,
        function: &mut Function,
    ) -> Result<Answer, Errno> {
        // The replies that carry no data of their own; the others return from within.
        let reply = match request {
            Request::DmaMap(map) => {
                guest_ram::map(map, fds, function)?;
                Reply::Done(Command::DMA_MAP)
            }
            Request::DmaUnmap(unmap) => {
                guest_ram::unmap(unmap, function)?;
                Reply::DmaUnmap(*unmap)
            }
            Request::DeviceInfo => Reply::DeviceInfo(DeviceInfo {
                flags: DeviceFlags::RESET | DeviceFlags::PCI,
                regions: REGIONS,
                irqs: IRQ_INDICES,
            }),
            Request::RegionInfo(query) => Reply::RegionInfo(regions::info(query.index, function)?),
            Request::IrqInfo(index) => Reply::IrqInfo(irq_info(*index, function)?),
            Request::SetIrqs(set) if set.index == intx::ERROR_INDEX => {
                intx::set_error(set, &fds)?;
                Reply::Done(Command::DEVICE_SET_IRQS)
            }
            Request::SetIrqs(set) => {
                self.intx.set(registry, set, fds)?;
                Reply::Done(Command::DEVICE_SET_IRQS)
            }
            Request::RegionRead(range) => {
                let data = regions::read(range, function)?;
                return Ok(Answer::new(&data.reply(range), id));
            }
            Request::RegionWrite(data) => {
                let count = regions::write(data, function)?;
                Reply::RegionWrite(RegionRange {
                    region: data.region,
                    offset: data.offset,
                    count,
                })
            }
            Request::DeviceReset => {
                function.reset();
                self.intx.device_was_reset();
                Reply::Done(Command::DEVICE_RESET)
            }
            Request::RingSetup(setup) if self.ring_agreed => {
                let (ready, fds) = self.attach_ring(registry, setup, fds, function)?;
                let bytes = Reply::RingReady(ready).emit(id);
                return Ok(Answer { bytes, fds });
            }
            Request::RingDoorbells(doorbells) if self.ring_agreed => {
                self.add_doorbells(registry, *doorbells, fds)?;
                Reply::Done(Command::RING_DOORBELLS)
            }
            Request::AccessMap if self.ring_agreed => {
                let (entries, fds) = ring_setup::access_map(function)?;
                let map = AccessMap::new(&entries).map_err(|_| Errno::INVAL)?;
                let bytes = Reply::AccessMap(map).emit(id);
                return Ok(Answer { bytes, fds });
            }
            // GET_REGION_IO_FDS, DMA_READ and DMA_WRITE (the server's to send), REGION_WRITE_MULTI (not offered),
            // rings without an agreement, migration, and what nobody knows.
            _ => return Err(Errno::OPNOTSUPP),
        };
        Ok(Answer::new(&reply, id))
    }
}

fn irq_info(index: u32, function: &mut Function) -> Result<IrqInfo, Errno> {
    if index >= IRQ_INDICES {
        return Err(Errno::INVAL);
    }
    let (flags, count) = if index == intx::INDEX && regions::has_interrupt_pin(function) {
        let flags = IrqInfoFlags::EVENTFD | IrqInfoFlags::MASKABLE | IrqInfoFlags::AUTOMASKED;
        (flags, 1)
    } else if index == intx::ERROR_INDEX {
        (IrqInfoFlags::EVENTFD, 1)
    } else {
        (IrqInfoFlags::empty(), 0)
    };
    Ok(IrqInfo {
        flags,
        index,
        count,
    })
}
