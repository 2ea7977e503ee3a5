//! From what was asked for to what serves it, in the two steps that the sandbox stands between.
//!
//! [`Opened`] holds all that the host's file system was needed for: images and sockets. [`Opened::start`] needs none
//! of it and runs with the host out of reach: it starts block engines (which may start threads), puts disks on buses,
//! buses into controllers, controllers into PCI functions, and each function into a worker.

mod image;
mod inherited;
mod socket;
mod unit;

use std::collections::BTreeMap;

use crate::config::{Config, Controller, Export, OptionError, Problem, Unit};
use crate::scsi::Bus;
use image::Image;
pub use inherited::Inherited;
use outrigger_device::event_loop::Worker;
use outrigger_device::front::{self, Endpoint, Listener};
use outrigger_device::pci::Function;

/// A configuration with its images and sockets open.
#[derive(Debug)]
pub struct Opened {
    controllers: Vec<Controller>,
    units: Vec<Unit>,
    /// By node name.
    images: BTreeMap<String, Image>,
    exports: Vec<(Export, Endpoint, Option<Listener>)>,
}

impl Opened {
    /// Opens everything, and closes what is left of the inherited descriptors.
    ///
    /// # Errors
    /// What could not be opened, said of its option.
    pub fn open(config: Config, mut inherited: Inherited) -> Result<Self, OptionError> {
        let sockets = socket::adopt_all(&config.exports, &mut inherited)?;
        let images = config.blockdevs.into_iter().map(|node| {
            let image = image::open(&node, &inherited)?;
            Ok((node.node_name, image))
        });
        let images = images.collect::<Result<_, _>>()?;
        // Paths are bound last: a socket that can be connected to belongs to a machine that can be built.
        let endpoints = socket::bind_rest(&config.exports, sockets)?;
        let statistics = socket::bind_statistics(&config.exports)?;
        let sockets = endpoints.into_iter().zip(statistics);
        let exports = config.exports.into_iter().zip(sockets);
        Ok(Self {
            controllers: config.controllers,
            units: config.units,
            images,
            exports: exports
                .map(|(export, (endpoint, readers))| (export, endpoint, readers))
                .collect(),
        })
    }

    /// Starts the block engines and builds a worker for each export.
    ///
    /// # Errors
    /// What could not be built, said of its option.
    pub fn start(mut self) -> Result<Vec<Worker>, OptionError> {
        let mut workers = Vec::new();
        for (export, endpoint, readers) in self.exports {
            let Some(controller) = self.controllers.iter().find(|it| it.id == export.device) else {
                continue;
            };
            let bus_name = controller.bus();
            let mut bus = Bus::new();
            for unit in self
                .units
                .iter()
                .filter(|unit| unit.bus.as_ref() == Some(&bus_name))
            {
                let image = unit.drive.as_ref();
                let image = image.and_then(|drive| self.images.remove(drive));
                unit::attach(&mut bus, unit, image)?;
            }
            let function = Function::new((controller.driver.build)(bus));
            let served = front::Export::new(endpoint, controller.id.clone());
            let worker = Worker::new(controller.id.clone(), function, served);
            let worker = worker.and_then(|worker| match readers {
                Some(socket) => worker.with_readers(socket),
                None => Ok(worker),
            });
            let worker = worker.map_err(|error| {
                let what = format!("cannot watch the socket: {error}");
                export
                    .place
                    .error(Problem::refused(what, "see whether descriptors run out"))
            })?;
            workers.push(worker);
        }
        Ok(workers)
    }
}
