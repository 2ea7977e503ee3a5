//! Step 11, interrupt: INTx as two eventfds.
//!
//! INTx is a level, an eventfd is an edge. The emulator signals `trigger` when the line goes up and
//! then stays silent; whoever owns the guest's interrupt controller signals `resample` when the
//! guest has acknowledged the interrupt, and the emulator signals `trigger` again if the line is
//! still up. Nobody asks for the line's level, and there is no crossing.
//!
//! - With KVM, register both at once, as an irqfd with a resample descriptor: interrupts and their
//!   acknowledgements never enter the VMM. KVM refuses that where it does not have the I/O APIC
//!   itself (a split irqchip): use the next way.
//! - Without KVM's interrupt controller, wait for `trigger`, raise the pin, and call
//!   [`Intx::end_of_interrupt`] at the guest's EOI.

use std::io;
use std::os::fd::BorrowedFd;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

mod sys;

/// The two descriptors of a device's INTx line.
#[derive(Debug)]
pub struct Intx {
    trigger: EventFd,
    resample: EventFd,
}

impl Intx {
    /// Two new eventfds, not blocking.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let eventfd = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK);
        Ok(Self {
            trigger: eventfd()?,
            resample: eventfd()?,
        })
    }

    /// The same line once more: both have the same two eventfds behind them.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            trigger: self.trigger.try_clone()?,
            resample: self.resample.try_clone()?,
        })
    }

    /// Signalled by the emulator when the line goes up.
    #[must_use]
    pub const fn trigger(&self) -> &EventFd {
        &self.trigger
    }

    /// To be signalled when the guest has acknowledged the interrupt.
    #[must_use]
    pub const fn resample(&self) -> &EventFd {
        &self.resample
    }

    /// [`Intx::trigger`], to poll or to send.
    #[must_use]
    pub fn trigger_fd(&self) -> BorrowedFd<'_> {
        sys::as_fd(&self.trigger)
    }

    /// [`Intx::resample`], to poll or to send.
    #[must_use]
    pub fn resample_fd(&self) -> BorrowedFd<'_> {
        sys::as_fd(&self.resample)
    }

    /// Whether the line has gone up since the last call. Does not block.
    ///
    /// The emulator shares the eventfd and could take its non-blocking flag away; a caller that
    /// must not be blocked by it polls [`Intx::trigger`] first, as an event loop does anyway.
    #[must_use]
    pub fn take_trigger(&self) -> bool {
        self.trigger.read().is_ok()
    }

    /// The guest has acknowledged: the emulator triggers again if the line is still up.
    ///
    /// # Errors
    /// The counter is full: the emulator has not looked for a long time.
    pub fn end_of_interrupt(&self) -> io::Result<()> {
        self.resample.write(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_taken_once() {
        let intx = Intx::new().unwrap();
        assert!(!intx.take_trigger());
        intx.trigger().write(1).unwrap();
        intx.trigger().write(1).unwrap();
        assert!(intx.take_trigger());
        assert!(!intx.take_trigger());
        intx.end_of_interrupt().unwrap();
        assert_eq!(intx.resample().read().unwrap(), 1);
    }
}
