//! Step 2, decode, as the machine sees it: one vCPU's way to the device by guest address.

use outrigger_ring::Width;
use vmm_sys_util::eventfd::EventFd;

use crate::counters::Counters;
use crate::vcpu_port::VcpuPort;

/// One vCPU's way to a device, by guest address. All vCPUs' buses of a device share what it decodes.
///
/// The methods with a `bool` say whether the device decodes the address; if not, nothing has happened.
pub trait GuestBus: Send + std::fmt::Debug {
    /// A read of memory space.
    fn mmio_read(&mut self, address: u64, data: &mut [u8]) -> bool;

    /// A write to memory space; it may be on its way still when this returns.
    fn mmio_write(&mut self, address: u64, data: &[u8]) -> bool;

    /// A read of port I/O space.
    fn pio_read(&mut self, port: u16, data: &mut [u8]) -> bool;

    /// A write to port I/O space: returns when it has taken effect.
    fn pio_write(&mut self, port: u16, data: &[u8]) -> bool;

    /// A read of the function's config space.
    fn config_read(&mut self, offset: u16, width: Width) -> u64;

    /// A write to the function's config space: returns when it has taken effect, on what is decoded too.
    fn config_write(&mut self, offset: u16, width: Width, value: u64);

    /// What the accesses so far have cost; all zero where nothing counts.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl GuestBus for VcpuPort {
    fn mmio_read(&mut self, address: u64, data: &mut [u8]) -> bool {
        Self::mmio_read(self, address, data)
    }

    fn mmio_write(&mut self, address: u64, data: &[u8]) -> bool {
        Self::mmio_write(self, address, data)
    }

    fn pio_read(&mut self, port: u16, data: &mut [u8]) -> bool {
        Self::pio_read(self, port, data)
    }

    fn pio_write(&mut self, port: u16, data: &[u8]) -> bool {
        Self::pio_write(self, port, data)
    }

    fn config_read(&mut self, offset: u16, width: Width) -> u64 {
        Self::config_read(self, offset, width)
    }

    fn config_write(&mut self, offset: u16, width: Width, value: u64) {
        Self::config_write(self, offset, width, value);
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }
}

/// A device as the machine gets it.
#[derive(Debug)]
pub struct DeviceAttachment {
    /// One bus per vCPU, in their order.
    pub buses: Vec<Box<dyn GuestBus>>,
    /// The device signals it when its interrupt line goes up.
    pub trigger: EventFd,
    /// The machine signals it at the end of interrupt: the device triggers again if its line is still up.
    pub resample: EventFd,
}
