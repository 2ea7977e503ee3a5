//! The disks that both chips have, and what both say of them.

use outrigger_emulator::block::{Backend, DelayHandle, Hold};
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};

use crate::random::pattern;

/// The options of each of QEMU's disks.
pub(super) const DISK: &str = "vendor=ACME,product=JUDGED,ver=1.0,serial=4711,device_id=disk";
/// Bytes of each disk.
pub const BYTES: usize = 64 << 10;

/// The disks' bytes, by SCSI ID.
#[derive(Clone, Debug)]
pub struct Disks(Vec<(u8, Vec<u8>)>);

impl Disks {
    /// Disks at IDs 0 and 2.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes something")]
    pub fn new() -> Self {
        let second = pattern(2 * BYTES).split_off(BYTES);
        Self(vec![(0, pattern(BYTES)), (2, second)])
    }

    /// Each ID, and what is on its disk.
    pub(super) fn images(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(id, bytes)| (*id, bytes.as_slice()))
    }

    /// A bus with them. Their requests wait until they are let go, as QEMU's never answer at once either.
    pub(super) fn bus(&self) -> (Bus, Vec<DelayHandle>) {
        let mut bus = Bus::new();
        let mut handles = Vec::new();
        for (id, bytes) in self.images() {
            let memory = Backend::memory(bytes.to_vec(), false);
            let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("eventfds");
            handles.push(handle);
            let mut options = DiskOptions::default();
            options.identity.vendor = "ACME".to_owned();
            options.identity.product = "JUDGED".to_owned();
            options.identity.version = "1.0".to_owned();
            options.identity.serial = Some("4711".to_owned());
            options.identity.device_id = "disk".to_owned();
            let disk = Disk::new(backend, options).expect("a disk");
            bus.attach(id, 0, disk.into()).expect("a free place");
        }
        (bus, handles)
    }
}
