//! Disks and CD-ROM drives: put on their buses, with what the command line says of them.

use super::image::Image;
use crate::config::device::{Kind, Model, OnError};
use crate::config::{OptionError, Problem, Unit};
use crate::scsi::{
    self, Bus, Cdrom, CdromOptions, Disk, DiskOptions, ErrorPolicy, Identity, UnitError,
};

/// Puts a unit onto the bus. Without an image a CD-ROM drive has no disc, and a disk is left out.
pub(super) fn attach(bus: &mut Bus, unit: &Unit, image: Option<Image>) -> Result<(), OptionError> {
    let backend = image.map(Image::start).transpose()?;
    let refuse = |what: String, mend: &str| unit.place.error(Problem::refused(what, mend));
    let logical_unit = match (unit.kind, backend) {
        (Kind::Disk, None) => return Ok(()),
        (Kind::Disk, Some(backend)) => {
            Disk::new(backend, disk_options(unit)).map(scsi::LogicalUnit::from)
        }
        (Kind::Cdrom, backend) => {
            let default = CdromOptions::default();
            let options = CdromOptions {
                identity: identity(unit, default.identity),
                logical_block_size: unit
                    .model
                    .logical_block_size
                    .unwrap_or(default.logical_block_size),
                errors: errors(unit),
            };
            Cdrom::new(backend, options).map(scsi::LogicalUnit::from)
        }
    };
    let logical_unit = logical_unit.map_err(|error| {
        let mend = match (unit.kind, &error) {
            (Kind::Disk, UnitError::Size { .. }) => "pad the image, or change logical_block_size",
            (Kind::Cdrom, UnitError::Size { .. }) => "name an image of a disc",
            _ => "change what the option asks for",
        };
        refuse(error.to_string(), mend)
    })?;
    bus.attach(unit.scsi_id.unwrap_or(0), unit.lun, logical_unit)
        .map_err(|error| refuse(error.to_string(), "change scsi-id or lun"))
}

fn disk_options(unit: &Unit) -> DiskOptions {
    let default = DiskOptions::default();
    let Model {
        logical_block_size,
        physical_block_size,
        rotation_rate,
        write_cache,
        ..
    } = unit.model;
    let logical_block_size = logical_block_size.unwrap_or(default.logical_block_size);
    DiskOptions {
        identity: identity(unit, default.identity),
        logical_block_size,
        physical_block_size: physical_block_size.unwrap_or(logical_block_size),
        rotation_rate: rotation_rate.unwrap_or(default.rotation_rate),
        write_cache: write_cache.unwrap_or(default.write_cache),
        errors: errors(unit),
    }
}

fn identity(unit: &Unit, default: Identity) -> Identity {
    let model = &unit.model;
    let name = unit.id.clone().or_else(|| unit.drive.clone());
    Identity {
        vendor: model.vendor.clone().unwrap_or(default.vendor),
        product: model.product.clone().unwrap_or(default.product),
        version: model.revision.clone().unwrap_or(default.version),
        serial: model.serial.clone(),
        device_id: name.unwrap_or_default(),
        wwn: model.wwn,
    }
}

fn errors(unit: &Unit) -> ErrorPolicy {
    let policy = |on_error| match on_error {
        OnError::Report => scsi::OnError::Report,
        OnError::Ignore => scsi::OnError::Ignore,
        OnError::Enospc => scsi::OnError::HoldNoSpace,
        OnError::Stop => scsi::OnError::Hold,
    };
    ErrorPolicy {
        read: policy(unit.read_error),
        write: policy(unit.write_error),
    }
}
