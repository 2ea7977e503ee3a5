//! Step 4, ring: how the worker publishes snapshots of registers that a read clears, and how the
//! device learns of claims.

use super::Server;
use crate::error::Violation;
use crate::mirror::Serve;
use crate::read_to_clear::Claimed;

impl Server {
    /// Publishes what reads of the read-to-clear groups would give now, if the device may have
    /// changed since it was asked last.
    pub fn publish_snapshots(&mut self, device: &impl Serve) {
        if self.snapshots.is_due() {
            self.snapshots.publish(device.snapshots());
        }
    }

    /// Revokes all snapshots, for a device that is about to run. The device clears the groups that
    /// are returned, shows its mirrored registers, and calls [`Server::claims_done`] before it goes
    /// on.
    pub fn revoke(&mut self) -> Claimed {
        if !self.snapshots.is_standing() {
            return Claimed::default();
        }
        let claimed = self.unless_failed(|server| server.snapshots.revoke());
        claimed.unwrap_or_default()
    }

    /// See [`Server::revoke`].
    pub fn claims_done(&mut self) {
        self.snapshots.claims_done();
    }

    /// Has the device clear what clients have claimed, if there is anything. The worker calls this
    /// before it looks at what follows from a claim, such as the interrupt line.
    pub fn settle_claims(&mut self, device: &mut impl Serve) {
        if self.snapshots.anything_claimed() {
            // The next turn repeats the error.
            let _ = self.unless_failed(|server| server.revoke_snapshots(device));
        }
    }

    /// Revokes all snapshots and has the device clear what was claimed: then the device may do
    /// anything.
    #[inline]
    pub(super) fn revoke_snapshots(&mut self, device: &mut impl Serve) -> Result<(), Violation> {
        if !self.snapshots.is_standing() {
            return Ok(());
        }
        let claimed = self.snapshots.revoke()?;
        if !claimed.is_empty() {
            for group in claimed.groups() {
                device.claim(group);
            }
            self.show_all(device);
            self.snapshots.claims_done();
        }
        Ok(())
    }
}
