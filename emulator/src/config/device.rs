//! `--device`: controllers, and the disks and CD-ROM drives on their buses.

mod unit;

use std::collections::BTreeSet;

use super::options::{OptionError, Options, Place, Problem};
use crate::registry::{self, ControllerDriver};
pub use unit::{Kind, Model, OnError, Unit};

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

/// What `--device` asks for.
pub(super) enum Device {
    Controller(Controller),
    Unit(Unit),
}

impl Device {
    pub(super) fn parse(options: Options) -> Result<Self, OptionError> {
        let driver = options.required("driver", "lsi53c895a")?;
        if let Some((_, kind)) = unit::DRIVERS.iter().find(|(name, _)| *name == driver) {
            return Unit::parse(&options, *kind).map(Self::Unit);
        }
        let Some(driver) = registry::CONTROLLERS.iter().find(|it| it.name == driver) else {
            let known = registry::CONTROLLERS.iter().map(|it| it.name);
            let known = known.chain(unit::DRIVERS.map(|it| it.0));
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

/// Gives each unit a bus and a SCSI ID of its own: those asked for first, then the lowest free ones.
pub(super) fn place_on_buses(
    controllers: &[Controller],
    units: &mut [Unit],
) -> Result<(), OptionError> {
    let mut taken = BTreeSet::new();
    for unit in units.iter_mut() {
        let controller = match (&unit.bus, controllers) {
            (Some(bus), _) => match controllers
                .iter()
                .find(|controller| controller.bus() == *bus)
            {
                Some(controller) => controller,
                None => {
                    let known: Vec<_> = controllers.iter().map(Controller::bus).collect();
                    let known = known.iter().map(String::as_str);
                    return Err(unit.place.error(Problem::unknown(
                        "bus",
                        bus,
                        known,
                        "--device lsi53c895a,id=ID",
                    )));
                }
            },
            (None, [only]) => only,
            (None, _) => {
                return Err(unit.place.error(Problem::Missing {
                    key: "bus",
                    example: "lsi0.0",
                }));
            }
        };
        unit.bus = Some(controller.bus());
        let Some(id) = unit.scsi_id else { continue };
        if id > controller.driver.highest_target || id == registry::INITIATOR {
            return Err(unit.place.error(Problem::BadValue {
                key: "scsi-id",
                value: id.to_string(),
                expected: controller.driver.targets(),
            }));
        }
        if !taken.insert((controller.bus(), id, unit.lun)) {
            return Err(unit.place.error(Problem::Taken {
                key: "scsi-id",
                value: format!("{id} (lun {})", unit.lun),
            }));
        }
    }
    for unit in units.iter_mut().filter(|unit| unit.scsi_id.is_none()) {
        let bus = unit.bus.clone().unwrap_or_default();
        let highest = controllers
            .iter()
            .find(|it| it.bus() == bus)
            .map_or(0, |it| it.driver.highest_target);
        let free = (0..=highest)
            .filter(|id| *id != registry::INITIATOR)
            .find(|id| !taken.contains(&(bus.clone(), *id, unit.lun)));
        let Some(id) = free else {
            let mend = "put the disk on another controller";
            return Err(unit
                .place
                .error(Problem::refused(format!("bus '{bus}' is full"), mend)));
        };
        taken.insert((bus, id, unit.lun));
        unit.scsi_id = Some(id);
    }
    Ok(())
}
