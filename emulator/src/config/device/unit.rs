//! Disks and CD-ROM drives, as `--device` asks for them.

use crate::config::options::{OptionError, Options, Place};

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `scsi-hd`
    Disk,
    /// `scsi-cd`
    Cdrom,
}

/// Their drivers' names.
pub(super) const DRIVERS: [(&str, Kind); 2] = [("scsi-hd", Kind::Disk), ("scsi-cd", Kind::Cdrom)];

/// What becomes of a medium's errors: `rerror` and `werror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The guest is told.
    Report,
    /// Nobody is told.
    Ignore,
    /// The request waits until there is space; the guest is told of other errors.
    Enospc,
    /// The request waits until it succeeds.
    Stop,
}

/// One disk or CD-ROM drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Where it was asked for.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
    /// Its name, if it has one.
    pub id: Option<String>,
    /// The name of its bus. [`crate::config::Config`] holds it for every unit.
    pub bus: Option<String>,
    /// Its SCSI ID. [`crate::config::Config`] holds it for every unit.
    pub scsi_id: Option<u8>,
    /// Its logical unit number.
    pub lun: u8,
    /// The block node with its bytes. A disk has one; a CD-ROM drive without one has no disc.
    pub drive: Option<String>,
    /// What it says of itself.
    pub model: Model,
    /// What becomes of errors in reading.
    pub read_error: OnError,
    /// What becomes of errors in writing.
    pub write_error: OnError,
}

/// What a unit says of itself; `None` leaves the unit's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// INQUIRY vendor identification, at most 8 bytes of ASCII.
    pub vendor: Option<String>,
    /// INQUIRY product identification, at most 16 bytes of ASCII.
    pub product: Option<String>,
    /// INQUIRY product revision, at most 4 bytes of ASCII.
    pub revision: Option<String>,
    /// Unit serial number, at most 36 bytes of ASCII.
    pub serial: Option<String>,
    /// World wide name (NAA).
    pub wwn: Option<u64>,
    /// Bytes of a logical block, of a drive after a reset.
    pub logical_block_size: Option<u32>,
    /// Bytes of a physical block, at least those of a logical one, of a disk.
    pub physical_block_size: Option<u32>,
    /// Rotations a minute, 1 for a medium that does not rotate, of a disk.
    pub rotation_rate: Option<u16>,
    /// Whether the volatile write cache is on at start, of a disk.
    pub write_cache: Option<bool>,
}

/// The keys of both.
const KEYS: [&str; 14] = [
    "driver",
    "id",
    "bus",
    "scsi-id",
    "lun",
    "drive",
    "serial",
    "vendor",
    "product",
    "ver",
    "wwn",
    "rerror",
    "werror",
    "logical_block_size",
];
/// Those of a disk only.
const DISK_KEYS: [&str; 3] = ["physical_block_size", "rotation_rate", "write-cache"];

impl Unit {
    pub(super) fn parse(options: &Options, kind: Kind) -> Result<Self, OptionError> {
        let mut keys = KEYS.to_vec();
        if kind == Kind::Disk {
            keys.extend(DISK_KEYS);
        }
        options.only(&keys)?;
        // The driver's own range is checked when the bus is known.
        let scsi_id = options
            .number("scsi-id", 0..=15)?
            .and_then(|id| u8::try_from(id).ok());
        let lun = options
            .number("lun", 0..=7)?
            .and_then(|lun| u8::try_from(lun).ok());
        let most = match kind {
            Kind::Disk => 4096,
            Kind::Cdrom => 2048,
        };
        let logical_block_size = block_size(options, "logical_block_size", most)?;
        let physical_block_size = block_size(options, "physical_block_size", 1 << 20)?;
        if physical_block_size.is_some_and(|size| size < logical_block_size.unwrap_or(512)) {
            let given = options.get("physical_block_size").unwrap_or_default();
            let expected = "at least the logical block size".to_owned();
            return Err(options.bad("physical_block_size", given, expected));
        }
        let drive = match (kind, options.get("drive")) {
            (Kind::Cdrom, None) => None,
            _ => Some(options.required("drive", "disk0")?.to_owned()),
        };
        Ok(Self {
            kind,
            id: options.get("id").map(str::to_owned),
            bus: options.get("bus").map(str::to_owned),
            scsi_id,
            lun: lun.unwrap_or(0),
            drive,
            model: Model {
                vendor: ascii(options, "vendor", 8)?,
                product: ascii(options, "product", 16)?,
                revision: ascii(options, "ver", 4)?,
                serial: ascii(options, "serial", 36)?,
                wwn: options.number("wwn", 1..=u64::MAX)?,
                logical_block_size,
                physical_block_size,
                rotation_rate: options
                    .number("rotation_rate", 0..=u16::MAX.into())?
                    .and_then(|rate| u16::try_from(rate).ok()),
                write_cache: options.switch("write-cache")?,
            },
            read_error: on_error(options, "rerror")?,
            write_error: on_error(options, "werror")?,
            place: options.place().clone(),
        })
    }
}

/// What becomes of errors. Where QEMU stops the machine, here the request waits; `auto` is as in QEMU.
fn on_error(options: &Options, key: &'static str) -> Result<OnError, OptionError> {
    const WRITE: [(&str, OnError); 5] = [
        ("report", OnError::Report),
        ("ignore", OnError::Ignore),
        ("enospc", OnError::Enospc),
        ("stop", OnError::Stop),
        ("auto", OnError::Enospc),
    ];
    const READ: [(&str, OnError); 4] = [
        ("report", OnError::Report),
        ("ignore", OnError::Ignore),
        ("stop", OnError::Stop),
        ("auto", OnError::Report),
    ];
    let (known, default) = match key {
        "werror" => (&WRITE[..], OnError::Enospc),
        _ => (&READ[..], OnError::Report),
    };
    Ok(options.choice(key, known)?.unwrap_or(default))
}

/// A text that fits a field of INQUIRY data (SPC-3, section 4.4.1: printable ASCII).
fn ascii(options: &Options, key: &'static str, most: usize) -> Result<Option<String>, OptionError> {
    match options.get(key) {
        Some(text)
            if text.len() > most || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) =>
        {
            Err(options.bad(
                key,
                text,
                format!("at most {most} printable ASCII characters"),
            ))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// A block size up to `most`.
fn block_size(options: &Options, key: &'static str, most: u32) -> Result<Option<u32>, OptionError> {
    match options.size(key)? {
        None => Ok(None),
        Some(size) => match u32::try_from(size) {
            Ok(size) if size.is_power_of_two() && (512..=most).contains(&size) => Ok(Some(size)),
            _ => {
                let expected = format!("a power of two from 512 to {most}");
                Err(options.bad(key, options.get(key).unwrap_or_default(), expected))
            }
        },
    }
}
