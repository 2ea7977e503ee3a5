//! Fuzz targets of the emulator: what a guest, a VMM, a user and an image can say to it.

pub mod chip;
pub mod connection;
mod image;
pub mod nbd;
pub mod qcow2;
mod ram;
pub mod scripts;
mod unit;
pub mod vmdk;

/// The option lists of a command line.
pub mod options;

/// Command descriptor blocks to a disk.
pub mod cdb_disk {
    /// Sends a disk the commands that `input` describes.
    ///
    /// # Panics
    /// If a command does not end, or ends without what its status promises.
    pub fn run(input: &[u8]) {
        crate::unit::run(input, crate::unit::disk);
    }
}

/// Command descriptor blocks to a CD-ROM drive.
pub mod cdb_drive {
    /// Sends a CD-ROM drive the commands that `input` describes.
    ///
    /// # Panics
    /// If a command does not end, or ends without what its status promises.
    pub fn run(input: &[u8]) {
        crate::unit::run(input, crate::unit::drive);
    }
}

/// All of them.
pub const TARGETS: &[outrigger_fuzz::Target] = &[
    ("chip", chip::run),
    ("scripts", scripts::run),
    ("cdb_disk", cdb_disk::run),
    ("cdb_drive", cdb_drive::run),
    ("options", options::run),
    ("connection", connection::run),
    ("qcow2", qcow2::run),
    ("vmdk", vmdk::run),
    ("nbd", nbd::run),
];
