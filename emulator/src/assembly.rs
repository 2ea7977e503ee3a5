//! From what was asked for to what serves it, in the two steps that the sandbox stands between.
//!
//! [`Opened`] holds all that the host's file system was needed for: images and sockets. [`Opened::start`] needs none
//! of it and runs with the host out of reach: it starts block engines (which may start threads), puts disks on buses,
//! buses into controllers, controllers into PCI functions, and each function into a worker.

mod image;
mod socket;

use std::collections::BTreeMap;

use crate::block::Backend;
use crate::config::{Config, Controller, Disk, Export, OptionError, Problem};
use crate::event_loop::Worker;
use crate::front::{self, Endpoint};
use crate::pci::Function;
use crate::scsi::{AttachError, Bus, Disk as ScsiDisk, DiskOptions};
use image::Image;

/// A configuration with its images and sockets open.
#[derive(Debug)]
pub struct Opened {
    controllers: Vec<Controller>,
    disks: Vec<Disk>,
    /// By node name.
    images: BTreeMap<String, Image>,
    exports: Vec<(Export, Endpoint)>,
}

impl Opened {
    /// Opens everything. Inherited sockets come first: as long as nothing else is open, a descriptor above
    /// the standard ones is one that was inherited.
    ///
    /// # Errors
    /// What could not be opened, said of its option.
    pub fn open(config: Config) -> Result<Self, OptionError> {
        let inherited = socket::adopt_all(&config.exports)?;
        let images = config.blockdevs.into_iter().map(|node| {
            let image = image::open(&node)?;
            Ok((node.node_name, image))
        });
        let images = images.collect::<Result<_, _>>()?;
        // Paths are bound last: a socket that can be connected to belongs to a machine that can be built.
        let endpoints = socket::bind_rest(&config.exports, inherited)?;
        Ok(Self {
            controllers: config.controllers,
            disks: config.disks,
            images,
            exports: config.exports.into_iter().zip(endpoints).collect(),
        })
    }

    /// Starts the block engines and builds a worker for each export.
    ///
    /// # Errors
    /// What could not be built, said of its option.
    pub fn start(mut self) -> Result<Vec<Worker>, OptionError> {
        let mut workers = Vec::new();
        for (export, endpoint) in self.exports {
            let Some(controller) = self.controllers.iter().find(|it| it.id == export.device) else {
                continue;
            };
            let bus_name = controller.bus();
            let mut bus = Bus::new();
            for disk in self
                .disks
                .iter()
                .filter(|disk| disk.bus.as_ref() == Some(&bus_name))
            {
                if let Some(image) = self.images.remove(&disk.drive) {
                    attach(&mut bus, disk, image)?;
                }
            }
            let function = Function::new((controller.driver.build)(bus));
            let served = front::Export::new(endpoint, controller.id.clone());
            let worker = Worker::new(controller.id.clone(), function, served).map_err(|error| {
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

/// Puts a disk with its image onto the bus.
fn attach(bus: &mut Bus, disk: &Disk, image: Image) -> Result<(), OptionError> {
    let backend: Backend = image.start()?;
    let model = &disk.model;
    let default = DiskOptions::default();
    let logical_block_size = model
        .logical_block_size
        .unwrap_or(default.logical_block_size);
    let options = DiskOptions {
        vendor: model.vendor.clone().unwrap_or(default.vendor),
        product: model.product.clone().unwrap_or(default.product),
        version: model.revision.clone().unwrap_or(default.version),
        serial: model.serial.clone(),
        device_id: disk.id.clone().unwrap_or_else(|| disk.drive.clone()),
        wwn: model.wwn,
        logical_block_size,
        physical_block_size: model.physical_block_size.unwrap_or(logical_block_size),
        rotation_rate: default.rotation_rate,
        write_cache: model.write_cache.unwrap_or(default.write_cache),
    };
    let refuse = |what: String| {
        disk.place
            .error(Problem::refused(what, "choose other values"))
    };
    let unit = ScsiDisk::new(backend, options).map_err(|error| refuse(error.to_string()))?;
    bus.attach(disk.scsi_id.unwrap_or(0), disk.lun, unit.into())
        .map_err(|error: AttachError| refuse(error.to_string()))
}
