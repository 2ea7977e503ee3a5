//! What the command line asks for, in QEMU's option language, checked as a whole before anything is opened.
//!
//! [`CommandLine`] splits the arguments, [`options`] parses each `key=value,…` list (or its JSON form), the modules beside
//! it turn one list each into a typed value, and [`Config`] checks that the names fit together.

pub mod blockdev;
mod command_line;
pub mod device;
pub mod export;
mod nearest;
pub mod options;

use std::collections::BTreeSet;

pub use blockdev::Blockdev;
pub use command_line::{Answer, CommandLine, Switch};
pub use device::{Controller, Unit};
pub use export::Export;
pub use options::{OptionError, Place, Problem};

use device::Device;
use options::Options;

/// All that was asked for. Every name in it stands for something in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// Block nodes, each used by at most one disk, with those that they stand on within them.
    pub blockdevs: Vec<Blockdev>,
    /// Controllers, at least one.
    pub controllers: Vec<Controller>,
    /// Disks and CD-ROM drives, each with a place of its own on a controller's bus.
    pub units: Vec<Unit>,
    /// Exports, at least one; each controller has at most one.
    pub exports: Vec<Export>,
}

impl Config {
    /// Parses and checks the three kinds of lists.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the command line within each kind.
    pub fn new(
        blockdevs: &[String],
        devices: &[String],
        exports: &[String],
    ) -> Result<Self, OptionError> {
        let blockdevs = parse_all("--blockdev", "driver", blockdevs, Blockdev::parse)?;
        let devices = parse_all("--device", "driver", devices, Device::parse)?;
        let exports = parse_all("--export", "type", exports, Export::parse)?;
        let (mut controllers, mut units) = (Vec::new(), Vec::new());
        for device in devices {
            match device {
                Device::Controller(controller) => controllers.push(controller),
                Device::Unit(unit) => units.push(unit),
            }
        }

        let mut names = BTreeSet::new();
        for node in &blockdevs {
            if !names.insert(node.node_name.clone()) {
                return Err(node.place.error(Problem::Taken {
                    key: "node-name",
                    value: node.node_name.clone(),
                }));
            }
        }
        let (blockdevs, mut taken) = blockdev::link(blockdevs)?;
        let mut ids = BTreeSet::new();
        for (place, id) in (controllers.iter().map(|it| (&it.place, &it.id))).chain(
            units
                .iter()
                .filter_map(|it| Some((&it.place, it.id.as_ref()?))),
        ) {
            if !ids.insert(id) {
                return Err(place.error(Problem::Taken {
                    key: "id",
                    value: id.clone(),
                }));
            }
        }
        device::place_on_buses(&controllers, &mut units)?;
        for unit in &units {
            let Some(drive) = &unit.drive else { continue };
            if !names.contains(drive) {
                let known = blockdevs.iter().map(|it| it.node_name.as_str());
                return Err(unit.place.error(Problem::unknown(
                    "drive",
                    drive,
                    known,
                    "--blockdev",
                )));
            }
            if !taken.insert(drive.clone()) {
                return Err(unit.place.error(Problem::Taken {
                    key: "drive",
                    value: drive.clone(),
                }));
            }
        }
        if controllers.is_empty() {
            let place = Place {
                option: "--device",
                text: String::new(),
            };
            return Err(place.error(Problem::refused(
                "no controller",
                "add --device lsi53c895a,id=lsi0",
            )));
        }
        export::check_all(&exports, &controllers)?;
        Ok(Self {
            blockdevs,
            controllers,
            units,
            exports,
        })
    }
}

fn parse_all<T>(
    option: &'static str,
    implied: &'static str,
    texts: &[String],
    parse: impl Fn(Options) -> Result<T, OptionError>,
) -> Result<Vec<T>, OptionError> {
    texts
        .iter()
        .map(|text| parse(Options::parse(option, implied, text)?))
        .collect()
}

#[cfg(test)]
mod tests;
