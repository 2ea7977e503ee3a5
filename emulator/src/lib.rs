//! Devices in a process of their own: fronts, PCI, the LSI 53C895A, SCSI targets, block backends.

pub mod assembly;
pub mod block;
pub mod config;
pub mod crash;
pub mod device;
pub mod dma;
pub mod event_loop;
pub mod front;
pub mod log;
pub mod lsi;
pub mod pci;
pub mod registry;
pub mod sandbox;
pub mod scsi;
pub mod signals;
pub mod statistics;
