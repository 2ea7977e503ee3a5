//! The framework: what any PCI device needs in a sandboxed process of its own.
//!
//! A device implements [`device::Device`] and reaches guest RAM through [`dma::Gate`]. [`pci::Function`] puts config
//! space around it, [`front::Export`] serves that to a VMM, and [`event_loop::Worker`] runs the two.

pub mod crash;
pub mod device;
pub mod dma;
pub mod event_loop;
pub mod front;
pub mod log;
pub mod pci;
pub mod sandbox;
pub mod signals;
pub mod statistics;
