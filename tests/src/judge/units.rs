//! The disks and drives that both chips have, and what both say of them.

use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_emulator::scsi::{Bus, Cdrom, CdromOptions, Disk, DiskOptions, Identity};

use crate::random::pattern;

/// The options of each of QEMU's disks.
pub(super) const DISK: &str = "vendor=ACME,product=JUDGED,ver=1.0,serial=4711,device_id=disk";
/// Bytes of each disk, and of each disc.
pub const BYTES: usize = 64 << 10;
/// Where the drive is.
pub const DRIVE: u8 = 3;

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// `scsi-hd`.
    Disk,
    /// `scsi-cd`, with a disc.
    Drive,
}

/// The units' bytes, by SCSI ID.
#[derive(Clone, Debug)]
pub struct Disks(Vec<(u8, Unit, Vec<u8>)>);

impl Disks {
    /// Disks at IDs 0 and 2.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes something")]
    pub fn new() -> Self {
        let second = pattern(2 * BYTES).split_off(BYTES);
        Self(vec![
            (0, Unit::Disk, pattern(BYTES)),
            (2, Unit::Disk, second),
        ])
    }

    /// The same, and a drive.
    #[must_use]
    pub fn with_drive() -> Self {
        let mut disks = Self::new();
        let disc = pattern(3 * BYTES).split_off(2 * BYTES);
        disks.0.push((DRIVE, Unit::Drive, disc));
        disks
    }

    /// Each ID, what is there, and what is on it.
    pub(super) fn images(&self) -> impl Iterator<Item = (u8, Unit, &[u8])> {
        let each = self.0.iter();
        each.map(|(id, unit, bytes)| (*id, *unit, bytes.as_slice()))
    }

    /// A bus with them. Their requests wait until they are let go, as QEMU's never answer at once either.
    pub(super) fn bus(&self) -> (Bus, Vec<DelayHandle>) {
        let mut bus = Bus::new();
        let mut handles = Vec::new();
        for (id, unit, bytes) in self.images() {
            let memory = Backend::memory(bytes.to_vec(), unit == Unit::Drive);
            let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("eventfds");
            handles.push(handle);
            let unit = match unit {
                Unit::Disk => {
                    let mut options = DiskOptions::default();
                    name(&mut options.identity);
                    Disk::new(backend, options).expect("a disk").into()
                }
                Unit::Drive => {
                    let mut options = CdromOptions::default();
                    name(&mut options.identity);
                    let drive = Cdrom::new(Some(backend), options);
                    drive.expect("a drive").into()
                }
            };
            bus.attach(id, 0, unit).expect("a free place");
        }
        (bus, handles)
    }
}

/// As [`DISK`] says.
fn name(identity: &mut Identity) {
    identity.vendor = "ACME".to_owned();
    identity.product = "JUDGED".to_owned();
    identity.version = "1.0".to_owned();
    identity.serial = Some("4711".to_owned());
    identity.device_id = "disk".to_owned();
}
