//! Step 4, ring: what the device's end offers of registers that a read clears, and how it learns what was taken.

use super::Server;
use crate::clear::Taken;
use crate::error::Violation;
use crate::mirror::Serve;

impl Server {
    /// Offers what reads of the clear groups would take now, if the device may have changed since it was asked last.
    pub fn offer(&mut self, device: &impl Serve) {
        if self.clears.is_due() {
            self.clears.offer(device.offers());
        }
    }

    /// For a device that runs, and is about to do anything but stand still: withdraws what is offered. The device takes what is
    /// returned, shows its mirrored registers, and calls [`Server::collected`] before it goes on.
    pub fn withdraw(&mut self) -> Taken {
        if !self.clears.is_standing() {
            return Taken::default();
        }
        let taken = self.unless_failed(|server| server.clears.withdraw());
        taken.unwrap_or_default()
    }

    /// See [`Server::withdraw`].
    pub fn collected(&mut self) {
        self.clears.collected();
    }

    /// Has the device take what clients have taken, if there is anything: before the worker looks at what follows from it, such as
    /// the interrupt line.
    pub fn collect(&mut self, device: &mut impl Serve) {
        if self.clears.anything_taken() {
            // The next turn repeats the error.
            let _ = self.unless_failed(|server| server.stand_down(device));
        }
    }

    /// Nothing is offered any more, and what was taken is done: the device may do anything.
    #[inline]
    pub(super) fn stand_down(&mut self, device: &mut impl Serve) -> Result<(), Violation> {
        if !self.clears.is_standing() {
            return Ok(());
        }
        let taken = self.clears.withdraw()?;
        if !taken.is_empty() {
            for group in taken.groups() {
                device.take(group);
            }
            self.show_all(device);
            self.clears.collected();
        }
        Ok(())
    }
}
