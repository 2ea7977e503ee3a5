//! `--device`: controllers, and disks on their buses.

use std::collections::BTreeSet;

use super::options::{OptionError, Options, Place, Problem};
use crate::registry::{self, ControllerDriver};

/// One controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Where it was asked for.
    pub place: Place,
    /// Its driver.
    pub driver: &'static ControllerDriver,
    /// Its name; its bus is this with `.0` behind.
    pub id: String,
}

impl Controller {
    /// The name of its bus.
    #[must_use]
    pub fn bus(&self) -> String {
        format!("{}.0", self.id)
    }
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it was asked for.
    pub place: Place,
    /// Its name, if it has one.
    pub id: Option<String>,
    /// The name of its bus. [`super::Config`] holds it for every disk.
    pub bus: Option<String>,
    /// Its SCSI ID. [`super::Config`] holds it for every disk.
    pub scsi_id: Option<u8>,
    /// Its logical unit number.
    pub lun: u8,
    /// The block node with its bytes.
    pub drive: String,
    /// What it says of itself.
    pub model: Model,
}

/// What a disk says of itself; `None` leaves the disk's own default.
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
    /// Bytes of a logical block.
    pub logical_block_size: Option<u32>,
    /// Bytes of a physical block, at least those of a logical one.
    pub physical_block_size: Option<u32>,
    /// Whether the volatile write cache is on at start.
    pub write_cache: Option<bool>,
}

/// What `--device` asks for.
pub(super) enum Device {
    Controller(Controller),
    Disk(Disk),
}

const DISK: &str = "scsi-hd";
const DISK_KEYS: [&str; 14] = [
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
    "logical_block_size",
    "physical_block_size",
    "write-cache",
];

impl Device {
    pub(super) fn parse(options: Options) -> Result<Self, OptionError> {
        let driver = options.required("driver", "lsi53c895a")?;
        if driver == DISK {
            return Disk::parse(&options).map(Self::Disk);
        }
        let Some(driver) = registry::CONTROLLERS.iter().find(|it| it.name == driver) else {
            let known = registry::CONTROLLERS.iter().map(|it| it.name).chain([DISK]);
            return Err(options
                .place()
                .error(Problem::unknown("driver", driver, known, "--device")));
        };
        options.only(&["driver", "id"])?;
        let id = options.required("id", "lsi0")?.to_owned();
        Ok(Self::Controller(Controller {
            driver,
            id,
            place: options.place().clone(),
        }))
    }
}

impl Disk {
    fn parse(options: &Options) -> Result<Self, OptionError> {
        options.only(&DISK_KEYS)?;
        // The driver's own range is checked when the bus is known.
        let scsi_id = options
            .number("scsi-id", 0..=15)?
            .and_then(|id| u8::try_from(id).ok());
        let lun = options
            .number("lun", 0..=7)?
            .and_then(|lun| u8::try_from(lun).ok());
        let logical_block_size = block_size(options, "logical_block_size", 4096)?;
        let physical_block_size = block_size(options, "physical_block_size", 1 << 20)?;
        if let Some(physical) = physical_block_size
            && physical < logical_block_size.unwrap_or(512)
        {
            let expected = "at least the logical block size".to_owned();
            return Err(options.bad("physical_block_size", &physical.to_string(), expected));
        }
        Ok(Self {
            id: options.get("id").map(str::to_owned),
            bus: options.get("bus").map(str::to_owned),
            scsi_id,
            lun: lun.unwrap_or(0),
            drive: options.required("drive", "disk0")?.to_owned(),
            model: Model {
                vendor: ascii(options, "vendor", 8)?,
                product: ascii(options, "product", 16)?,
                revision: ascii(options, "ver", 4)?,
                serial: ascii(options, "serial", 36)?,
                wwn: options.number("wwn", 1..=u64::MAX)?,
                logical_block_size,
                physical_block_size,
                write_cache: options.switch("write-cache")?,
            },
            place: options.place().clone(),
        })
    }
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
                Err(options.bad(key, &size.to_string(), expected))
            }
        },
    }
}

/// Gives each disk a bus and a SCSI ID of its own: those asked for first, then the lowest free ones.
pub(super) fn place_on_buses(
    controllers: &[Controller],
    disks: &mut [Disk],
) -> Result<(), OptionError> {
    let mut taken = BTreeSet::new();
    for disk in disks.iter_mut() {
        let controller = match (&disk.bus, controllers) {
            (Some(bus), _) => match controllers
                .iter()
                .find(|controller| controller.bus() == *bus)
            {
                Some(controller) => controller,
                None => {
                    let known: Vec<_> = controllers.iter().map(Controller::bus).collect();
                    let known = known.iter().map(String::as_str);
                    return Err(disk.place.error(Problem::unknown(
                        "bus",
                        bus,
                        known,
                        "--device lsi53c895a,id=ID",
                    )));
                }
            },
            (None, [only]) => only,
            (None, _) => {
                return Err(disk.place.error(Problem::Missing {
                    key: "bus",
                    example: "lsi0.0",
                }));
            }
        };
        disk.bus = Some(controller.bus());
        let Some(id) = disk.scsi_id else { continue };
        if id > controller.driver.highest_target || id == registry::INITIATOR {
            return Err(disk.place.error(Problem::BadValue {
                key: "scsi-id",
                value: id.to_string(),
                expected: controller.driver.targets(),
            }));
        }
        if !taken.insert((controller.bus(), id, disk.lun)) {
            return Err(disk.place.error(Problem::Taken {
                key: "scsi-id",
                value: format!("{id} (lun {})", disk.lun),
            }));
        }
    }
    for disk in disks.iter_mut().filter(|disk| disk.scsi_id.is_none()) {
        let bus = disk.bus.clone().unwrap_or_default();
        let highest = controllers
            .iter()
            .find(|it| it.bus() == bus)
            .map_or(0, |it| it.driver.highest_target);
        let free = (0..=highest)
            .filter(|id| *id != registry::INITIATOR)
            .find(|id| !taken.contains(&(bus.clone(), *id, disk.lun)));
        let Some(id) = free else {
            let mend = "put the disk on another controller";
            return Err(disk
                .place
                .error(Problem::refused(format!("bus '{bus}' is full"), mend)));
        };
        taken.insert((bus, id, disk.lun));
        disk.scsi_id = Some(id);
    }
    Ok(())
}
